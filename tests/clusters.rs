//! Several clusters, and a node that obeys its administrator: each test is a script in a playground of its own.

#[path = "support/scripts.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod scripts;

use scripts::playground;

/// Makes each node of the playground a cluster of its own: `partner AT OF PRIORITY CANGO CANTAKE` acquaints one with another.
const APART: &str = r#"
for n in $(seq $nodes); do eval "a$n=$(address $n)"; done
alone() { eval "own=\$a$1"; mos at $1 sh -c "echo $own 1 >\$MOSIX_ROOT/etc/mosix/mosix.map; mkdir -p \$MOSIX_ROOT/etc/mosix/partners"; }
partner() { eval "other=\$a$2"; mos at $1 sh -c "printf 'Cluster $2\n$3 $4 $5\n$other 1 1 1 1\n' >\$MOSIX_ROOT/etc/mosix/partners/c$2"; }
setpe() { for n in $(seq $nodes); do mos at $n mossetpe || fail "mossetpe on $n"; done; }
responds() { mosctl localstatus | grep -q "$1 of $1 nodes"; }
"#;

#[test]
fn a_blocked_node_takes_no_guests_and_says_so() {
    playground(
        2,
        r#"
        spin; p=$pid
        mos at 2 mosctl block
        refused $p 2 "blocked"
        mosctl status 2 | grep -q "guests are blocked" || fail status
        set -- $(mosctl rstatus 2)
        [ $(($1 & 16)) = 16 ] && [ $(($1 & 32)) = 0 ] || fail "rstatus $1"
        mos at 2 mosctl noblock
        move $p 2
        set -- $(mosctl rstatus 2)
        [ $# = 12 ] && [ $(($1 & 48)) = 32 ] && [ ${12} = 1 ] || fail "rstatus $*"
        "#,
    );
}

#[test]
fn guests_are_expelled_and_processes_brought_back() {
    playground(
        3,
        r#"
        for i in 1 2 3 4; do spin; done
        for p in $all; do move $p 2; done
        mos at 2 mosctl block
        mos at 2 mosctl expel
        [ "$(mos at 2 mosps -V | wc -l)" = 1 ] || fail "guests are left"
        for p in $all; do until_ok at_node $p here; done
        for p in $all; do move $p 3; done
        mosctl bring
        for p in $all; do at_node $p here || fail "$p is not back"; done
        [ "$(mos at 3 mosps -V | wc -l)" = 1 ] || fail "guests are left"
        "#,
    );
}

#[test]
fn a_node_that_is_shut_down_is_no_part_of_the_cluster() {
    playground(
        3,
        r#"
        spin; guest=$pid
        move $guest 2
        # A process of node 2 that is elsewhere.
        mos at 2 sh -c 'mosrun sh -c "while :; do :; done" & echo $! >$MOSIX_ROOT/pid'
        theirs=$(mos at 2 sh -c 'cat $MOSIX_ROOT/pid'); all="$all $theirs"
        until_ok mos at 2 mosmigrate --wait $theirs 3
        mos at 2 mosctl shutdown
        until_ok at_node $guest here
        mos at 2 mosps | grep -q "$theirs .* here *here" || fail "node 2's process is not back"
        refused $guest 2 ""
        mos at 2 mosctl status | grep -q "Off" || fail status
        why=$(mos at 2 mosmigrate $theirs 3 2>&1) && fail "it left a node that is off"
        mos at 2 mossetpe
        until_ok mosmigrate --wait $guest 2
        "#,
    );
}

#[test]
fn lower_priority_gives_way_to_higher_and_to_local_work() {
    playground(
        3,
        &format!(
            r#"nodes=3 {APART}
        for n in 1 2 3; do alone $n; done
        partner 1 2 50 1 1; partner 3 2 50 1 1; partner 2 1 60 1 1; partner 2 3 20 1 1
        setpe
        until_ok responds 2
        spin; low=$pid
        refused $low $a3 "not in map"
        until_ok mosmigrate --wait $low $a2
        # A guest of higher priority arrives: the lower one goes home.
        mos at 3 sh -c 'mosrun sh -c "while :; do :; done" & echo $! >$MOSIX_ROOT/pid'
        high=$(mos at 3 sh -c 'cat $MOSIX_ROOT/pid'); all="$all $high"
        until_ok mos at 3 mosmigrate --wait $high $a2
        until_ok at_node $low here
        refused $low $a2 "higher priority"
        # Priorities change: now it is the other way round.
        mos at 2 mosctl cngpri c1 10
        until_ok mosmigrate --wait $low $a2
        until_ok sh -c "mos at 3 mosps | grep -q '$high .* here *here'"
        # Work of its own: nobody stays.
        mos at 2 sh -c 'mosrun sh -c "while :; do :; done" & echo $! >$MOSIX_ROOT/pid'
        own=$(mos at 2 sh -c 'cat $MOSIX_ROOT/pid'); all="$all $own"
        until_ok at_node $low here
        "#
        ),
    );
}

#[test]
fn limits_and_relations_between_clusters_are_obeyed() {
    playground(
        2,
        &format!(
            r#"nodes=2 {APART}
        alone 1; alone 2; partner 1 2 50 1 0; partner 2 1 50 0 1
        setpe
        until_ok responds 2
        spin; one=$pid; spin; two=$pid
        mos at 2 mosctl maxguests 1
        until_ok mosmigrate --wait $one $a2
        refused $two $a2 "no more than 1"
        mos at 2 mosctl closemulti
        [ "$(mos at 2 sh -c 'cat $MOSIX_ROOT/etc/mosix/maxguests')" = "0 1" ] || fail "maxguests"
        until_ok at_node $one here
        refused $one $a2 "no more than 0"
        mos at 2 mosctl openmulti
        [ "$(mos at 2 mosctl maxguests)" = 1 ] || fail "openmulti"
        move $one $a2
        # Node 2 sends nothing, node 1 takes nothing.
        mos at 2 sh -c 'mosrun sh -c "while :; do sleep 1; done" & echo $! >$MOSIX_ROOT/pid'
        theirs=$(mos at 2 sh -c 'cat $MOSIX_ROOT/pid'); all="$all $theirs"
        why=$(mos at 2 mosmigrate --wait $theirs $a1 2>&1) && fail "it went"
        case $why in *"do not go to c1"*) ;; *) fail "$why";; esac
        mos at 2 sh -c 'sed -i "2s/.*/50 1 1/" $MOSIX_ROOT/etc/mosix/partners/c1; mossetpe'
        why=$(mos at 2 mosmigrate --wait $theirs $a1 2>&1) && fail "it was taken"
        case $why in *"takes no guests from that cluster"*) ;; *) fail "$why";; esac
        "#
        ),
    );
}

