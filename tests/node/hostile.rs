//! Bytes that nobody should send: they may end a connection, never mosd, and take no memory to speak of.

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mos::config::Named;
use mos::wire::channel::CHANNEL_MAGIC;
use mos::wire::control::{FromMosd, ToMosd};
use mos::wire::frame::to_frame;

use crate::cluster::Cluster;

/// How often it is tried: `MOS_FRAMES` times if that is set.
fn times(usual: u32) -> u32 {
    std::env::var("MOS_FRAMES").map_or(usual, |times| times.parse().unwrap())
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.next() % most).map(|_| self.next() as u8).collect()
    }

    /// Good bytes, some of them changed, cut somewhere.
    fn spoil(&mut self, good: &[u8]) -> Vec<u8> {
        let mut bytes = good.to_vec();
        for _ in 0..self.next() % 4 {
            let at = self.next() as usize % bytes.len();
            bytes[at] = self.next() as u8;
        }
        bytes.truncate(1 + self.next() as usize % (bytes.len() + 20));
        bytes
    }
}

fn resident_kib(cluster: &Cluster) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", cluster.pid(1))).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn well(cluster: &Cluster) {
    let status = cluster.client(1).ask(&ToMosd::Status);
    assert!(matches!(status, Ok(FromMosd::Status { .. })), "{status:?}");
    assert!(
        resident_kib(cluster) < 32 << 10,
        "{} KiB resident",
        resident_kib(cluster)
    );
}

#[test]
fn on_the_control_socket() {
    let cluster = Cluster::start(1);
    let mut random = Random(1);
    let good = [
        to_frame(&ToMosd::Warden { tree: 1, log: true }),
        to_frame(&ToMosd::Expect {
            token: "ab".repeat(24),
        }),
        to_frame(&ToMosd::Mine {
            id: 3,
            procs: Vec::new(),
        }),
        to_frame(&ToMosd::Resolve {
            node: Named::Number(77),
        }),
        to_frame(&ToMosd::Connect {
            id: 1,
            node: cluster.address(1),
        }),
    ];
    for round in 0..times(10_000) {
        let mut stream = UnixStream::connect(cluster.paths(1).socket()).unwrap();
        let bytes = match round % 3 {
            0 => random.bytes(200),
            _ => {
                let which = random.next() as usize % good.len();
                random.spoil(&good[which])
            }
        };
        let _ = stream.write_all(&bytes);
    }
    well(&cluster);
    // A frame that claims much more than it brings.
    let mut stream = UnixStream::connect(cluster.paths(1).socket()).unwrap();
    stream.write_all(&[255, 255, 255, 0x7f, 1]).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
    well(&cluster);
}

#[test]
fn on_the_tcp_port() {
    let cluster = Cluster::start(1);
    let mut random = Random(2);
    let mut kept = Vec::new();
    for round in 0..times(5_000) {
        let mut stream = TcpStream::connect((cluster.address(1), cluster.port)).unwrap();
        let mut bytes = match round % 3 {
            0 => Vec::new(),
            1 => CHANNEL_MAGIC.to_vec(),
            _ => b"MOSNODE1".to_vec(),
        };
        bytes.extend(random.bytes(120));
        let _ = stream.write_all(&bytes);
        // Many are left open and say nothing more.
        if round % 4 == 0 {
            kept.push(stream);
        }
        if kept.len() > 400 {
            kept.clear();
        }
    }
    well(&cluster);
}

#[test]
fn from_a_node_that_has_not_shown_the_secret() {
    let cluster = Cluster::start(1);
    let mut random = Random(3);
    let to = std::net::SocketAddrV4::new(cluster.address(1), cluster.port);
    for _ in 0..times(2_000) {
        let from = std::net::SocketAddrV4::new(cluster.address(1), 0);
        let mut stream = mos::sys::socket::connect_from(from, to).unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let (_, hello) = mos::wire::auth::Handshake::initiator(b"guess", 0);
        let hello = if random.next().is_multiple_of(2) {
            hello
        } else {
            random.spoil(&hello)
        };
        let _ = stream.write_all(&hello);
        let _ = stream.write_all(&random.bytes(100));
    }
    well(&cluster);
}

#[test]
fn on_the_udp_port() {
    let cluster = Cluster::start(2);
    let socket = UdpSocket::bind((cluster.address(2), 0)).unwrap();
    let mut random = Random(4);
    for round in 0..times(50_000) {
        let mut bytes = random.bytes(100);
        if round % 2 == 0 {
            bytes.splice(0..0, *b"MOSBEAT1");
            bytes.resize(72, 0);
        }
        let _ = socket.send_to(&bytes, (cluster.address(1), cluster.port));
    }
    well(&cluster);
    cluster.wait_alive(1, 2, true);
}

#[test]
fn after_the_secret_was_shown() {
    let cluster = Cluster::start(2);
    let mut random = Random(5);
    for _ in 0..times(500) {
        let mut conn = cluster.client(1).connect_node(cluster.address(2)).unwrap();
        let bytes = random.bytes(200);
        let _ = conn.write_all(&bytes);
    }
    assert!(matches!(
        cluster.client(2).ask(&ToMosd::Status),
        Ok(FromMosd::Status { .. })
    ));
}
