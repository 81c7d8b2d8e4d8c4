//! Frozen processes: they use nothing, depend on nobody, and go on as if nothing had been.

#[path = "node/cluster.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod cluster;
#[path = "kills/counter.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod counter;
#[path = "kills/parts.rs"]
mod parts;
#[path = "freeze/policy.rs"]
mod policy;
#[path = "support/random.rs"]
mod random;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster::{Cluster, wait_until};
use counter::{Counter, Ended};
use mos::migrate::fault::FREEZE_POINTS;
use mos::sys::unix;
use mos::wire::client::Client;
use mos::wire::control::{FromMosd, Frozen, Outcome, ProcInfo, Target, ToMosd};
use random::Random;

const FREEZE: Target = Target::Freeze {
    why: Frozen::Manual,
    kill: None,
};
const SIGHUP: i32 = unix::SIGHUP;
const SIGSTOP: i32 = unix::SIGSTOP;
const SIGCONT: i32 = 18;

fn list(cluster: &Cluster) -> Vec<ProcInfo> {
    let list = ToMosd::List {
        local: true,
        guests: false,
    };
    match cluster.client(1).ask(&list) {
        Ok(FromMosd::Procs(procs)) => procs,
        other => panic!("{other:?}"),
    }
}

fn frozen(cluster: &Cluster, pid: u32) -> Option<Frozen> {
    let of = |info: &&ProcInfo| info.pid == pid as i32;
    list(cluster).iter().find(of).map(|info| info.frozen)
}

/// Gives an order and waits for its outcome; `None`: mosd does not know the process (any more).
fn order(cluster: &Cluster, pid: i32, to: Target) -> Option<Outcome> {
    let mut client = cluster.client(1);
    client.set_timeout(Some(Duration::from_secs(60))).unwrap();
    let wait = true;
    match client.ask(&ToMosd::Move { pid, to, wait }) {
        Ok(FromMosd::Result(outcome)) => Some(outcome),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    }
}

fn done(cluster: &Cluster, pid: u32, to: Target) {
    let mut last = None;
    wait_until("the order is obeyed", || {
        last = order(cluster, pid as i32, to);
        assert!(
            !matches!(last, None | Some(Outcome::Gone)),
            "{pid}: {last:?}"
        );
        last.as_ref().is_some_and(Outcome::is_done)
    });
}

/// The files without a name that `pid` has open in a directory for frozen memory.
fn images_in(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let paths = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let paths = paths.map(|path| path.to_string_lossy().into_owned());
    paths
        .filter(|path| path.contains("/freeze/") && path.ends_with("(deleted)"))
        .collect()
}

fn images(pid: u32) -> usize {
    images_in(pid).len()
}

fn rss_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().split(' ').next().unwrap().to_owned();
    number.parse().unwrap()
}

/// A program under mosrun with its output in a file.
struct Program {
    child: Child,
    out: PathBuf,
}

impl Program {
    fn start(cluster: &Cluster, words: &[&str]) -> Program {
        Program::start_with(cluster, words, &[])
    }

    fn start_with(cluster: &Cluster, words: &[&str], variables: &[(&str, &Path)]) -> Program {
        let out = cluster
            .root(1)
            .join(format!("out-{:x}", unix::random_u64()));
        let file = fs::File::create(&out).unwrap();
        let child = cluster
            .command(1, &["mosrun"])
            .args(words)
            .envs(variables.iter().copied())
            .stderr(file.try_clone().unwrap())
            .stdout(file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Program { child, out }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.out).unwrap()
    }

