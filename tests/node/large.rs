//! A node that knows ten thousand others, which are one thread here: each has a socket, answers, and tells of some of the rest, as often
//! as real ones would.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};
use mos::gossip::{Item, Load, MAX_DATAGRAM, Message, UNIT, WINDOW};
use mos::sys::tracked::CpuClock;

use super::cluster::{Cluster, wait_until};

const NODES: usize = 10_000;
/// Set in the process that has room for as many sockets.
const ROOM: &str = "MOS_TEST_ROOM";
const SECRET: &[u8] = b"a secret";
/// How long the daemon is watched.
const WATCHED: Duration = Duration::from_secs(10);

#[test]
fn ten_thousand_nodes_take_little() {
    if std::env::var_os(ROOM).is_none() {
        let own = std::env::current_exe().unwrap();
        let status = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -Hn); exec \"$@\"", "sh"])
            .arg(own)
            .args(["--exact", "large::ten_thousand_nodes_take_little"])
            .arg("--nocapture")
            .env(ROOM, "1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    // All of them within 127.0.0.0/8.
    let mut cluster = Cluster::files(1);
    while cluster.address(1).octets()[1] > 250 {
        cluster = Cluster::files(1);
    }
    let map = format!("{} {NODES} p\n", cluster.address(1));
    std::fs::write(cluster.paths(1).map(), map).unwrap();
    let view = format!("1 {} {NODES}\n", cluster.address(1));
    std::fs::write(cluster.paths(1).userview(), view).unwrap();
    let others = Others::bind(cluster.address(1), cluster.port);
    let phase = Arc::new(AtomicUsize::new(0));
    let end = Arc::new(AtomicBool::new(false));
    let thread = {
        let (phase, end) = (Arc::clone(&phase), Arc::clone(&end));
        std::thread::spawn(move || others.live(&phase, &end))
    };
    cluster.start_node_with(1, &[]);
    let respond = format!("{NODES} of {NODES} nodes respond");
    wait_until("it knows all", || {
        let out = cluster.tool(1, &["mosctl", "localstatus"]);
        String::from_utf8_lossy(&out.stdout).contains(&respond)
    });
    // From now on others tell as much as they would.
    phase.store(1, Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(3));
    let pid = cluster.pid(1);
    let clock = CpuClock::new(pid as i32);
    let before = (clock.nanoseconds(), Instant::now());
    std::thread::sleep(WATCHED);
    let used = (clock.nanoseconds() - before.0) as f64 / before.1.elapsed().as_nanos() as f64;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .map(|number| number.parse::<u64>().unwrap() / 1024)
        .unwrap();
    let mosmon = cluster.tool(1, &["mosmon", "--ron"]);
    let alive = String::from_utf8_lossy(&mosmon.stdout)
        .matches("alive: true")
        .count();
    let screen = monitor(&cluster, "wmsfcl\x1b[Ct");
    end.store(true, Ordering::Relaxed);
    let heard = thread.join().unwrap();
    println!(
        "{:.2} % of a processor, {resident} MiB; {heard} messages",
        used * 100.0
    );
    assert_eq!(alive, NODES);
    let count = format!("{NODES} of {NODES} nodes");
    assert!(
        screen.contains(&count) && screen.ends_with("status 0"),
        "{screen:?}"
    );
    assert!(resident <= 32, "{resident} MiB");
    assert!(used <= 0.01, "{:.2} % of a processor", used * 100.0);
    // It takes part: one message in each unit at least.
    assert!(
        heard as u128 > WATCHED.as_millis() / u128::from(UNIT),
        "{heard}"
    );
}

/// What the monitor shows in a terminal where these keys are pressed, and then `q`.
fn monitor(cluster: &Cluster, keys: &str) -> String {
    let script = format!(
        "(printf '{keys}'; sleep 1; printf q; sleep 2) | script -qec 'stty rows 24 cols 80; {} mosmon; echo status $?' /dev/null",
        env!("CARGO_BIN_EXE_mos")
    );
    let out = Command::new("sh")
        .args(["-c", &script])
        .env("MOSIX_ROOT", cluster.root(1))
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}

struct Others {
    poll: Poll,
    sockets: Vec<UdpSocket>,
    first: Ipv4Addr,
    port: u16,
    sequence: u64,
    /// The next node that is told of.
    next: usize,
    count: u32,
}

impl Others {
    /// Sockets for all but the first node.
    fn bind(first: Ipv4Addr, port: u16) -> Others {
        let poll = Poll::new().unwrap();
        let sockets = (1..NODES).map(|at| {
            let address = SocketAddr::from((node(first, at), port));
            let mut socket =
                UdpSocket::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
            poll.registry()
                .register(&mut socket, Token(at), Interest::READABLE)
                .unwrap();
            socket
        });
        let sockets = sockets.collect();
        Others {
            poll,
            sockets,
            first,
            port,
            sequence: 0,
            next: 1,
            count: 0,
        }
    }

    /// Answers until the end; the number of messages that came.
    fn live(mut self, phase: &AtomicUsize, end: &AtomicBool) -> usize {
        let mut events = Events::with_capacity(64);
        let (mut heard, mut life, mut told) = (0, 0, Instant::now());
        while !end.load(Ordering::Relaxed) {
            // At first quickly, until it knows all; then as often as others would choose it.
            let every = if phase.load(Ordering::Relaxed) == 0 {
                2
            } else {
                UNIT
            };
            let every = Duration::from_millis(every);
            let wait = every.saturating_sub(told.elapsed());
            let _ = self.poll.poll(&mut events, Some(wait));
            for event in &events {
                let at = event.token().0;
                while let Some(message) = self.hear(at) {
                    heard += 1;
                    life = message.life;
                    if message.answer {
                        self.tell(at, life, false);
                    }
                }
            }
            if life != 0 && told.elapsed() >= every {
                told = Instant::now();
                self.tell(1 + self.next % (NODES - 1), life, true);
            }
        }
        heard
    }

    fn hear(&mut self, at: usize) -> Option<Message<Load>> {
        let mut bytes = [0; MAX_DATAGRAM];
        match self.sockets[at - 1].recv_from(&mut bytes) {
            Ok((n, _)) => Some(Message::open(&bytes[..n], SECRET).expect("it knows the secret")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Node `at` tells of itself and of the next ones.
    fn tell(&mut self, at: usize, life: u64, answer: bool) {
        self.sequence += 1;
        self.count += 1;
        let others = (0..WINDOW - 1).map(|_| {
            self.next = 1 + self.next % (NODES - 1);
            self.next
        });
        let items = std::iter::once(at).chain(others).map(|at| Item {
            node: node(self.first, at),
            life: 1,
            count: self.count,
            age: 8,
            down: false,
            info: Load {
                speed: 10_000,
                cpus: 8,
                load: 100,
                mem_total: 16_000,
                mem_free: 8000,
                ..Load::default()
            },
        });
        let message = Message {
            from: node(self.first, at),
            to: self.first,
            life: 1,
            echo: life,
            sequence: self.sequence,
            answer,
            note: None,
            items: items.collect(),
        };
        let to = SocketAddr::from((self.first, self.port));
        // A full queue: it is told again.
        let _ = self.sockets[at - 1].send_to(&message.seal(SECRET), to);
    }
}

/// The address of a node, from 0.
fn node(first: Ipv4Addr, at: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(first) + at as u32)
}
