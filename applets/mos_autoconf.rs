//! mos_autoconf: finds the nodes of a subnet that have our password, and makes one cluster of them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clap::Command;
use mos::config::{Hosts, NodeMap, Paths, Ports, Secret, read_ports, read_secret, save};
use mos::node::read_report;
use mos::sys::{socket, unix};
use mos::wire::auth;
use mos::wire::control::Admin;
use mos::wire::frame::{LIMIT_BEFORE_AUTH, read_frame, write_frame};
use mos::wire::node::{Opening, Verdict};
use mos::wire::report::Report;

use crate::cluster;
use crate::common::{fail, parse};
use crate::mos_in_job::ranges;
use crate::mosconf::{Dialog, number_all};
use crate::mosctl::order;

/// How long an address may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Addresses that are tried at the same time.
const AT_ONCE: usize = 128;
/// The largest subnet: a class B.
const LEAST_BITS: u32 = 16;

pub fn command() -> Command {
    Command::new("mos_autoconf")
        .about(
            "finds the nodes of the subnet and makes one cluster of them, by questions and answers",
        )
        .version(env!("CARGO_PKG_VERSION"))
}

pub fn run(args: &[OsString]) -> i32 {
    if let Err(status) = parse(command(), args) {
        return status;
    }
    match converse(&mut Dialog::new(io::stdin().lock(), io::stdout())) {
        Ok(()) => 0,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => fail(
            "mos_autoconf",
            "the answers have come to an end: nothing is changed",
        ),
        Err(error) => fail("mos_autoconf", error),
    }
}

/// What is needed to speak to a node.
struct Caller {
    own: Ipv4Addr,
    ports: Ports,
    secret: Secret,
}

/// Asks, looks, shows, asks again, and configures.
pub fn converse<R: BufRead, W: Write>(talk: &mut Dialog<R, W>) -> io::Result<()> {
    let paths = Paths::from_env();
    let caller = Caller {
        own: cluster::status(&mut cluster::connect()?)?.me.address,
        ports: read_ports(&paths.ports()).map_err(io::Error::other)?,
        secret: read_secret(&paths.secret()).map_err(io::Error::other)?,
    };
    let [a, b, c, _] = caller.own.octets();
    let subnet = talk.ask_until(
        "Subnet with all nodes of the cluster, and no others",
        &format!("{a}.{b}.{c}.0/24"),
        parse_subnet,
    )?;
    talk.say(&format!("Looking at {} addresses...", subnet.1))?;
    let (mine, others) = sort(caller.find(subnet));
    for (node, report) in &others {
        talk.say(&format!(
            "  {node} runs version {}, which is another one: it is left out",
            report.version
        ))?;
    }
    for node in &mine {
        talk.say(&format!(
            "  {node}{}",
            if *node == caller.own {
                " (this node)"
            } else {
                ""
            }
        ))?;
    }
    if !mine.contains(&caller.own) {
        return Err(io::Error::other(format!(
            "this node, {}, is not in that subnet",
            caller.own
        )));
    }
    let question = format!("Make one cluster of these {} nodes", mine.len());
    if !talk.yes(&question, true)? {
        return talk.say("Nothing is changed.");
    }
    let map: String = ranges(&mine)
        .iter()
        .map(|(first, count)| format!("{first} {count} p\n"))
        .collect();
    let view = match talk.yes("Number them from 1", true)? {
        true => {
            let parsed = NodeMap::parse(&map, &paths.map(), &Hosts::default());
            Some(number_all(&parsed.map_err(io::Error::other)?))
        }
        false => None,
    };
    // The others first: then they are asked by a node that they know, or that none of them knows yet.
    for node in mine.iter().filter(|node| **node != caller.own) {
        match caller.configure(*node, &map, view.as_deref()) {
            Ok(()) => talk.say(&format!("  {node} is configured"))?,
            Err(why) => talk.say(&format!("  {node} is NOT configured: {why}"))?,
        }
    }
    save(&paths.map(), &map, 0o644).map_err(io::Error::other)?;
    if let Some(view) = &view {
        save(&paths.userview(), view, 0o644).map_err(io::Error::other)?;
    }
    order(Admin::Reread { wait: false })?;
    talk.say(&format!("  {} is configured", caller.own))
}