    fn says(&self, what: &str) {
        wait_until(what, || self.said().contains(what));
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    fn end(&mut self) -> ExitStatus {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(100) {
            if let Some(status) = self.ended() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it hangs; said {:?}", self.said());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_frozen_process_uses_nothing_and_outlives_its_warden_and_its_mosd() {
    let mut cluster = Cluster::start(1);
    let counter = Counter::start(&cluster);
    let pid = counter.pid();
    for round in 0..4 {
        done(&cluster, pid, FREEZE);
        assert_eq!(frozen(&cluster, pid), Some(Frozen::Manual));
        assert_eq!(images(pid), 1);
        assert!(rss_kb(pid) < 200, "{} kB", rss_kb(pid));
        assert!(!counter.grows());
        match round {
            1 => {
                let warden = parts::find(&cluster, "mos-warden")[0];
                parts::kill(warden);
                wait_until("there is another warden that knows", || {
                    parts::find(&cluster, "mos-warden") != [warden]
                        && frozen(&cluster, pid) == Some(Frozen::Manual)
                });
            }
            2 => {
                cluster.kill_node(1);
                cluster.start_node(1);
                wait_until("the new mosd knows", || {
                    frozen(&cluster, pid) == Some(Frozen::Manual)
                });
            }
            _ => {}
        }
        // Frozen, it takes no other order.
        let node = Target::Node(cluster.address(1));
        assert_eq!(order(&cluster, pid as i32, node), Some(Outcome::Done));
        assert_eq!(frozen(&cluster, pid), Some(Frozen::Manual));
        done(&cluster, pid, Target::Continue);
        assert_eq!(frozen(&cluster, pid), Some(Frozen::No));
        assert_eq!(images(pid), 0);
        counter.wait_to_grow();
    }
    counter.tell_to_stop();
    assert_eq!(counter.wait(), Ended::Well);
}

const HANDLER: &str = r#"
import signal, sys, time
seen = []
def note(number, frame):
    seen.append(number)
    print("signal", number, flush=True)
signal.signal(signal.SIGUSR1, note)
signal.signal(signal.SIGALRM, note)
signal.setitimer(signal.ITIMER_REAL, 0.05)
print("ready", flush=True)
while len(seen) < 2:
    signal.pause()
print("both", flush=True)
time.sleep(100)
"#;

#[test]
fn signals_wait_end_or_stop_it() {
    const SIGUSR1: i32 = 10;
    let cluster = Cluster::start(1);
    let mut program = Program::start(&cluster, &["python3", "-c", HANDLER]);
    program.says("ready");
    let pid = program.child.id();
    done(&cluster, pid, FREEZE);
    let before = program.said();
    unix::kill(pid as i32, SIGUSR1).unwrap();
    let stopped = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().starts_with('T')
    };
    unix::kill(pid as i32, SIGSTOP).unwrap();
    wait_until("it is stopped", stopped);
    unix::kill(pid as i32, SIGCONT).unwrap();
    wait_until("it is not stopped", || !stopped());
    assert_eq!(frozen(&cluster, pid), Some(Frozen::Manual));
    assert_eq!(program.said(), before);
    done(&cluster, pid, Target::Continue);
    program.says("both");
    assert_eq!(program.said().matches("signal").count(), 2);
    // It sleeps; frozen there, a signal without a handler ends it at once.
    done(&cluster, pid, FREEZE);
    assert_eq!(frozen(&cluster, pid), Some(Frozen::Manual));
    unix::kill(pid as i32, SIGHUP).unwrap();
    assert_eq!(program.end().signal(), Some(SIGHUP));
}

/// What does not depend on time, for some seconds: memory, files, children, pipes, signals, threads.
const PROGRAMS: [&[&str]; 4] = [
    &[
        "awk",
        "BEGIN { for (i = 0; i < 15; i++) { for (k = 0; k < 300000; k++) n += k % (i + 2); a[i] = n; print i, n; fflush() } exit 7 }",
    ],
    &[
        "python3",
        "-c",
        "import hashlib, time\ntable = {}\nfor i in range(300000):\n    table[i] = str(i)\n    if i % 20000 == 0:\n        time.sleep(0.01)\n        print(i, hashlib.md5(''.join(table.values()).encode()).hexdigest(), flush=True)\nprint(sum(map(len, table.values())))",
    ],
    &[
        "python3",
        "-c",
        "import threading\ntotal = [0] * 3\ndef work(me):\n    for i in range(150000):\n        total[me] += i % 7\nthreads = [threading.Thread(target=work, args=(n,)) for n in range(3)]\n[t.start() for t in threads]\n[t.join() for t in threads]\nprint(total)",
    ],
    &[
        "dash",
        "-c",
        "trap 'echo usr1' USR1; n=0; while [ $n -lt 80 ]; do n=$((n + 1)); echo $n | (read x; echo got $x); [ $((n % 10)) = 0 ] && kill -USR1 $$; (exit $((n % 5))); echo $?; done; echo end; exit 3",
    ],
];

fn natively(words: &[&str]) -> (String, Option<i32>) {
    let output = std::process::Command::new(words[0])
        .args(&words[1..])
        .output()
        .unwrap();
    (
        String::from_utf8(output.stdout).unwrap(),
        output.status.code(),
    )
}

/// Freezes any of its processes at random, and has them go on, until it ends.
fn freeze_at_random(cluster: &Cluster, program: &mut Program, random: &mut Random) -> u32 {
    let (mut count, begin) = (0, Instant::now());
    while program.ended().is_none() {
        assert!(
            begin.elapsed() < Duration::from_secs(150),
            "it hangs; said {:?}",
            program.said()
        );
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        let procs = list(cluster);
        let Some(info) = procs.get(random.below(procs.len().max(1) as u64) as usize) else {
            continue;
        };
        if order(cluster, info.pid, FREEZE) == Some(Outcome::Done) {
            count += 1;
            std::thread::sleep(Duration::from_micros(random.below(40_000)));
        }
        order(cluster, info.pid, Target::Continue);
    }
    count
}

#[test]
fn programs_do_the_same_when_frozen_at_random_under_shake() {
    let seed = random::seed("MOS_SEED");
    let mut random = Random::new(seed);
    let mut frozen = 0;
    for words in PROGRAMS {
        let cluster = Cluster::start(3);
        let over = AtomicBool::new(false);
        let (count, result) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = cluster.client(1).ask(&ToMosd::Shake);
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            let mut program = Program::start(&cluster, words);
            let count = freeze_at_random(&cluster, &mut program, &mut random);
            over.store(true, Ordering::Relaxed);
            (count, (program.said(), program.end().code()))
        });
        println!("{}: frozen {count} times", words[0]);
        assert_eq!(result, natively(words), "seed {seed}, {}", words[0]);
        frozen += count;
    }
    // One that is short, or is moved each time that it is chosen, may come through without.
    assert!(frozen > 0, "seed {seed}: nothing was ever frozen");
}