#[test]
fn a_cluster_that_is_disconnected_loses_nothing() {
    playground(
        3,
        &format!(
            r#"nodes=3 {APART}
        # Nodes 1 and 3 are one cluster, node 2 another.
        mos at 2 sh -c "echo $a2 1 >\$MOSIX_ROOT/etc/mosix/mosix.map; mkdir \$MOSIX_ROOT/etc/mosix/partners"
        for n in 1 3; do mos at $n sh -c "printf '$a1 1\n$a3 1\n' >\$MOSIX_ROOT/etc/mosix/mosix.map; mkdir \$MOSIX_ROOT/etc/mosix/partners"; done
        partner 1 2 50 1 1; partner 3 2 50 1 1
        mos at 2 sh -c "printf 'Both\n50 1 1\n$a1 1 1 1 1\n$a3 1 1 1 1\n' >\$MOSIX_ROOT/etc/mosix/partners/both"
        setpe
        until_ok responds 3
        spin; abroad=$pid; spin; inside=$pid
        until_ok mosmigrate --wait $abroad $a2
        move $inside $a3
        mosctl isolate
        at_node $abroad here || fail "not back"
        at_node $inside 3 || fail "the cluster itself is not meant"
        refused $abroad $a2 "rejoin"
        mosctl rejoin
        [ "$(mosctl maxguests)" = 0 ] || fail "rejoin takes guests"
        move $abroad $a2
        # Node 2 forgets the cluster altogether: guests go home although it does not know them any more.
        mos at 2 sh -c 'rm $MOSIX_ROOT/etc/mosix/partners/both; mossetpe'
        until_ok at_node $abroad here
        refused $abroad $a2 ""
        "#
        ),
    );
}