/// Nodes of our version, and the others. What counts are the first two numbers.
fn sort(found: Vec<(Ipv4Addr, Report)>) -> (BTreeSet<Ipv4Addr>, Vec<(Ipv4Addr, Report)>) {
    let head =
        |version: &str| -> Vec<String> { version.split('.').take(2).map(str::to_string).collect() };
    let ours = head(env!("CARGO_PKG_VERSION"));
    let (mine, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|(_, report)| head(&report.version) == ours);
    (mine.into_iter().map(|(node, _)| node).collect(), others)
}

/// The first address of a subnet, and how many it has.
fn parse_subnet(text: &str) -> Result<(Ipv4Addr, u32), String> {
    let wrong = || format!("\"{text}\" is not of the form a.b.c.d/bits, with 16 to 32 bits");
    let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
    let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let bits: u32 = bits.parse().map_err(|_| wrong())?;
    if !(LEAST_BITS..=32).contains(&bits) {
        return Err(wrong());
    }
    let count = 1u32 << (32 - bits);
    Ok((Ipv4Addr::from(u32::from(address) & !(count - 1)), count))
}

impl Caller {
    /// All nodes of the subnet that prove to know the password, in order.
    fn find(&self, (first, count): (Ipv4Addr, u32)) -> Vec<(Ipv4Addr, Report)> {
        let next = AtomicU32::new(0);
        let found = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(count as usize) {
                scope.spawn(|| {
                    loop {
                        let offset = next.fetch_add(1, Ordering::Relaxed);
                        if offset >= count {
                            return;
                        }
                        let node = Ipv4Addr::from(u32::from(first) + offset);
                        if let Ok(report) = self.ask(node) {
                            // A thread that panicked would have ended the scope.
                            found
                                .lock()
                                .unwrap_or_else(|poisoned| poisoned.into_inner())
                                .push((node, report));
                        }
                    }
                });
            }
        });
        let mut found = found.into_inner().unwrap_or_default();
        found.sort_unstable_by_key(|(node, _)| *node);
        found
    }

    fn connect(&self, node: Ipv4Addr) -> io::Result<TcpStream> {
        let to = SocketAddrV4::new(node, self.ports.tcp);
        let mut stream = socket::connect_from(SocketAddrV4::new(self.own, 0), to)?;
        if !socket::wait_writable(&stream, PATIENCE)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        auth::connect(&mut stream, &self.secret.0, unix::uid())?;
        Ok(stream)
    }

    fn ask(&self, node: Ipv4Addr) -> io::Result<Report> {
        let mut stream = self.connect(node)?;
        write_frame(&mut stream, &Opening::Ask)?;
        read_report(&mut stream)
    }

    fn configure(&self, node: Ipv4Addr, map: &str, view: Option<&str>) -> io::Result<()> {
        let mut stream = self.connect(node)?;
        let opening = Opening::Configure {
            map: map.to_string(),
            view: view.map(str::to_string),
        };
        write_frame(&mut stream, &opening)?;
        match read_frame(&mut stream, LIMIT_BEFORE_AUTH)? {
            Verdict::Accept => Ok(()),
            Verdict::Refuse(why) => Err(io::Error::other(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_are_read() {
        let address = |text: &str| -> Ipv4Addr { text.parse().unwrap() };
        assert_eq!(parse_subnet("10.1.2.3/24"), Ok((address("10.1.2.0"), 256)));
        assert_eq!(parse_subnet("10.1.2.3/32"), Ok((address("10.1.2.3"), 1)));
        assert_eq!(
            parse_subnet("10.1.2.3/16"),
            Ok((address("10.1.0.0"), 65536))
        );
        for wrong in ["10.1.2.3", "10.1.2.3/8", "10.1/16", "10.1.2.3/x"] {
            assert!(parse_subnet(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn close_versions_belong_together() {
        let report = |version: &str| Report {
            version: version.into(),
            ..Report::default()
        };
        let own = env!("CARGO_PKG_VERSION");
        let close = format!("{}.99", own.rsplit_once('.').unwrap().0);
        let node = Ipv4Addr::new(10, 0, 0, 1);
        let (mine, others) = sort(vec![
            (node, report(&close)),
            (Ipv4Addr::new(10, 0, 0, 2), report("99.0.1")),
        ]);
        assert_eq!(mine, BTreeSet::from([node]));
        assert_eq!(others.len(), 1);
    }
}
