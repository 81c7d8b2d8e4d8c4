//! The demonstration: programs that compute, started on node 1, and moved about while they do.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mos::config::Paths;
use mos::sys::unix::{self, Ended, SIGCHLD, SignalFd, SignalMask};
use mos::sys::{socket, spawn};
use mos::wire::client::Client;
use mos::wire::control::{Place, Target};

use super::cluster::Cluster;
use super::session::environment;
use super::spin;
use crate::cluster as tools;
use crate::common::fail;

/// Programs that are started. The first is never moved: the others must find what it finds.
const PROGRAMS: usize = 4;
/// How long it is to take, about.
const LENGTH: Duration = Duration::from_secs(8);
/// Time between two looks, and between two moves.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const MOVE_EVERY: Duration = Duration::from_millis(700);

/// One of the programs.
struct Program {
    number: usize,
    pid: i32,
    place: Place,
    nmigs: u32,
    stays: Option<String>,
    ended: Option<Ended>,
}

struct Demo<'a> {
    cluster: &'a Cluster,
    client: Client,
    /// Addresses of the nodes, by number from 1.
    nodes: Vec<Ipv4Addr>,
    programs: Vec<Program>,
    begin: Instant,
    /// Orders given so far: they say which program goes where next.
    orders: usize,
    /// Lines of the table that are on the terminal.
    drawn: usize,
    terminal: bool,
}

/// Shows it; the exit status.
pub fn run(cluster: &Cluster, mut signals: SignalFd, mask: SignalMask) -> i32 {
    let mut demo = match Demo::start(cluster, mask) {
        Ok(demo) => demo,
        Err(error) => return fail("playground", error),
    };
    match demo.watch(&mut signals) {
        Ok(true) => demo.summary(),
        Ok(false) => 130,
        Err(error) => fail("playground", error),
    }
}