#[test]
fn a_gap_is_kept_for_processes_of_higher_priority() {
    playground(
        2,
        &format!(
            r#"nodes=2 {APART}
        alone 1; alone 2; partner 1 2 50 1 1; partner 2 1 50 1 1
        mos at 2 sh -c 'echo 3 >$MOSIX_ROOT/etc/mosix/retainpri'
        setpe
        until_ok responds 2
        mos at 2 sh -c 'mosrun sh -c "while :; do :; done" & echo $! >$MOSIX_ROOT/pid'
        own=$(mos at 2 sh -c 'cat $MOSIX_ROOT/pid')
        spin; low=$pid
        until_ok sh -c "mosmigrate --wait $low $a2 2>&1 | grep -q 'higher priority are there'"
        kill $own
        until_ok sh -c "mosmigrate --wait $low $a2 2>&1 | grep -q 'a short while ago'"
        until_ok mosmigrate --wait $low $a2
        "#
        ),
    );
}

#[test]
fn a_wrong_new_file_changes_nothing_and_a_right_one_is_noticed() {
    playground(
        2,
        r#"
        spin; p=$pid
        map=$MOSIX_ROOT/etc/mosix/mosix.map
        cp $map $map.good
        echo nonsense >$map
        why=$(mossetpe 2>&1) && fail "nonsense was taken"
        case $why in *"mosix.map:1: must be"*) ;; *) fail "$why";; esac
        mosctl localstatus | grep -q "WRONG.*mosix.map:1" || fail "no complaint"
        move $p 2
        cp $map.good $map
        echo "7 $(address 2) 1" >$MOSIX_ROOT/etc/mosix/userview.map
        # Nobody says anything: it is noticed.
        until_ok sh -c 'mosctl whois 7 | grep -q "node 7"'
        mosctl localstatus | grep -q WRONG && fail "the complaint stays"
        true
        "#,
    );
}

#[test]
fn a_job_makes_a_cluster_and_leaves_it_again() {
    playground(
        3,
        r#"
        for n in 1 2 3; do eval "a$n=$(address $n)"; done
        echo "$a1 3" >$MOSIX_ROOT/world
        mos_in_job $MOSIX_ROOT/world $a1,$a2
        [ "$(mossetpe -r | tr '\n' ' ')" = "$a1 $a2 " ] || fail "own cluster"
        [ "$(mossetpe -R | tail -n 1)" = "$a3 world" ] || fail "world"
        for n in 2 3; do mos at $n mos_in_job $MOSIX_ROOT/world; done
        spin; p=$pid
        until_ok mosmigrate --wait $p $a3
        mos_in_job $MOSIX_ROOT/world
        at_node $p here || fail "it may not be there any more"
        refused $p $a3 "do not go to world"
        mossetpe
        [ "$(mossetpe -r | wc -l)" = 3 ] || fail "the usual map"
        "#,
    );
}

#[test]
fn modes_outlive_a_killed_daemon_and_ordinary_users_change_none() {
    playground(
        2,
        r#"
        spin; p=$pid
        move $p 2
        mos at 2 sh -c 'mosctl block; kill -9 $(cat $MOSIX_ROOT/etc/mosix/var/mosd.pid); until mosd --no-balance; do sleep 0.05; done'
        mos at 2 mosctl status | grep -q "blocked" || fail "forgotten"
        until_ok sh -c 'mos at 2 mosps -V | grep -q while'
        mos at 2 mosctl expel
        until_ok at_node $p here
        mos at 2 sh -c 'kill $(cat $MOSIX_ROOT/etc/mosix/var/mosd.pid)'
        "#,
    );
}

#[test]
fn what_another_cluster_sends_away_is_frozen_at_home() {
    playground(
        2,
        &format!(
            r#"nodes=2 {APART}
        frz() {{ mosps | grep -q "^ *$1 .* here *here *$2 "; }}
        alone 1; alone 2; partner 1 2 50 1 0; partner 2 1 50 0 1
        mos at 1 sh -c 'echo "1 0 -1 0 0" >>$MOSIX_ROOT/etc/mosix/freeze.conf'
        setpe
        until_ok responds 2
        spin; one=$pid
        mosrun -g sh -c 'while :; do :; done' & two=$!; all="$all $two"; until_ok known $two
        move $one $a2; move $two $a2
        # It is no evacuation when we call it.
        move $one home
        frz $one - || fail "it is frozen"
        move $one $a2
        mos at 2 mosctl block
        mos at 2 mosctl expel
        until_ok frz $one A
        until_ok frz $two N/A
        # What was frozen by order of the policy can be continued by order.
        mosmigrate --wait $one continue || fail "continue"
        frz $one - || fail "it is frozen still"
        "#
        ),
    );
}
