//! Starting and ending, and what is said when it goes wrong.

use std::process::Stdio;

use mos::sys::unix::{self, SIGTERM};
use mos::wire::client::Client;

use crate::cluster::{Cluster, errors, mos, wait_until};

#[test]
fn one_mosd_for_each_root() {
    let mut cluster = Cluster::files(1);
    cluster.start_node(1);
    let second = cluster.tool(1, &["mosd"]);
    assert!(!second.status.success());
    assert!(
        errors(&second).contains("runs already"),
        "{}",
        errors(&second)
    );
    assert!(errors(&second).contains(&cluster.pid(1).to_string()));
}

#[test]
fn the_socket_of_a_dead_mosd_is_named_and_replaced() {
    let mut cluster = Cluster::files(1);
    let before = cluster.tool(1, &["mosctl", "status"]);
    assert!(
        errors(&before).contains("start it with \"mosd\""),
        "{}",
        errors(&before)
    );
    cluster.start_node(1);
    cluster.kill_node(1);
    let after = cluster.tool(1, &["mosctl", "status"]);
    assert_eq!(after.status.code(), Some(1));
    assert!(
        errors(&after).contains("left by a mosd that has ended"),
        "{}",
        errors(&after)
    );
    cluster.start_node(1);
    assert!(cluster.tool(1, &["mosctl", "status"]).status.success());
}

#[test]
fn in_the_background_it_tells_how_it_went() {
    let cluster = Cluster::files(1);
    assert!(
        cluster
            .mosd(1)
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    assert!(cluster.tool(1, &["mosctl", "status"]).status.success());
    let pid = std::fs::read_to_string(cluster.paths(1).lock())
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    unix::kill(pid, SIGTERM).unwrap();
    wait_until("mosd ends", || Client::connect(&cluster.paths(1)).is_err());
    assert!(!cluster.paths(1).socket().exists());
    // A port that someone else has is named by the command that was typed.
    wait_until("the port is free", || {
        std::net::TcpListener::bind((cluster.address(1), cluster.port)).is_ok()
    });
    let _taken = std::net::TcpListener::bind((cluster.address(1), cluster.port)).unwrap();
    let failed = cluster.tool(1, &["mosd"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        errors(&failed).contains(&format!("cannot listen on TCP {}", cluster.address(1))),
        "{}",
        errors(&failed)
    );
}

#[test]
fn wrong_files_are_named() {
    let cluster = Cluster::files(1);
    let says = |what: &str| {
        let output = cluster.tool(1, &["mosd", "-f"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains(what), "{}", errors(&output));
    };
    std::fs::write(cluster.paths(1).ports(), "tcp 1\nudp many\n").unwrap();
    says("ports:2: the port \"many\"");
    std::fs::remove_file(cluster.paths(1).ports()).unwrap();
    std::fs::write(cluster.paths(1).map(), "127.0.0.1 nonsense\n").unwrap();
    says("mosix.map:1: the number of nodes \"nonsense\"");
    std::fs::remove_file(cluster.paths(1).map()).unwrap();
    says("mosix.map: is missing");
    let nowhere = mos(&["mosd", "--root", "/proc/nowhere"]).output().unwrap();
    assert!(
        errors(&nowhere).contains("/proc/nowhere/etc/mosix/mosix.map"),
        "{}",
        errors(&nowhere)
    );
}

#[test]
fn idle_it_takes_next_to_nothing() {
    let cluster = Cluster::start(3);
    let field = |name: &str| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.pid(1))).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap()
            .to_string();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // The rest of what is resident is the program itself, which all nodes of a machine share.
    assert!(
        field("RssAnon:") < 512,
        "resident KiB: {}",
        field("RssAnon:")
    );
    let before = field("voluntary_ctxt_switches:");
    std::thread::sleep(std::time::Duration::from_secs(2));
    let switches = field("voluntary_ctxt_switches:") - before;
    assert!(switches < 60, "woken up {switches} times in two seconds");
}
