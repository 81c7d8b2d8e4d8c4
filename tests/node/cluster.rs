//! Nodes for tests: real mosds with roots of their own, ended with the test.

use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use mos::config::Paths;
use mos::sys::unix::random_u64;
use mos::wire::client::Client;
use mos::wire::control::{FromMosd, ToMosd};

/// Some nodes with consecutive addresses.
pub struct Cluster {
    dir: PathBuf,
    block: [u8; 2],
    pub port: u16,
    count: u8,
    mosds: Vec<Option<Child>>,
}

impl Cluster {
    /// The files of `count` nodes; nothing runs yet.
    pub fn files(count: u8) -> Cluster {
        let random = random_u64().to_le_bytes();
        let block = [random[0].max(1), random[1]];
        let port = 20_000 + u16::from_le_bytes([random[2], random[3]]) % 10_000;
        let dir = std::env::temp_dir().join(format!("mos-test-{:x}", random_u64()));
        let cluster = Cluster {
            dir,
            block,
            port,
            count,
            mosds: (0..count).map(|_| None).collect(),
        };
        for node in 1..=count {
            let paths = cluster.paths(node);
            std::fs::create_dir_all(paths.var()).unwrap();
            std::fs::write(paths.map(), format!("{} {count}\n", cluster.address(1))).unwrap();
            std::fs::write(
                paths.userview(),
                format!("1 {} {count}\n", cluster.address(1)),
            )
            .unwrap();
            std::fs::write(paths.mosip(), format!("{}\n", cluster.address(node))).unwrap();
            let freeze = cluster.root(node).join("freeze");
            std::fs::create_dir(&freeze).unwrap();
            std::fs::write(paths.freeze(), format!("{}\n", freeze.display())).unwrap();
            std::fs::write(paths.ports(), format!("tcp {port}\nudp {port}\n")).unwrap();
            cluster.set_secret(node, "a secret");
        }
        cluster
    }

    /// Nodes that run and know each other.
    pub fn start(count: u8) -> Cluster {
        let mut cluster = Cluster::files(count);
        for node in 1..=count {
            cluster.start_node(node);
        }
        for node in 1..=count {
            for other in 1..=count {
                cluster.wait_alive(node, other, true);
            }
        }
        cluster
    }

    pub fn start_node(&mut self, node: u8) {
        self.start_node_with(node, &["--no-balance"]);
    }

    pub fn start_node_with(&mut self, node: u8, options: &[&str]) {
        let child = self
            .mosd(node)
            .arg("-f")
            .args(options)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.mosds[usize::from(node) - 1] = Some(child);
        wait_until("mosd answers", || {
            Client::connect(&self.paths(node)).is_ok()
        });
    }

    /// As `kill -9`.
    pub fn kill_node(&mut self, node: u8) {
        if let Some(mut child) = self.mosds[usize::from(node) - 1].take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn pid(&self, node: u8) -> u32 {
        self.mosds[usize::from(node) - 1].as_ref().unwrap().id()
    }

    pub fn mosd(&self, node: u8) -> Command {
        self.command(node, &["mosd"])
    }

    /// A command that acts on this node.
    pub fn command(&self, node: u8, args: &[&str]) -> Command {
        let mut command = mos(args);
        command.env("MOSIX_ROOT", self.root(node));
        command
    }

    pub fn tool(&self, node: u8, args: &[&str]) -> Output {
        self.command(node, args).output().unwrap()
    }

    pub fn address(&self, node: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.block[0], self.block[1], node)
    }

    pub fn root(&self, node: u8) -> PathBuf {
        self.dir.join(format!("node-{node}"))
    }

    pub fn paths(&self, node: u8) -> Paths {
        Paths::under(self.root(node))
    }

    pub fn client(&self, node: u8) -> Client {
        let client = Client::connect(&self.paths(node)).unwrap();
        client.set_timeout(Some(Duration::from_secs(10))).unwrap();
        client
    }

    pub fn set_secret(&self, node: u8, secret: &str) {
        let path = self.paths(node).secret();
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .unwrap();
        writeln!(file, "{secret}").unwrap();
    }

    /// Waits until `node` takes `other` for alive, or for dead.
    pub fn wait_alive(&self, node: u8, other: u8, alive: bool) {
        wait_until("the nodes know of each other", || {
            let FromMosd::Status { nodes, .. } = self.client(node).ask(&ToMosd::Status).unwrap()
            else {
                panic!()
            };
            nodes
                .iter()
                .find(|info| info.address == self.address(other))
                .unwrap()
                .alive
                == alive
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in 1..=self.count {
            self.kill_node(node);
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The program under test.
pub fn mos(args: &[&str]) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_mos")));
    command.args(args).stdin(Stdio::null());
    command
}

pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(15);
    while !done() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