#[test]
fn whatever_fails_it_runs_or_is_frozen() {
    for point in FREEZE_POINTS {
        for fault in [point.to_string(), format!("{point}:die")] {
            let mut cluster = Cluster::files(1);
            cluster.start_node(1);
            let counter = Counter::start_with(&cluster, &[("MOS_FAULT", &fault)]);
            let pid = counter.pid();
            let froze = order(&cluster, pid as i32, FREEZE).unwrap();
            let is = frozen(&cluster, pid);
            match froze {
                Outcome::Done => assert_eq!(is, Some(Frozen::Manual), "{fault}"),
                Outcome::Stayed(_) => {
                    assert_eq!(is, Some(Frozen::No), "{fault}");
                    counter.wait_to_grow();
                }
                Outcome::Gone | Outcome::Moved(_) => panic!("{fault}"),
            }
            if point.starts_with("thaw") {
                let went_on = order(&cluster, pid as i32, Target::Continue).unwrap();
                assert!(matches!(went_on, Outcome::Stayed(_)), "{fault}");
                assert_eq!(frozen(&cluster, pid), Some(Frozen::Manual), "{fault}");
                assert_eq!((images(pid), counter.grows()), (1, false), "{fault}");
                unix::kill(pid as i32, unix::SIGKILL).unwrap();
            } else {
                assert_eq!(
                    order(&cluster, pid as i32, Target::Continue),
                    Some(Outcome::Done),
                    "{fault}"
                );
                counter.wait_to_grow();
                counter.tell_to_stop();
                assert_eq!(counter.wait(), Ended::Well, "{fault}");
            }
        }
    }
}

