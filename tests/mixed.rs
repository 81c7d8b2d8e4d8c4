//! Nodes whose processors differ: on one machine, some of them are told to count features of it as absent.

#[path = "support/scripts.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod scripts;

use scripts::playground;

/// `hides NODE NAME...` has a node do without these features. Programs use no register state beyond the oldest, so that any may be hidden.
const HIDE: &str = r#"
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW LD_BIND_NOW=1
hides() { node=$1; shift; mos at $node sh -c "echo $* >\$MOSIX_ROOT/etc/mosix/hidefeatures"; mos at $node mossetpe || fail mossetpe; }
"#;

#[test]
fn a_node_that_lacks_a_feature_is_refused_by_name() {
    playground(
        3,
        &format!(
            r#"{HIDE}
        hides 2 cx16 popcnt
        spin; p=$pid
        refused $p 2 "node $(address 2) lacks cx16, popcnt, on which it may depend"
        move $p 3
        refused $p 2 "lacks cx16"
        at_node $p here && fail "it is at home"
        # What began where there is less may go where there is more, and back.
        mos at 2 sh -c 'mosrun sh -c "while :; do :; done" & echo $! >$MOSIX_ROOT/pid'
        q=$(mos at 2 sh -c 'cat $MOSIX_ROOT/pid'); all="$all $q"
        until_ok mos at 2 mosmigrate --wait $q 3
        mos at 2 mosmigrate --wait $q home || fail "it could not go home"
        # Nothing is hidden any more.
        hides 2 ""
        move $p 2
        "#
        ),
    );
}

#[test]
fn a_program_does_not_start_where_it_would_see_more_than_at_home() {
    playground(
        3,
        &format!(
            r#"{HIDE}
        hides 1 cx16
        why=$(mosrun -2 touch "$MOSIX_ROOT/ran" 2>&1) && fail "it was started"
        case $why in *"would come to depend on cx16 of node $(address 2)"*) ;; *) fail "$why" ;; esac
        [ ! -e "$MOSIX_ROOT/ran" ] || fail "it ran"
        hides 2 cx16
        mosrun -2 touch "$MOSIX_ROOT/ran" || fail "it was not started on its like"
        "#
        ),
    );
}

/// Hidden from everything is what node 2 lacks, also from what the program starts; a program without it stays bound to its home.
#[test]
fn a_portable_program_goes_everywhere() {
    playground(
        2,
        r#"
        hides() { node=$1; shift; mos at $node sh -c "echo $* >\$MOSIX_ROOT/etc/mosix/hidefeatures"; mos at $node mossetpe || fail mossetpe; }
        hides 2 ssse3 avx popcnt
        runs() { tr '\0' ' ' </proc/$1/cmdline | grep -q "^$2"; }
        saw() { mosrun $1 sh -c 'exec env' | grep "^GLIBC_TUNABLES=.*$2"; }
        saw --portable -SSSE3 >/dev/null || fail "$(mosrun --portable env)"
        ! saw "" -SSSE3 || fail "hidden without order"
        for how in "sh -c 'while :; do :; done'" "sh -c 'sh -c \"while :; do :; done\"; true'"; do
            eval "mosrun --portable $how &"; p=$!; all="$all $p"
            until_ok mosmigrate --wait $p 2
            mosmigrate --wait $p home || fail "it could not go home"
        done
        GLIBC_TUNABLES=glibc.malloc.check=0 mosrun --portable sh -c 'while :; do :; done' & p=$!; all="$all $p"
        until_ok mosmigrate --wait $p 2
        # From the first instruction on, too.
        mosrun --portable -2 sh -c 'exit 5'; [ $? = 5 ] || fail "it was not started on node 2"
        mosrun --portable sh -c 'exec mosrun -2 sh -c "exit 6"'; [ $? = 6 ] || fail "nor by a portable program"
        # A child that has cleaned its environment sees everything, and so does one that was told so.
        mosrun --portable sh -c 'exec env -u GLIBC_TUNABLES sh -c "while :; do :; done"' & p=$!; all="$all $p"
        until_ok runs $p 'sh -c while'
        refused $p 2 "lacks ssse3"
        mosrun --portable mosrun --no-portable sh -c 'while :; do :; done' & p=$!; all="$all $p"
        until_ok runs $p 'sh -c while'
        refused $p 2 "lacks ssse3"
        tr '\0' '\n' </proc/$p/environ | grep -q PORTABLE && fail "what it inherited is left"
        # As the administrator wants it.
        echo portable yes >$MOSIX_ROOT/etc/mosix/mosrun.conf
        spin; mosmigrate --wait $pid 2 || fail "not by default"
        "#,
    );
}

/// A handler's frame has all register state of the node where it began, which may be more than where it ends.
#[test]
fn handlers_return_on_nodes_with_fewer_registers() {
    let guests = scripts::guests::all();
    let frames = guests.iter().find(|guest| guest.name == "frames-pie");
    let Some(frames) = frames else {
        // Others were chosen.
        return;
    };
    playground(
        2,
        &format!(
            r#"
        mos at 2 sh -c 'grep -m1 ^flags /proc/cpuinfo | grep -o "avx512[^ ]*" >$MOSIX_ROOT/etc/mosix/hidefeatures'
        mos at 2 mossetpe || fail mossetpe
        mosrun --portable {} 4 & p=$!
        moves=0
        while kill -0 $p 2>/dev/null; do
            mosmigrate --wait $p 2 >/dev/null 2>&1 && moves=$((moves+1))
            mosmigrate --wait $p home >/dev/null 2>&1
        done
        wait $p || fail "status $?"
        [ $moves -gt 0 ] || fail "it did not move"
        "#,
            frames.program.display()
        ),
    );
}
