//! The tools by which nodes are configured and watched: typed to by scripts, in playgrounds.

#[path = "support/scripts.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod scripts;

use std::path::Path;

use mos::config::{
    FreezeConf, Hosts, Lookup, MosrunConf, NodeMap, Partner, PrivateConf, UserView, read_ports,
};
use scripts::playground;

#[test]
fn the_samples_are_right() {
    let sample = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("conf")
            .join(name)
    };
    let hosts: &dyn Lookup = &Hosts::default();
    assert!(NodeMap::read(&sample("mosix.map"), hosts).is_ok());
    assert!(UserView::read(&sample("userview.map"), hosts).is_ok());
    assert!(read_ports(&sample("ports")).is_ok());
    let freeze = FreezeConf::read(&sample("freeze.conf")).unwrap();
    assert!(freeze.policy.is_some() && freeze.dirs.len() == 1);
    assert!(PrivateConf::read(&sample("private.conf")).is_ok());
    let mosrun = MosrunConf::read(&sample("mosrun.conf")).unwrap();
    assert_eq!(mosrun, MosrunConf::default());
    let text = std::fs::read_to_string(sample("partner")).unwrap();
    let partner = Partner::parse("partner", &text, &sample("partner"), hosts).unwrap();
    assert_eq!(partner.nodes().count(), 20);
}

#[test]
fn a_workstation_is_its_users_while_he_is_there() {
    let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/workstation.sh");
    let script = format!(
        r#"
        spin; p=$pid
        move $p 2
        # Nobody is logged in as far as this "who" knows.
        mkdir $MOSIX_ROOT/bin; printf '#!/bin/sh\n' >$MOSIX_ROOT/bin/who; chmod +x $MOSIX_ROOT/bin/who
        PATH=$MOSIX_ROOT/bin:$PATH
        mos at 2 {hook} in
        until_ok at_node $p here
        refused $p 2 "blocked"
        mos at 2 env PAM_TYPE=close_session {hook}
        move $p 2
        "#,
        hook = hook.display()
    );
    playground(2, &script);
}

#[test]
fn runs_and_moves_are_noted_where_that_is_wanted() {
    playground(
        2,
        r#"
        root=$(cd $MOSIX_ROOT/../node-2; pwd)
        for dir in $MOSIX_ROOT $root; do
            mkdir $dir/dev; : >$dir/etc/mosix/.log_mosrun
            (cd $dir/dev; exec socat -u UNIX-RECV:log CREATE:seen) & loggers="$loggers $!"
            until_ok test -S $dir/dev/log
        done
        setpe() { mos at $1 mossetpe || fail mossetpe; }; setpe 1; setpe 2
        spin; p=$pid
        until_ok grep -qa "user .* runs mosrun sh -c" $MOSIX_ROOT/dev/seen
        move $p 2
        until_ok grep -qa "leaves for $(address 2)" $MOSIX_ROOT/dev/seen
        until_ok grep -qa "process $p of $(address 1) arrives" $root/dev/seen
        move $p home
        until_ok grep -qa "process $p comes home" $MOSIX_ROOT/dev/seen
        kill $loggers
        "#,
    );
}

#[test]
fn a_stored_image_is_configured_by_answers() {
    playground(
        1,
        r#"
        image=$MOSIX_ROOT/image; mkdir -p $image/etc; etc=$image/etc/mosix
        is() { [ "$(cat $etc/$1)" = "$2" ] || fail "$1: $(cat $etc/$1)"; }
        answer() { printf '%s\n' $image "$@" | mosconf >$MOSIX_ROOT/said || fail mosconf; }
        answer 1 n 192.168.3.1 10 n 192.168.3.5 3 + n 10.0.0.1 1 y a 10.9.9.9 10.0.0.1 'd 2' q
        is mosix.map "192.168.3.1 10 p
10.0.0.1 1
10.9.9.9=10.0.0.1"
        grep -q "NOT written: .*mosix.map:2: overlaps" $MOSIX_ROOT/said || fail "no overlap"
        grep -q "NOT written: .* is an alias of 10.0.0.1" $MOSIX_ROOT/said || fail "no alias"
        answer 2 'a b' 'a b' q
        is secret "a b"
        [ "$(stat -c %a $etc/secret)" = 600 ] || fail "the secret's mode"
        answer 3 a n 100 far 1 n 100 10.5.0.1 5 q
        is userview.map "1 192.168.3.1 10
11 10.0.0.1 1
100 10.5.0.1 5"
        grep -q 'host "far" is not known' $MOSIX_ROOT/said || fail "a host that is not there"
        answer 4 n lab 'The lab' 10.5.0.1 20 '' n 10.6.0.1 1 n r y n p 70000 70 t 'Another lab' q q
        is partners/lab "Another lab
70 1 0
10.5.0.1 20 1 1 0
10.6.0.1 1 1 1 1"
        answer 4 n old Old 10.7.0.1 1 n q 'd 2'
        [ "$(ls $etc/partners)" = lab ] || fail "$(ls $etc/partners)"
        answer 5 0 12000
        is speed 12000
        answer 6 p '' '' '' '' '' '' '' '' '' n tmp 1 n /tmp 2 u 1234
        is freeze.conf "1 1 6 4 0 -1 1 -1 20 0
/tmp 2
U 1234"
        answer 6 p n 5.5 3 -1 7 2 30 10 100 q
        grep -q "^1 0 5.5 3 -1 7 2 30 10 100$" $etc/freeze.conf || fail "freeze.conf"
        answer 7 f w y y
        is mosrun.conf "best force
unsupported w
memory required
portable yes"
        answer 8 /priv 100 - other /other ''
        is private.conf "O /priv 100
G /other 1024"
        answer 9 a 10.0.0.1 m 5 r 30 l y q q
        is mosip 10.0.0.1; is maxguests 5; is retainpri 30
        [ -e $etc/.log_mosrun ] || fail log
        answer 9 a - m - l n q q
        [ ! -e $etc/mosip ] && [ ! -e $etc/maxguests ] && [ ! -e $etc/.log_mosrun ] || fail "not removed"
        echo $image/none | mosconf && fail "an image that is not there"
        true
        "#,
    );
}

