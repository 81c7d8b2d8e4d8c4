//! A cluster that decides by itself: where processes go, which stay, and that none is lost whatever nodes do.

#[path = "support/scripts.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod scripts;

use scripts::{balanced, playground};

#[test]
fn another_clusters_nodes_are_used_until_their_owners_come() {
    balanced(
        &["-n", "3"],
        r#"
        for n in 1 2 3; do eval "a$n=$(address $n)"; done
        # Node 1 is one cluster, nodes 2 and 3 another.
        mos at 1 sh -c "echo $a1 1 >\$MOSIX_ROOT/etc/mosix/mosix.map; mkdir \$MOSIX_ROOT/etc/mosix/partners
            printf 'Two\n50 1 1\n$a2 2 1 1 1\n' >\$MOSIX_ROOT/etc/mosix/partners/two"
        for n in 2 3; do mos at $n sh -c "echo $a2 2 >\$MOSIX_ROOT/etc/mosix/mosix.map; mkdir \$MOSIX_ROOT/etc/mosix/partners
            printf 'One\n60 1 1\n$a1 1 1 1 1\n' >\$MOSIX_ROOT/etc/mosix/partners/one"; done
        for n in 1 2 3; do mos at $n mossetpe || fail "mossetpe at $n"; done
        until_ok sh -c 'mosctl localstatus | grep -q "3 of 3 nodes"'
        at() { mosps | grep -c " $1 .* here "; }
        guests() { mos at $1 mosps -V | grep -c while; }
        own() { mos at 2 sh -c 'mosrun sh -c "while :; do :; done" & echo $! >$MOSIX_ROOT/pid'; all="$all $(mos at 2 sh -c 'cat $MOSIX_ROOT/pid')"; }
        spin; spin; spin
        both() { [ $(at 2) = 1 ] && [ $(at 3) = 1 ]; }
        until_ok both
        # Work of its owners: the guest leaves, and finds nothing else.
        own
        one() { [ $(guests 2) = 0 ] && [ $(at here) = 2 ]; }
        until_ok one
        # More of it: it gets the other node, though that has a guest.
        own
        spread() { mos at 2 mosps | grep -q " 3 .* here "; }
        until_ok spread
        none() { [ $(at here) = 3 ]; }
        until_ok none
        for i in 1 2 3 4 5 6 7 8; do none || fail "a guest came back"; sleep 0.2; done
        "#,
    );
}

#[test]
fn nobody_comes_to_have_others_frozen() {
    balanced(
        &["-n", "3"],
        r#"
        for n in 2 3; do mos at $n sh -c 'echo "1 0 2.5 1.5 0 -1 0 -1 20 1000" >>$MOSIX_ROOT/etc/mosix/freeze.conf; mossetpe'; done
        guests() { mos at $1 mosps -V | grep -c while; }
        for i in 1 2 3 4 5 6; do spin; done
        full() { [ $(guests 2) = 2 ] && [ $(guests 3) = 2 ]; }
        until_ok full
        for i in 1 2 3 4 5 6 7 8; do [ $(guests 2) -le 2 ] && [ $(guests 3) -le 2 ] || fail "too many"; sleep 0.2; done
        # Its own work has the node: guests leave, and nothing is frozen.
        for i in 1 2; do mos at 2 sh -c 'mosrun sh -c "while :; do :; done" & echo $! >$MOSIX_ROOT/pid'; all="$all $(mos at 2 sh -c 'cat $MOSIX_ROOT/pid')"; done
        none() { [ $(guests 2) = 0 ]; }
        until_ok none
        mos at 2 mosps | grep -q " A " && fail "one is frozen"
        true
        "#,
    );
}