#[test]
fn without_space_it_runs_on() {
    let cluster = Cluster::start(1);
    let mut program = Program::start(&cluster, &["dash", "-c", "ulimit -f 8; exec sleep 100"]);
    // The limit is the program's; its warden and movers have none.
    let pid = program.child.id();
    wait_until("it is there", || frozen(&cluster, pid).is_some());
    done(&cluster, pid, FREEZE);
    done(&cluster, pid, Target::Continue);
    program.child.kill().unwrap();
    program.end();

    let full = "echo 'ulimit'; ulimit -f 8; exec \"$0\" mosrun sleep 100";
    let mos = Path::new(env!("CARGO_BIN_EXE_mos"));
    let child = std::process::Command::new("dash")
        .args(["-c", full])
        .arg(mos)
        .env("MOSIX_ROOT", cluster.root(1))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let out = cluster.root(1).join("none");
    fs::write(&out, "").unwrap();
    let mut program = Program { child, out };
    let pid = program.child.id();
    wait_until("it is there", || frozen(&cluster, pid).is_some());
    let why = Outcome::Stayed("No space to freeze".into());
    wait_until("it is tried", || {
        order(&cluster, pid as i32, FREEZE) == Some(why.clone())
    });
    assert_eq!(frozen(&cluster, pid), Some(Frozen::No));
    // Where the administrator wants it killed, it is.
    let kill = Target::Freeze {
        why: Frozen::Automatic,
        kill: Some(0),
    };
    order(&cluster, pid as i32, kill);
    assert_eq!(program.end().signal(), Some(unix::SIGKILL));
}

#[test]
fn killed_movers_wardens_and_daemons_lose_no_frozen_process() {
    let mut cluster = Cluster::start(2);
    let seed = random::seed("MOS_SEED");
    let mut random = Random::new(seed);
    let counters: Vec<Counter> = (0..3).map(|_| Counter::start(&cluster)).collect();
    // A mover that is killed in the microseconds in which it first maps a stub loses the process (CONTRIBUTING.md, known faults).
    for counter in &counters {
        done(&cluster, counter.pid(), FREEZE);
        done(&cluster, counter.pid(), Target::Continue);
    }
    let until = Instant::now() + Duration::from_secs(12);
    let (mut killed, mut orders) = (Vec::new(), 0);
    while Instant::now() < until {
        for counter in &counters {
            // Nobody waits: the next blow may come in the middle of it.
            let to = [FREEZE, Target::Continue, Target::Node(cluster.address(2))]
                [random.below(3) as usize];
            let pid = counter.pid() as i32;
            let (wait, order) = (false, Client::connect(&cluster.paths(1)));
            let given = order.and_then(|mut client| {
                client.set_timeout(Some(Duration::from_secs(10)))?;
                client.ask(&ToMosd::Move { pid, to, wait })
            });
            orders += u32::from(given.is_ok());
        }
        std::thread::sleep(Duration::from_micros(random.below(60_000)));
        let what =
            ["mos-mover", "mos-mover", "mos-mover", "guarded", "mosd"][random.below(5) as usize];
        if what == "mosd" {
            cluster.kill_node(1);
            cluster.start_node(1);
            killed.push(what);
        } else if let Some(pid) = parts::find(&cluster, what).first() {
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
    println!("{orders} orders, killed {}", killed.len());
    for counter in &counters {
        wait_until("it goes on", || {
            order(&cluster, counter.pid() as i32, Target::Continue);
            counter.grows()
        });
        counter.tell_to_stop();
    }
    for counter in counters {
        assert_eq!(
            counter.wait(),
            Ended::Well,
            "seed {seed}, killed {killed:?}"
        );
    }
}
