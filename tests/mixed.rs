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
