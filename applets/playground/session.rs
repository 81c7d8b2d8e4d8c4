//! One command in the cluster, from its start to its end.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use mos::config::Paths;
use mos::sys::unix::{self, Ended, SIGCHLD, SIGHUP, SIGKILL, SIGTERM, SignalFd, SignalMask};
use mos::sys::{socket, spawn};
use mos::wire::client::Client;
use mos::wire::control::ToMosd;

use super::Options;
use super::cluster::Cluster;
use super::demo;
use crate::common::fail;

/// How long the command may take to end when the playground is told to.
const END_WAIT: Duration = Duration::from_secs(3);

/// Starts the nodes and runs the command; its exit status.
pub fn run(options: &Options, cluster: &Cluster, signals: SignalFd, mask: SignalMask) -> i32 {
    if let Err(error) = cluster.start() {
        return fail("playground", error);
    }
    if options.command.is_empty() {
        return demo::run(cluster, signals, mask);
    }
    if let Err(error) = super::enter(&cluster.root(1)) {
        return fail("playground", error);
    }
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]);
    if let Some(name) = options.arg0 {
        command.arg0(name);
    }
    environment(&mut command, cluster);
    spawn::with_signal_mask(&mut command, mask);
    match command.spawn() {
        Ok(child) => Session::new(options, cluster, signals, child.id() as i32).wait(),
        Err(error) => {
            fail(
                "playground",
                format!("{}: {error}", options.command[0].to_string_lossy()),
            );
            if error.kind() == io::ErrorKind::NotFound {
                127
            } else {
                126
            }
        }
    }
}

/// The environment in which every command of mos talks to node 1.
pub fn environment(command: &mut Command, cluster: &Cluster) {
    let old = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    let dirs = std::iter::once(cluster.bin()).chain(std::env::split_paths(&old));
    if let Ok(path) = std::env::join_paths(dirs) {
        command.env("PATH", path);
    }
    command
        .env("MOSIX_ROOT", cluster.root(1))
        .env("MOS_PLAYGROUND", cluster.dir());
}

struct Session {
    signals: SignalFd,
    /// The command.
    pid: i32,
    shaker: Option<Shaker>,
    /// When the command is killed, having been told to end.
    kill_at: Option<Instant>,
}

impl Session {
    fn new(options: &Options, cluster: &Cluster, signals: SignalFd, pid: i32) -> Session {
        let shaker = options
            .shake_ms
            .map(|ms| Shaker::new(cluster, Duration::from_millis(ms)));
        Session {
            signals,
            pid,
            shaker,
            kill_at: None,
        }
    }

    /// Waits for the command and shakes meanwhile; the exit status for the playground.
    fn wait(mut self) -> i32 {
        loop {
            match unix::reap(-1, false) {
                Ok(Some((pid, ended))) if pid == self.pid => return exit_status(ended),
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(error) => return fail("playground", error),
            }
            let now = Instant::now();
            let next = self
                .shaker
                .iter()
                .map(|shaker| shaker.next)
                .chain(self.kill_at)
                .min();
            let timeout = next.map_or(Duration::from_secs(3600), |next| {
                next.saturating_duration_since(now)
            });
            let _ = socket::wait_readable(&self.signals, timeout);
            while let Some(signal) = self.signals.take() {
                if signal == SIGTERM || signal == SIGHUP {
                    let _ = unix::kill(self.pid, signal);
                    self.kill_at = Some(Instant::now() + END_WAIT);
                }
            }
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                let _ = unix::kill(self.pid, SIGKILL);
                self.kill_at = None;
            }
            if let Some(shaker) = &mut self.shaker {
                shaker.shake_if_due();
            }
        }
    }
}

/// Gives the order to shake to all nodes, again and again.
struct Shaker {
    nodes: Vec<(Paths, Option<Client>)>,
    every: Duration,
    next: Instant,
}

impl Shaker {
    fn new(cluster: &Cluster, every: Duration) -> Shaker {
        let nodes = (1..=cluster.nodes())
            .map(|node| (Paths::under(cluster.root(node)), None))
            .collect();
        Shaker {
            nodes,
            every,
            next: Instant::now() + every,
        }
    }

    fn shake_if_due(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        for (paths, client) in &mut self.nodes {
            // A mosd that is not there (it may have been killed by a test) is left out this time.
            let asked = match client.take() {
                Some(client) => Ok(client),
                None => Client::connect(paths),
            };
            *client = asked.and_then(shake).ok();
        }
        self.next = Instant::now() + self.every;
    }
}

fn shake(mut client: Client) -> io::Result<Client> {
    client.set_timeout(Some(Duration::from_secs(1)))?;
    client.ask(&ToMosd::Shake)?;
    Ok(client)
}

fn exit_status(ended: Ended) -> i32 {
    match ended {
        Ended::Exited(status) => status,
        Ended::Killed(signal) => 128 + signal,
    }
}

/// In the parent: waits for the process that runs the cluster, passing on what it is told.
pub fn watch(child: i32, mut signals: SignalFd) -> i32 {
    loop {
        match unix::reap(child, false) {
            Ok(Some((_, ended))) => return exit_status(ended),
            Ok(None) => {}
            Err(error) => return fail("playground", error),
        }
        let _ = socket::wait_readable(&signals, Duration::from_secs(3600));
        while let Some(signal) = signals.take() {
            match signal {
                SIGCHLD => {}
                SIGTERM | SIGHUP => {
                    let _ = unix::kill(child, signal);
                }
                _ => {}
            }
        }
    }
}
