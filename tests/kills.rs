//! `kill -9` of everything that belongs to mos, at random moments, while programs run and are moved about: each program goes on,
//! once, or ends with the message that says that its memory is lost.

#[path = "node/cluster.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod cluster;
#[path = "kills/counter.rs"]
mod counter;
#[path = "kills/parts.rs"]
mod parts;
#[path = "support/random.rs"]
mod random;

use std::io::Write;
use std::time::{Duration, Instant};

use cluster::{Cluster, wait_until};
use counter::{Counter, Ended};
use mos::sys::unix;
use mos::wire::control::{FromMosd, Place, ProcInfo, ToMosd};
use random::Random;

/// What is asked of a mosd that may be about to be killed.
fn try_ask(cluster: &Cluster, node: u8, question: &ToMosd) -> Option<FromMosd> {
    let mut client = mos::wire::client::Client::connect(&cluster.paths(node)).ok()?;
    client.set_timeout(Some(Duration::from_secs(10))).ok()?;
    client.ask(question).ok()
}

fn listed(cluster: &Cluster, node: u8) -> Vec<ProcInfo> {
    let list = ToMosd::List {
        local: true,
        guests: false,
    };
    match try_ask(cluster, node, &list) {
        Some(FromMosd::Procs(procs)) => procs,
        _ => Vec::new(),
    }
}

fn place(cluster: &Cluster, pid: u32) -> Option<Place> {
    let of = |info: &&ProcInfo| info.pid == pid as i32;
    listed(cluster, 1).iter().find(of).map(|info| info.place)
}

fn migrate(cluster: &Cluster, pid: u32, to: &str) -> std::process::Output {
    cluster.tool(1, &["mosmigrate", "--wait", &pid.to_string(), to])
}

/// Moves it there; the target may refuse for a moment, while it is being found again.
fn moved(cluster: &Cluster, pid: u32, to: &str, place_then: Place) {
    wait_until(&format!("{pid} gets to {to}"), || {
        migrate(cluster, pid, to);
        place(cluster, pid) == Some(place_then)
    });
}

/// Ends the programs in the orderly way and looks at what they did.
fn all_end_well(cluster: &Cluster, counters: Vec<Counter>, context: &str) {
    for counter in &counters {
        counter.tell_to_stop();
    }
    for counter in counters {
        assert_eq!(counter.wait(), Ended::Well, "{context}");
    }
    wait_until("no host is left", || {
        parts::find(cluster, "mos-host").is_empty()
    });
    wait_until("no warden is left", || {
        parts::find(cluster, "mos-warden").is_empty()
    });
}

#[test]
fn programs_outlive_wardens_guards_movers_and_daemons() {
    let mut cluster = Cluster::start(3);
    let seed = random::seed("MOS_SEED");
    let mut random = Random::new(seed);
    let mut counters: Vec<Counter> = (0..2).map(|_| Counter::start(&cluster)).collect();
    counters.push(Counter::start_large(&cluster));
    // A mover that is killed in the microseconds in which it first maps a stub loses the process (CONTRIBUTING.md, known faults).
    for counter in &counters {
        moved(
            &cluster,
            counter.pid(),
            "2",
            Place::Away(cluster.address(2)),
        );
    }
    let until = Instant::now() + Duration::from_secs(12);
    let mut killed = Vec::new();
    while Instant::now() < until {
        try_ask(&cluster, 1, &ToMosd::Shake);
        std::thread::sleep(Duration::from_micros(random.below(40_000)));
        let what =
            ["mos-mover", "mos-mover", "mos-warden", "guard", "mosd"][random.below(5) as usize];
        if what == "mosd" {
            let node = 1 + random.below(3) as u8;
            cluster.kill_node(node);
            std::thread::sleep(Duration::from_micros(random.below(200_000)));
            cluster.start_node(node);
            killed.push(what);
            continue;
        }
        // A guard is replaced by nobody: it is killed where a warden is left that keeps the listener.
        let found = parts::find(&cluster, what);
        if let Some(pid) = found.get(random.below(found.len().max(1) as u64) as usize) {
            parts::kill(*pid);
            killed.push(what);
        }
        for counter in &counters {
            assert!(
                counter.runs(),
                "seed {seed}, killed {killed:?}: {}",
                counter.said()
            );
        }
    }
    assert!(
        killed.contains(&"mos-mover") && killed.contains(&"mosd"),
        "seed {seed}: {killed:?}"
    );
    all_end_well(
        &cluster,
        counters,
        &format!("seed {seed}, killed {killed:?}"),
    );
}

