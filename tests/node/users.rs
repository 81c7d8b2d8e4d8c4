//! Several users of one node: what the owner of a process may do, others may not.

use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use mos::sys::unix;
use mos::wire::client::Client;
use mos::wire::control::{FromMosd, Frozen, Outcome, Place, ProcInfo, ToMosd};

use crate::cluster::{Cluster, errors};

/// Somebody who is neither root nor whoever runs the tests.
const OTHER: u32 = 65_533;

/// A tool run as the other user; `None` where we cannot become somebody else, or others cannot reach the program.
fn as_other(cluster: &Cluster, args: &[&str]) -> Option<Command> {
    let as_other = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mos"));
        command
            .args(args)
            .env("MOSIX_ROOT", cluster.root(1))
            .uid(OTHER)
            .gid(OTHER);
        command
    };
    (unix::euid() == 0 && as_other(&["--version"]).output().is_ok()).then(|| as_other(args))
}

fn info(pid: i32, uid: u32) -> ProcInfo {
    ProcInfo {
        pid,
        uid,
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

fn warden(cluster: &Cluster) -> Client {
    let mut client = cluster.client(1);
    client
        .register(&ToMosd::Warden {
            tree: 1,
            log: false,
        })
        .unwrap();
    client
}

/// Runs a tool while the warden lists one process.
fn with_list(warden: &mut Client, mut tool: Command, process: ProcInfo) -> Output {
    let tool = std::thread::spawn(move || tool.output().unwrap());
    loop {
        match warden.recv().unwrap().0 {
            FromMosd::ListYours { id } => {
                warden
                    .send(&ToMosd::Mine {
                        id,
                        procs: vec![process.clone()],
                    })
                    .unwrap();
                if process.uid != OTHER {
                    break;
                }
            }
            FromMosd::Move { id, .. } => {
                warden
                    .send(&ToMosd::Moved {
                        id,
                        outcome: Outcome::Done,
                    })
                    .unwrap();
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    tool.join().unwrap()
}

#[test]
fn processes_are_moved_by_their_owner_and_root() {
    let cluster = Cluster::start(1);
    let mut warden = warden(&cluster);
    let pid = std::process::id() as i32;
    let order = ["mosmigrate", "--wait", &pid.to_string(), "home"].map(str::to_string);
    let order: Vec<&str> = order.iter().map(String::as_str).collect();
    let Some(tool) = as_other(&cluster, &order) else {
        return;
    };
    let refused = with_list(&mut warden, tool, info(pid, 0));
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        errors(&refused).contains("another user's"),
        "{}",
        errors(&refused)
    );
    let own = with_list(
        &mut warden,
        as_other(&cluster, &order).unwrap(),
        info(pid, OTHER),
    );
    assert!(own.status.success(), "{}", errors(&own));
    let mut guest = info(pid, 0);
    guest.from = Some(cluster.address(1));
    let refused = with_list(&mut warden, as_other(&cluster, &order).unwrap(), guest);
    assert!(
        errors(&refused).contains("only root can move guests"),
        "{}",
        errors(&refused)
    );
}

#[test]
fn lists_are_for_everybody_but_not_the_secret() {
    let cluster = Cluster::start(1);
    let mut warden = warden(&cluster);
    let pid = std::process::id() as i32;
    let Some(tool) = as_other(&cluster, &["mosps", "-A"]) else {
        return;
    };
    let listed = with_list(&mut warden, tool, info(pid, 0));
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&pid.to_string()));
    let second = as_other(&cluster, &["mosd", "-f"])
        .unwrap()
        .output()
        .unwrap();
    assert!(
        errors(&second).contains("secret: cannot be read: Permission denied"),
        "{}",
        errors(&second)
    );
}