impl<'a> Demo<'a> {
    fn start(cluster: &'a Cluster, mask: SignalMask) -> io::Result<Demo<'a>> {
        let mut client = Client::connect(&Paths::under(cluster.root(1)))?;
        client.set_timeout(Some(Duration::from_secs(10)))?;
        let nodes: Vec<Ipv4Addr> = tools::status(&mut client)?
            .nodes
            .iter()
            .map(|node| node.address)
            .collect();
        let program = cluster.bin().join(spin::NAME);
        std::os::unix::fs::symlink(std::env::current_exe()?, &program)?;
        println!(
            "{} nodes on this machine; node 1 is home. {PROGRAMS} programs are started there with",
            nodes.len()
        );
        println!("mosrun, and while they compute, all but the first are moved with mosmigrate:");
        println!();
        let cpus = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(PROGRAMS);
        let work = LENGTH.as_secs() * spin::rounds_per_second() * cpus as u64 / PROGRAMS as u64;
        let mut programs = Vec::new();
        for number in 1..=PROGRAMS {
            let mut command = Command::new(cluster.bin().join("mosrun"));
            command.arg(&program).arg(work.to_string());
            environment(&mut command, cluster);
            spawn::with_signal_mask(&mut command, mask);
            let out = File::create(cluster.dir().join(format!("out-{number}")))?;
            let pid = command.stdin(Stdio::null()).stdout(out).spawn()?.id() as i32;
            programs.push(Program {
                number,
                pid,
                place: Place::Starting,
                nmigs: 0,
                stays: None,
                ended: None,
            });
        }
        let terminal = io::stdout().is_terminal();
        Ok(Demo {
            cluster,
            client,
            nodes,
            programs,
            begin: Instant::now(),
            orders: 0,
            drawn: 0,
            terminal,
        })
    }

    /// Moves and shows until all have ended; false when a signal has cut it short.
    fn watch(&mut self, signals: &mut SignalFd) -> io::Result<bool> {
        let mut next_look = Instant::now();
        let mut next_move = Instant::now() + MOVE_EVERY;
        while self.programs.iter().any(|program| program.ended.is_none()) {
            let now = Instant::now();
            if now >= next_look {
                self.look()?;
                next_look = now + LOOK_EVERY;
            }
            if now >= next_move {
                self.move_next()?;
                next_move = now + MOVE_EVERY;
            }
            let next = next_look.min(next_move);
            socket::wait_readable(signals, next.saturating_duration_since(Instant::now()))?;
            while let Some(signal) = signals.take() {
                if signal != SIGCHLD {
                    return Ok(false);
                }
            }
            while let Ok(Some((pid, ended))) = unix::reap(-1, false) {
                if let Some(program) = self.programs.iter_mut().find(|program| program.pid == pid) {
                    program.ended = Some(ended);
                    self.tell(pid);
                }
            }
        }
        self.draw();
        Ok(true)
    }

    /// Asks where they are.
    fn look(&mut self) -> io::Result<()> {
        for info in tools::list(&mut self.client, true, false)? {
            let Some(program) = self
                .programs
                .iter_mut()
                .find(|program| program.pid == info.pid)
            else {
                continue;
            };
            // On its way: where it arrives is what matters.
            let news = program.place != info.place && !matches!(info.place, Place::Leaving);
            program.nmigs = info.nmigs;
            program.stays = info.stays;
            if news {
                program.place = info.place;
                self.tell(info.pid);
            }
        }
        self.draw();
        Ok(())
    }

    /// Gives the next order: each program in turn to the next node, and home in between.
    fn move_next(&mut self) -> io::Result<()> {
        let movers = self.programs.len() - 1;
        let index = 1 + self.orders % movers;
        let step = self.orders / movers + index;
        self.orders += 1;
        let to = match step % self.nodes.len() {
            0 => Target::Home,
            other => Target::Node(self.nodes[other]),
        };
        if self.programs[index].ended.is_none() {
            // It may end at this very moment, which is no reason to end the demonstration.
            let _ = tools::order_move(&mut self.client, self.programs[index].pid, to, false);
        }
        Ok(())
    }

    fn place(&self, program: &Program) -> String {
        let node = |address: Ipv4Addr| {
            self.nodes
                .iter()
                .position(|node| *node == address)
                .map_or(0, |index| index + 1)
        };
        match (program.ended, program.place) {
            (Some(Ended::Exited(0)), _) => "ended".into(),
            (Some(Ended::Exited(status)), _) => format!("ended with status {status}"),
            (Some(Ended::Killed(signal)), _) => format!("killed by signal {signal}"),
            (None, Place::Home) => "node 1 (home)".into(),
            (None, Place::Away(address)) => format!("node {}", node(address)),
            (None, Place::Leaving) => "on its way".into(),
            (None, Place::Starting) => "starting".into(),
        }
    }

    /// Without a terminal: one line of news.
    fn tell(&self, pid: i32) {
        let Some(program) = self.programs.iter().find(|program| program.pid == pid) else {
            return;
        };
        if !self.terminal {
            let time = self.begin.elapsed().as_secs_f64();
            println!(
                "{time:6.1} s  program {} (pid {pid}): {}",
                program.number,
                self.place(program)
            );
        }
    }

    /// On a terminal: the table, in place of the one before.
    fn draw(&mut self) {
        if !self.terminal {
            return;
        }
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        text.push_str(&format!(
            "{:<8} {:>8}  {:<20} {:>5}\x1b[K\n",
            "PROGRAM", "PID", "RUNS ON", "MOVES"
        ));
        for program in &self.programs {
            let note = match (&program.stays, program.number) {
                (Some(why), _) => format!("cannot move: {why}"),
                (None, 1) => "is not moved, to compare with".into(),
                _ => String::new(),
            };
            let place = self.place(program);
            let (number, pid, nmigs) = (program.number, program.pid, program.nmigs);
            text.push_str(&format!(
                "{number:<8} {pid:>8}  {place:<20} {nmigs:>5}  {note}\x1b[K\n"
            ));
        }
        text.push_str(&format!(
            "{:5.1} s\x1b[K\n",
            self.begin.elapsed().as_secs_f64()
        ));
        self.drawn = self.programs.len() + 2;
        let mut out = io::stdout().lock();
        // When the terminal is gone, the signal for that is on its way.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// What there was to see; the exit status.
    fn summary(&self) -> i32 {
        let result = |program: &Program| {
            let text =
                std::fs::read_to_string(self.cluster.dir().join(format!("out-{}", program.number)));
            text.unwrap_or_default().trim().to_string()
        };
        let first = result(&self.programs[0]);
        let wrong = |program: &&Program| {
            program.ended != Some(Ended::Exited(0)) || result(program) != first
        };
        println!();
        if first.is_empty() || self.programs.iter().any(|program| wrong(&program)) {
            for program in self.programs.iter().filter(wrong) {
                println!(
                    "program {} went wrong: {}",
                    program.number,
                    self.place(program)
                );
            }
            return 1;
        }
        let moves: u32 = self.programs.iter().map(|program| program.nmigs).sum();
        let time = self.begin.elapsed().as_secs_f64();
        println!("{moves} moves in {time:.1} s, and all programs found the same result ({first}).");
        println!();
        println!("Try it with your own programs in a shell on such a cluster:");
        println!("  mos playground -- bash");
        println!("  mosrun PROGRAM &       run it so that it can move; $! is its pid");
        println!("  mosps                  where it runs");
        println!("  mosmigrate PID 2       move it to node 2, or \"home\"");
        println!("For real machines, see the README.");
        0
    }
}