#[test]
fn a_killed_host_ends_its_program_with_a_message_or_gives_it_back() {
    let cluster = Cluster::start(2);
    let seed = random::seed("MOS_SEED");
    let mut random = Random::new(seed);
    let (mut lost, mut kept) = (0, 0);
    for round in 0..16 {
        let counter = match round % 4 {
            2 | 3 => Counter::start_large(&cluster),
            _ => Counter::start(&cluster),
        };
        let pid = counter.pid().to_string();
        cluster.tool(1, &["mosmigrate", &pid, "2"]);
        // From before the host exists to when the program has long been running there.
        if round % 2 == 0 {
            let there = Place::Away(cluster.address(2));
            wait_until("it is there", || {
                place(&cluster, counter.pid()) == Some(there)
            });
            counter.wait_to_grow();
        }
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        for host in parts::find(&cluster, "mos-host") {
            parts::kill(host);
        }
        wait_until("no host is left, or a new one", || {
            parts::find(&cluster, "mos-host").is_empty() || !counter.runs() || counter.grows()
        });
        counter.tell_to_stop();
        match counter.wait() {
            Ended::Well => kept += 1,
            Ended::Lost => lost += 1,
            other => panic!("seed {seed}, round {round}: {other:?}"),
        }
    }
    wait_until("no host is left", || {
        parts::find(&cluster, "mos-host").is_empty()
    });
    println!("seed {seed}: {kept} went on, {lost} ended with the message");
    assert!(
        lost > 0,
        "seed {seed}: no host was killed while it had a program"
    );
}

#[test]
fn a_warden_that_takes_over_knows_what_is_away() {
    let cluster = Cluster::start(2);
    let counter = Counter::start(&cluster);
    let there = Place::Away(cluster.address(2));
    for _ in 0..3 {
        moved(&cluster, counter.pid(), "2", there);
        let warden = parts::find(&cluster, "mos-warden")[0];
        parts::kill(warden);
        wait_until("there is another warden", || {
            parts::find(&cluster, "mos-warden")
                .iter()
                .any(|pid| *pid != warden)
        });
        wait_until("it knows where the process is", || {
            place(&cluster, counter.pid()) == Some(there)
        });
        moved(&cluster, counter.pid(), "home", Place::Home);
    }
    all_end_well(&cluster, vec![counter], "after three wardens");
}

/// Killed with the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_call_that_a_killed_warden_held_goes_on() {
    let cluster = Cluster::start(2);
    let program = counter::build("kills/asks.c");
    // A node that does not answer keeps the mover waiting, and so the program in its call.
    let deaf = cluster.pid(2) as i32;
    unix::kill(deaf, unix::SIGSTOP).unwrap();
    let mut asks = cluster.command(1, &["mosrun"]);
    let mut asks = Killed(asks.arg(&program).spawn().unwrap());
    wait_until("the mover has begun", || {
        !parts::find(&cluster, "mos-mover").is_empty()
    });
    let warden = parts::find(&cluster, "mos-warden")[0];
    parts::kill(warden);
    let mut ended = None;
    wait_until("the call goes on, and the program", || {
        ended = asks.0.try_wait().unwrap();
        ended.is_some()
    });
    // There is no such file but for a warden.
    assert_eq!(ended.unwrap().code(), Some(1));
    unix::kill(deaf, unix::SIGCONT).unwrap();
    wait_until("no mover is left", || {
        parts::find(&cluster, "mos-mover").is_empty()
    });
    std::fs::remove_file(program).unwrap();
}

#[test]
fn writers_wait_for_a_process_whose_warden_was_killed() {
    let cluster = Cluster::start(2);
    let counter = Counter::start_with_view(&cluster);
    let there = Place::Away(cluster.address(2));
    for byte in b"bcdef" {
        moved(&cluster, counter.pid(), "2", there);
        parts::kill(parts::find(&cluster, "mos-warden")[0]);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .open(counter.view())
            .unwrap();
        file.write_all(&[*byte]).unwrap();
        drop(file);
        counter.wait_to_grow();
    }
    all_end_well(&cluster, vec![counter], "after five writers");
}

#[test]
fn a_daemon_that_is_started_again_knows_every_process() {
    let mut cluster = Cluster::start(3);
    let counters: Vec<Counter> = (0..6).map(|_| Counter::start(&cluster)).collect();
    let at = |n: usize| 1 + n % 3;
    let place_of = |cluster: &Cluster, n: usize| match at(n) {
        1 => Place::Home,
        node => Place::Away(cluster.address(node as u8)),
    };
    for (n, counter) in counters.iter().enumerate() {
        moved(
            &cluster,
            counter.pid(),
            &at(n).to_string(),
            place_of(&cluster, n),
        );
    }
    for node in [1, 2, 3, 1] {
        cluster.kill_node(node);
        for counter in &counters {
            counter.wait_to_grow();
        }
        cluster.start_node(node);
        for (n, counter) in counters.iter().enumerate() {
            wait_until("every process is listed where it is", || {
                place(&cluster, counter.pid()) == Some(place_of(&cluster, n))
            });
        }
        for other in [1, 2, 3] {
            cluster.wait_alive(1, other, true);
        }
    }
    for counter in &counters {
        moved(
            &cluster,
            counter.pid(),
            "3",
            Place::Away(cluster.address(3)),
        );
        moved(&cluster, counter.pid(), "home", Place::Home);
    }
    all_end_well(&cluster, counters, "after all daemons were killed");
}
