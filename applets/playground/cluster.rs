//! The nodes of a playground: their addresses, files and daemons.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mos::config::Paths;
use mos::sys::unix::{AbstractListener, SIGKILL, SignalMask, random_u64};
use mos::sys::{affinity, spawn};
use mos::wire::client::Client;
use mos::wire::control::{FromMosd, ToMosd};

use super::{Options, cpus, speeds};
use crate::install;

/// How long the nodes may take until all know each other.
const START_WAIT: Duration = Duration::from_secs(20);

/// Nodes 127.x.y.1 to 127.x.y.N.
pub struct Cluster {
    dir: PathBuf,
    /// The directory was ours to make, and is ours to remove.
    made: bool,
    nodes: u32,
    balance: bool,
    cpus: Vec<Vec<usize>>,
    speeds: Vec<u32>,
    memory: Vec<u32>,
    /// Whoever has this has the block of addresses.
    _claim: AbstractListener,
}

impl Cluster {
    /// Claims addresses and writes the files of all nodes.
    ///
    /// # Errors
    ///
    /// When the directory cannot be used, or no addresses are to be had.
    pub fn prepare(options: &Options) -> io::Result<Cluster> {
        let (claim, block, port) = claim(options.nodes)?;
        let (dir, made) = make_dir(options.dir.as_deref())?;
        let cluster = Cluster {
            dir,
            made,
            nodes: options.nodes,
            balance: options.balance,
            cpus: options.cpus.clone(),
            speeds: options.speeds.clone(),
            memory: options.memory.clone(),
            _claim: claim,
        };
        match cluster.write(block, port) {
            Ok(()) => Ok(cluster),
            Err(error) => {
                cluster.remove();
                Err(error)
            }
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn nodes(&self) -> u32 {
        self.nodes
    }

    /// The directory of links to all commands.
    pub fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// The root directory of a node.
    pub fn root(&self, node: u32) -> PathBuf {
        self.dir.join(format!("node-{node}"))
    }

    fn write(&self, block: [u8; 2], port: u16) -> io::Result<()> {
        std::fs::create_dir(self.bin())?;
        install::links(&std::env::current_exe()?, &self.bin())?;
        let secret = format!("{:016x}{:016x}\n", random_u64(), random_u64());
        let first = Ipv4Addr::new(127, block[0], block[1], 1);
        for node in 1..=self.nodes {
            let paths = Paths::under(self.root(node));
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(paths.var())?;
            std::fs::write(paths.map(), format!("{first} {} p\n", self.nodes))?;
            std::fs::write(paths.userview(), format!("1 {first} {}\n", self.nodes))?;
            std::fs::write(
                paths.mosip(),
                format!("{}\n", Ipv4Addr::new(127, block[0], block[1], node as u8)),
            )?;
            let freeze = self.root(node).join("freeze");
            std::fs::create_dir(&freeze)?;
            std::fs::write(paths.freeze(), format!("{}\n", freeze.display()))?;
            std::fs::write(paths.ports(), format!("tcp {port}\nudp {port}\n"))?;
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(paths.secret())?;
            file.write_all(secret.as_bytes())?;
            if let Some(set) = self.cpus_of(node) {
                cpus::write(&self.root(node), set)?;
            }
            if let Some(percent) = turn(&self.speeds, node) {
                let name = format!("mos-playground-{first}-{node}");
                speeds::hold(&self.root(node), &name, *percent)?;
            }
        }
        Ok(())
    }

    /// The CPUs of a node, if it has some of its own.
    fn cpus_of(&self, node: u32) -> Option<&[usize]> {
        turn(&self.cpus, node).map(Vec::as_slice)
    }

    /// How the daemon of a node shares this machine with the others.
    fn daemon_options(&self, node: u32) -> Vec<String> {
        if !self.balance {
            return vec!["--no-balance".into()];
        }
        let all = affinity::allowed().map_or(1, |cpus| cpus.len());
        let equal = if self.speeds.is_empty() {
            (all / self.nodes as usize).max(1)
        } else {
            1
        };
        let count = self.cpus_of(node).map_or(equal, <[usize]>::len);
        let mut options = vec!["--cpus".into(), count.to_string()];
        if let Some(megabytes) = turn(&self.memory, node) {
            options.extend(["--memory".into(), megabytes.to_string()]);
        }
        options
    }

    /// Starts the daemons of all nodes and waits until all know each other.
    ///
    /// # Errors
    ///
    /// Names the node that does not come up and what its daemon says.
    pub fn start(&self) -> io::Result<()> {
        for node in 1..=self.nodes {
            let log = File::create(Paths::under(self.root(node)).log())?;
            let mut command = Command::new("/proc/self/exe");
            command
                .arg0("mosd")
                .arg("-f")
                .args(self.daemon_options(node))
                .env("MOSIX_ROOT", self.root(node));
            command
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log);
            spawn::in_new_session(&mut command);
            spawn::with_signal_mask(&mut command, SignalMask::empty());
            spawn::dies_with_us(&mut command, SIGKILL);
            // Children are reaped by whoever runs the session.
            let child = command.spawn()?;
            if let Some(set) = self.cpus_of(node) {
                affinity::pin(child.id() as i32, set)?;
            }
            speeds::enter(&self.root(node), child.id())?;
        }
        let until = Instant::now() + START_WAIT;
        for node in 1..=self.nodes {
            while !self.knows_all(node) {
                if Instant::now() > until || self.has_failed(node) {
                    let log = std::fs::read_to_string(Paths::under(self.root(node)).log())
                        .unwrap_or_default();
                    let last = log.lines().last().unwrap_or("it says nothing");
                    return Err(io::Error::other(format!(
                        "node {node} does not start: {last}"
                    )));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    fn knows_all(&self, node: u32) -> bool {
        let asked = Client::connect(&Paths::under(self.root(node))).and_then(|mut client| {
            client.set_timeout(Some(Duration::from_secs(1)))?;
            client.ask(&ToMosd::Status)
        });
        matches!(asked, Ok(FromMosd::Status { nodes, .. }) if nodes.iter().all(|info| info.alive))
    }

    /// Its daemon has said that it gives up.
    fn has_failed(&self, node: u32) -> bool {
        let log = std::fs::read_to_string(Paths::under(self.root(node)).log()).unwrap_or_default();
        log.lines().any(|line| line.starts_with("mosd: "))
    }

    /// Nodes are not held to anything any more.
    pub fn release(&self) {
        for node in 1..=self.nodes {
            speeds::release(&self.root(node));
        }
    }

    /// Removes all files.
    pub fn remove(&self) {
        self.release();
        let result = if self.made {
            std::fs::remove_dir_all(&self.dir)
        } else {
            let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
            entries
                .map(|entry| entry.path())
                .try_for_each(std::fs::remove_dir_all)
        };
        if let Err(error) = result
            && error.kind() != io::ErrorKind::NotFound
        {
            eprintln!("playground: cannot remove {}: {error}", self.dir.display());
        }
    }
}

/// What is given to the nodes in turn.
fn turn<T>(given: &[T], node: u32) -> Option<&T> {
    given.get((node - 1) as usize % given.len().max(1))
}

/// Takes a block of addresses that no other playground has, and a port that is free on all of them.
fn claim(nodes: u32) -> io::Result<(AbstractListener, [u8; 2], u16)> {
    let mut last = io::Error::other("no addresses");
    for _ in 0..100 {
        let random = random_u64().to_le_bytes();
        // 127.0.y.z is left to others.
        let block = [random[0].max(1), random[1]];
        let port = 20_000 + u16::from_le_bytes([random[2], random[3]]) % 10_000;
        let name = format!("mos-playground-127.{}.{}", block[0], block[1]);
        let claimed = AbstractListener::bind(&name).and_then(|claim| {
            for node in 1..=nodes {
                let address = (Ipv4Addr::new(127, block[0], block[1], node as u8), port);
                TcpListener::bind(address)?;
                UdpSocket::bind(address)?;
            }
            Ok(claim)
        });
        match claimed {
            Ok(claim) => return Ok((claim, block, port)),
            Err(error) => last = error,
        }
    }
    Err(io::Error::new(
        last.kind(),
        format!("cannot use addresses 127.x.y.z: {last}"),
    ))
}

/// The directory for the nodes' files, and whether it is new.
fn make_dir(wanted: Option<&Path>) -> io::Result<(PathBuf, bool)> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    let Some(wanted) = wanted else {
        let dir = std::env::temp_dir().join(format!("mos-playground-{:016x}", random_u64()));
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
        builder.create(&dir).map_err(named)?;
        return Ok((dir, true));
    };
    let dir = std::path::absolute(wanted)?;
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
    match builder.create(&dir) {
        Ok(()) => Ok((dir, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if std::fs::read_dir(&dir).map_err(named)?.next().is_some() {
                return Err(io::Error::other(format!("{} is not empty", dir.display())));
            }
            Ok((dir, false))
        }
        Err(error) => Err(named(error)),
    }
}
