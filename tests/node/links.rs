//! Connections between nodes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use mos::wire::auth;
use mos::wire::channel::{CHANNEL_MAGIC, TOKEN_LEN};
use mos::wire::control::{FromMosd, ToMosd};
use mos::wire::frame::{read_frame, write_frame};
use mos::wire::node::{Offer, Opening, VERSION, Verdict};

use crate::cluster::Cluster;

fn connect_error(cluster: &Cluster, from: u8, to: u8) -> String {
    cluster
        .client(from)
        .connect_node(cluster.address(to))
        .unwrap_err()
        .to_string()
}

fn offer(home: std::net::Ipv4Addr) -> Offer {
    Offer {
        home,
        home_pid: 1,
        tree: 1,
        uid: 0,
        gid: 0,
        bytes: 0,
        needs: mos::wire::cpu::Cpu::default(),
        begins: false,
        nmigs: 0,
    }
}

#[test]
fn a_connection_for_a_tree_reaches_its_warden() {
    let cluster = Cluster::start(2);
    let mut warden = cluster.client(2);
    warden
        .register(&ToMosd::Warden {
            tree: 77,
            log: false,
        })
        .unwrap();
    let mut conn = cluster.client(1).connect_node(cluster.address(2)).unwrap();
    write_frame(&mut conn, &Opening::Ctl { tree: 77, pid: 5 }).unwrap();
    // What follows the opening is not mosd's: it must reach the warden whole.
    conn.write_all(b"and more").unwrap();
    let (message, fd) = warden.recv().unwrap();
    assert_eq!(
        message,
        FromMosd::Arrived {
            opening: Opening::Ctl { tree: 77, pid: 5 }
        }
    );
    let mut arrived = TcpStream::from(fd.unwrap());
    let mut text = [0; 8];
    arrived.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"and more");
    arrived.write_all(b"!").unwrap();
    conn.read_exact(&mut text[..1]).unwrap();
}

#[test]
fn a_connection_for_nobody_is_closed() {
    let cluster = Cluster::start(2);
    let mut conn = cluster.client(1).connect_node(cluster.address(2)).unwrap();
    write_frame(&mut conn, &Opening::Ctl { tree: 1, pid: 5 }).unwrap();
    assert_eq!(conn.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_guest_from_outside_the_map_is_refused_in_words() {
    let cluster = Cluster::start(2);
    let mut conn = cluster.client(1).connect_node(cluster.address(2)).unwrap();
    let stranger = std::net::Ipv4Addr::new(10, 1, 1, 1);
    write_frame(&mut conn, &Opening::Migrate(offer(stranger))).unwrap();
    let verdict: Verdict = read_frame(&mut conn, 1000).unwrap();
    assert_eq!(
        verdict,
        Verdict::Refuse("its home 10.1.1.1 is not in map".into())
    );
}

#[test]
fn why_a_node_cannot_be_reached() {
    let mut cluster = Cluster::files(3);
    cluster.start_node(1);
    assert!(
        connect_error(&cluster, 1, 2).contains("no response"),
        "{}",
        connect_error(&cluster, 1, 2)
    );
    assert!(connect_error(&cluster, 1, 9).contains("not in map"));
    cluster.set_secret(2, "another secret");
    cluster.start_node(2);
    let error = connect_error(&cluster, 1, 2);
    assert!(
        error.contains("other node refused") && error.contains("/etc/mosix/secret"),
        "{error}"
    );
    std::fs::write(
        cluster.paths(3).map(),
        format!("{} 1\n", cluster.address(3)),
    )
    .unwrap();
    cluster.start_node(3);
    let error = connect_error(&cluster, 1, 3);
    assert!(
        error.contains("other node refused") && error.contains("its map"),
        "{error}"
    );
}

#[test]
fn versions_are_named_when_they_differ() {
    let cluster = Cluster::start(1);
    let mut conn = TcpStream::connect((cluster.address(1), cluster.port)).unwrap();
    let mut hello = b"MOSNODE1".to_vec();
    hello.extend_from_slice(&(VERSION + 7).to_le_bytes());
    hello.extend_from_slice(&[0; 32]);
    // From 127.0.0.1, which is not in the map: nothing is said at all.
    conn.write_all(&hello).unwrap();
    assert!(!matches!(conn.read(&mut [0; 44]), Ok(n) if n > 0));
    let from = (cluster.address(1), 0).into();
    let std::net::SocketAddr::V4(from) = from else {
        panic!()
    };
    let to = std::net::SocketAddrV4::new(cluster.address(1), cluster.port);
    let mut conn = mos::sys::socket::connect_from(from, to).unwrap();
    conn.set_nonblocking(false).unwrap();
    conn.write_all(&hello).unwrap();
    let mut answer = [0; auth::HELLO_LEN];
    conn.read_exact(&mut answer).unwrap();
    assert_eq!(answer[8..12], VERSION.to_le_bytes());
    assert_eq!(conn.read(&mut [0]).unwrap_or(0), 0);
}

#[test]
fn channels_go_to_those_who_expect_them() {
    let cluster = Cluster::start(1);
    let mut host = cluster.client(1);
    let welcome = host.register(&ToMosd::Mover).unwrap();
    assert_eq!(
        (welcome.address, welcome.port),
        (cluster.address(1), cluster.port)
    );
    let open = |byte: u8| {
        let mut channel = TcpStream::connect((cluster.address(1), cluster.port)).unwrap();
        channel.write_all(CHANNEL_MAGIC).unwrap();
        channel.write_all(&[byte; TOKEN_LEN]).unwrap();
        channel
    };
    let name = |byte: u8| format!("{byte:02x}").repeat(TOKEN_LEN);
    host.send(&ToMosd::Expect { token: name(1) }).unwrap();
    let mut channel = open(1);
    let (message, fd) = host.recv().unwrap();
    assert_eq!(message, FromMosd::Channel { token: name(1) });
    TcpStream::from(fd.unwrap()).write_all(b"x").unwrap();
    channel.read_exact(&mut [0]).unwrap();
    // Early: it is kept until it is expected.
    let _early = open(2);
    std::thread::sleep(Duration::from_millis(200));
    host.send(&ToMosd::Expect { token: name(2) }).unwrap();
    assert_eq!(host.recv().unwrap().0, FromMosd::Channel { token: name(2) });
    // Good once only.
    let _again = open(1);
    host.set_timeout(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(
        host.recv().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

#[test]
fn dead_nodes_are_noticed_and_found_again() {
    let mut cluster = Cluster::start(2);
    cluster.kill_node(2);
    cluster.wait_alive(1, 2, false);
    cluster.start_node(2);
    cluster.wait_alive(1, 2, true);
    cluster.wait_alive(2, 1, true);
}