#[test]
fn a_node_without_memory_gives_away_the_process_that_suffices() {
    balanced(
        &["-n", "2", "--memory", "575,2000"],
        r#"
        mosctl lstay
        # They wait for input, and keep what they have read.
        for mb in 5 150 435; do
            { head -c ${mb}000000 /dev/zero; sleep 1000; } | mosrun tail -c ${mb}000000 >$MOSIX_ROOT/out & all="$all $!"
        done
        set -- $all
        used_up() { free=$(mosctl localstatus | awk '/Memory/ {print $2}'); [ $free -lt 14 ]; }
        until_ok used_up
        # Whoever has just come is left where it is: the longer for being large.
        sleep 6
        mosctl nolstay
        until_ok at_node $2 2
        at_node $1 here && at_node $3 here || fail "another one went"
        for i in 1 2 3 4 5 6 7 8; do at_node $1 here && at_node $2 2 && at_node $3 here || fail "more went"; sleep 0.2; done
        "#,
    );
}

#[test]
fn forty_are_expelled_and_brought_back() {
    playground(
        3,
        r#"
        for i in $(seq 40); do mosrun sleep 1000 & all="$all $!"; done
        for p in $all; do until_ok known $p; done
        move_all() { movers=; for p in $all; do mosmigrate --wait $p $1 >/dev/null & movers="$movers $!"; done
            for m in $movers; do wait $m || fail "a move to $1"; done; }
        home() { [ $(mosps | grep -c ' here *here ') = 40 ]; }
        move_all 2
        [ $(mos at 2 mosps -V | grep -c sleep) = 40 ] || fail "not all are there"
        mos at 2 mosctl expel || fail expel
        [ $(mos at 2 mosps -V | grep -c sleep) = 0 ] || fail "guests are left"
        until_ok home
        move_all 3
        mosctl bring || fail bring
        home || fail "not all are back"
        [ $(mos at 3 mosps -V | grep -c sleep) = 0 ] || fail "guests are left"
        "#,
    );
}

#[test]
fn nodes_come_and_go_and_only_what_lives_on_a_killed_one_is_lost() {
    balanced(
        &["-n", "4"],
        r#"
        for n in 2 4; do eval "root$n=$(mos at $n sh -c 'echo $MOSIX_ROOT')"; done
        count() { mosps | grep -c " $1 .* here "; }
        uses() { [ $(count 2) -gt 0 ] && [ $(count 3) -gt 0 ] && [ $(count 4) -gt 0 ]; }
        back() { mos at $1 mosd --cpus 1; }
        rounds=1500000
        for i in $(seq 24); do
            mosrun sh -c "i=0; while [ \$i -lt $rounds ]; do i=\$((i+1)); done; echo \$i" >$MOSIX_ROOT/out-$i 2>$MOSIX_ROOT/err-$i & eval "pid$i=$!"
        done
        lost=" "
        for round in 1 2 3; do
            until_ok uses
            # Node 3 leaves in good order.
            mos at 3 mosctl shutdown || fail shutdown
            [ $(count 3) = 0 ] || fail "some are left at node 3"
            # Node 4 is cut off: what lives there dies with it. Nothing is on its way to it.
            mos at 4 mosctl block
            settled() { [ $(mosps | grep -c " 4 .* here ") = $(mos at 4 mosps -V | grep -c while) ]; }
            until_ok settled
            for p in $(mosps | awk '$3 == 4 {print $1}'); do lost="$lost$p "; done
            for p in $(grep -lsz "^MOSIX_ROOT=$root4\$" /proc/[0-9]*/environ | cut -d/ -f3); do kill -9 $p 2>/dev/null; done
            # Node 2 goes on with another daemon.
            kill -9 $(cat $root2/etc/mosix/var/mosd.pid)
            until_ok back 2; until_ok back 4
            mos at 4 mosctl noblock; mos at 3 mossetpe || fail mossetpe
        done
        for i in $(seq 24); do
            eval "p=\$pid$i"
            wait $p; status=$?
            [ "$(cat $MOSIX_ROOT/out-$i)" = $rounds ] && continue
            case $lost in *" $p "*) ;; *) fail "process $p is lost ($status): $(cat $MOSIX_ROOT/err-$i)";; esac
        done
        for n in 2 4; do eval "kill \$(cat \$root$n/etc/mosix/var/mosd.pid)"; done
        "#,
    );
}
