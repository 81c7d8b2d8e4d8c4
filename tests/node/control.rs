//! The control socket: lists, moves, and whose they are.

use std::time::Duration;

use mos::wire::client::Client;
use mos::wire::control::{FromMosd, Frozen, Outcome, Place, ProcInfo, Target, ToMosd};

use crate::cluster::{Cluster, errors};

fn info(pid: i32) -> ProcInfo {
    ProcInfo {
        pid,
        uid: 0,
        place: Place::Home,
        from: None,
        origpid: None,
        frozen: Frozen::No,
        nmigs: 0,
        stays: None,
        locked: false,
        cpu_away_ns: 0,
    }
}

fn warden(cluster: &Cluster, tree: u64) -> Client {
    let mut client = cluster.client(1);
    client
        .register(&ToMosd::Warden { tree, log: false })
        .unwrap();
    client
}

/// Answers the next request for a list.
fn answer_list(client: &mut Client, procs: Vec<ProcInfo>) {
    let (FromMosd::ListYours { id }, None) = client.recv().unwrap() else {
        panic!("not asked for a list")
    };
    client.send(&ToMosd::Mine { id, procs }).unwrap();
}

#[test]
fn lists_are_collected_and_the_mute_left_out() {
    let cluster = Cluster::start(1);
    let (mut one, mut two) = (warden(&cluster, 1), warden(&cluster, 2));
    let mut mute = warden(&cluster, 3);
    let mut tool = cluster.client(1);
    tool.send(&ToMosd::List {
        local: true,
        guests: true,
    })
    .unwrap();
    answer_list(&mut one, vec![info(30), info(10)]);
    answer_list(&mut two, vec![info(20)]);
    let FromMosd::Procs(procs) = tool.recv().unwrap().0 else {
        panic!()
    };
    assert_eq!(
        procs.iter().map(|info| info.pid).collect::<Vec<_>>(),
        [10, 20, 30]
    );
    assert!(matches!(mute.recv().unwrap().0, FromMosd::ListYours { .. }));
}

#[test]
fn an_order_finds_its_process_and_brings_back_the_outcome() {
    let cluster = Cluster::start(2);
    let mut owner = warden(&cluster, 1);
    let to = Target::Node(cluster.address(2));
    for wait in [false, true] {
        let mut tool = cluster.client(1);
        tool.send(&ToMosd::Move { pid: 10, to, wait }).unwrap();
        answer_list(&mut owner, vec![info(10)]);
        let (
            FromMosd::Move {
                id,
                pid: 10,
                to: Target::Node(node),
            },
            None,
        ) = owner.recv().unwrap()
        else {
            panic!()
        };
        assert_eq!(node, cluster.address(2));
        if !wait {
            assert_eq!(tool.recv().unwrap().0, FromMosd::Result(Outcome::Done));
        }
        owner
            .send(&ToMosd::Moved {
                id,
                outcome: Outcome::Stayed("because".into()),
            })
            .unwrap();
        if wait {
            assert_eq!(
                tool.recv().unwrap().0,
                FromMosd::Result(Outcome::Stayed("because".into()))
            );
        }
    }
}

#[test]
fn an_order_to_one_who_dies_is_answered() {
    let cluster = Cluster::start(2);
    let mut owner = warden(&cluster, 1);
    let mut tool = cluster.client(1);
    tool.send(&ToMosd::Move {
        pid: 10,
        to: Target::Home,
        wait: true,
    })
    .unwrap();
    answer_list(&mut owner, vec![info(10)]);
    owner.recv().unwrap();
    drop(owner);
    assert!(matches!(
        tool.recv().unwrap().0,
        FromMosd::Result(Outcome::Stayed(_))
    ));
}

#[test]
fn orders_that_must_fail_say_why() {
    let mut cluster = Cluster::start(2);
    let says = |cluster: &Cluster, args: &[&str], what: &str| {
        let output = cluster.tool(1, args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(
            errors(&output).contains(what),
            "{args:?}: {}",
            errors(&output)
        );
    };
    says(
        &cluster,
        &["mosmigrate", "10", "2"],
        "10 is no process that was started by mosrun",
    );
    says(&cluster, &["mosmigrate", "10", "77"], "node 77 is not in");
    says(
        &cluster,
        &["mosmigrate", "10", "10.3.3.3"],
        "10.3.3.3: not in map",
    );
    says(
        &cluster,
        &["mosmigrate", "10", "no.such.host.invalid"],
        "\"no.such.host.invalid\" is not known",
    );
    says(&cluster, &["mosmigrate", "10", "chkstop"], "not available");
    cluster.kill_node(2);
    cluster.wait_alive(1, 2, false);
    says(&cluster, &["mosmigrate", "10", "2"], "no response");
}

#[test]
fn a_warden_that_connects_again_takes_its_place() {
    let cluster = Cluster::start(1);
    let mut old = warden(&cluster, 5);
    let mut new = warden(&cluster, 5);
    assert_eq!(
        old.recv().unwrap_err().kind(),
        std::io::ErrorKind::UnexpectedEof
    );
    let mut tool = cluster.client(1);
    tool.send(&ToMosd::List {
        local: true,
        guests: false,
    })
    .unwrap();
    answer_list(&mut new, vec![info(1)]);
    assert!(matches!(tool.recv().unwrap().0, FromMosd::Procs(procs) if procs.len() == 1));
}

#[test]
fn a_restarted_mosd_is_found_again() {
    let mut cluster = Cluster::start(1);
    let mut client = warden(&cluster, 9);
    cluster.kill_node(1);
    assert!(client.recv().is_err());
    assert!(
        client
            .reconnect(&ToMosd::Warden {
                tree: 9,
                log: false
            })
            .is_err()
    );
    cluster.start_node(1);
    client
        .reconnect(&ToMosd::Warden {
            tree: 9,
            log: false,
        })
        .unwrap();
    let mut tool = cluster.client(1);
    tool.send(&ToMosd::List {
        local: true,
        guests: true,
    })
    .unwrap();
    answer_list(&mut client, vec![info(4)]);
    assert!(matches!(tool.recv().unwrap().0, FromMosd::Procs(procs) if procs.len() == 1));
}

#[test]
fn shaking_reaches_wardens_with_the_other_nodes() {
    let cluster = Cluster::start(3);
    let mut one = warden(&cluster, 1);
    let mut tool = cluster.client(1);
    tool.set_timeout(Some(Duration::from_secs(2))).unwrap();
    assert_eq!(
        tool.ask(&ToMosd::Shake).unwrap(),
        FromMosd::Result(Outcome::Done)
    );
    let nodes = vec![cluster.address(2), cluster.address(3)];
    assert_eq!(one.recv().unwrap().0, FromMosd::Shake { nodes });
}