#[test]
fn a_running_node_takes_its_new_configuration() {
    playground(
        1,
        r#"
        printf '%s\n' '' 5 20000 q | mosconf | grep -q "new configuration holds" || fail mosconf
        mosctl status | grep -q "20000 units" || fail status
        "#,
    );
}

#[test]
fn nodes_without_a_map_find_each_other() {
    playground(
        3,
        r#"
        address=$(address 1)
        restart() { mos at $1 sh -c 'kill $(cat $MOSIX_ROOT/etc/mosix/var/mosd.pid)
            while mosctl status; do sleep 0.05; done
            rm -f $MOSIX_ROOT/etc/mosix/*.map; until mosd --await-map; do sleep 0.05; done' >/dev/null 2>&1; }
        stop() { for n in 1 2 3; do mos at $n sh -c 'kill $(cat $MOSIX_ROOT/etc/mosix/var/mosd.pid)'; done; }
        for n in 1 2 3; do restart $n; done
        [ "$(mossetpe -r)" = $address ] || fail "it is not alone"
        echo another >$MOSIX_ROOT/../node-3/etc/mosix/secret
        restart 3
        printf '\n\n\n' | mos_autoconf || fail mos_autoconf
        [ "$(cat $MOSIX_ROOT/etc/mosix/mosix.map)" = "$address 2 p" ] || fail "$(cat $MOSIX_ROOT/etc/mosix/mosix.map)"
        until_ok sh -c "mos at 2 mosctl localstatus | grep -q '2 of 2 nodes'"
        # One more: it is taken in from a node that the others know.
        cp $MOSIX_ROOT/etc/mosix/secret $MOSIX_ROOT/../node-3/etc/mosix/secret
        restart 3
        printf '\n\n\n' | mos_autoconf || fail mos_autoconf
        until_ok sh -c "mos at 3 mosctl localstatus | grep -q '3 of 3 nodes'"
        [ "$(mosctl whois 3)" = "$(mos at 3 mosctl whois)" ] || fail whois
        stop
        "#,
    );
}

#[test]
fn the_monitor_prints_a_table_into_a_pipe() {
    playground(
        3,
        r#"
        [ "$(mosmon | wc -l)" = 4 ] || fail "$(mosmon)"
        mosmon -t | grep -q "3 of 3 nodes" || fail count
        [ "$(mosmon --ron | grep -c 'alive: true')" = 3 ] || fail ron
        "#,
    );
}

#[test]
fn the_monitor_follows_keys_in_a_terminal() {
    playground(
        2,
        r#"
        mkfifo $MOSIX_ROOT/keys
        script -qfc 'stty rows 20 cols 60; tty >$MOSIX_ROOT/tty; mosmon; echo status $?; stty -a' $MOSIX_ROOT/seen <$MOSIX_ROOT/keys >/dev/null 2>&1 & terminal=$!
        exec 3>$MOSIX_ROOT/keys
        sees() { until_ok grep -qa "$1" $MOSIX_ROOT/seen; }
        sees LOAD
        printf m >&3; sees MEMORY
        printf m >&3; sees SWAP
        printf s >&3; sees SPEED
        printf f >&3; sees FROZEN
        printf c >&3; sees CORES
        # A window of any size.
        tty=$(cat $MOSIX_ROOT/tty)
        for size in "1 1" "2 5" "300 200" "20 60"; do set -- $size; stty -F $tty rows $1 cols $2; printf 'nwV\033[Cpva' >&3; done
        printf l >&3; printf h >&3; sees "q              quit"
        printf x >&3; printf t >&3; sees "2 of 2 nodes"
        printf q >&3; sees "status 0"
        # The terminal is as it was.
        sees " icanon"; sees " echo "
        exec 3>&-
        wait $terminal
        "#,
    );
}
