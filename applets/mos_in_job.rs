//! mos_in_job: makes this node part of a temporary cluster, or a stand-alone helper of others, for a job of another package.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};
use mos::config::partners::{DEFAULT_PRIORITY, relation_line};
use mos::config::{Hosts, Lookup, NodeMap, Paths, own_address, save};
use mos::wire::control::Admin;

use crate::common::{fail, parse};
use crate::mosctl::order;

/// Most nodes of all clusters together.
const MAX_NODES: u64 = 1 << 20;
/// Name of the cluster of all the others.
const WORLD: &str = "world";

pub fn command() -> Command {
    Command::new("mos_in_job")
        .about("configures this node at the start or end of another package's job")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("A")
                .short('A')
                .action(ArgAction::SetTrue)
                .help("Do not wait until all processes are where they may be"),
        )
        .arg(
            Arg::new("world")
                .value_name("WORLD-FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help(
                    "All nodes: an address or host name on each line, and how many from there on",
                ),
        )
        .arg(
            Arg::new("own")
                .value_name("OWN-CLUSTER")
                .value_delimiter(',')
                .help(
                    "The nodes of the temporary cluster; without them, this node serves all others",
                ),
        )
}

pub fn run(args: &[OsString]) -> i32 {
    let matches = match parse(command(), args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    let own: Option<Vec<String>> = matches
        .get_many::<String>("own")
        .map(|names| names.cloned().collect());
    let world = matches.get_one::<PathBuf>("world").cloned();
    let wait = !matches.get_flag("A");
    match configure(&world.unwrap_or_default(), own.as_deref(), wait) {
        Ok(()) => 0,
        Err(error) => fail("mos_in_job", error),
    }
}

fn configure(world: &PathBuf, own: Option<&[String]>, wait: bool) -> io::Result<()> {
    let paths = Paths::from_env();
    let hosts = Hosts::of(&paths);
    let text = std::fs::read_to_string(world)
        .map_err(|error| io::Error::other(format!("{}: {error}", world.display())))?;
    let named = |(line, what): (usize, String)| {
        io::Error::other(format!("{}:{line}: {what}", world.display()))
    };
    let all = read_world(&text, &hosts).map_err(named)?;
    let map = NodeMap::parse(&map_text(&all), world, &hosts).map_err(io::Error::other)?;
    let me = own_address(&paths, &map).map_err(|error| {
        io::Error::other(format!("this node must be in the file: {}", error.what))
    })?;
    let cluster = match own {
        None => BTreeSet::from([me]),
        Some(names) => {
            let addresses: Result<BTreeSet<Ipv4Addr>, String> = names
                .iter()
                .map(|name| hosts.address(name.trim()))
                .collect();
            addresses.map_err(io::Error::other)?
        }
    };
    if !cluster.contains(&me) {
        return Err(io::Error::other(format!(
            "this node ({me}) must be one of its own cluster"
        )));
    }
    let others: BTreeSet<Ipv4Addr> = all.difference(&cluster).copied().collect();
    // A cluster of its own sends processes to the others; a node alone takes theirs.
    let relation = relation_line(DEFAULT_PRIORITY, own.is_some(), own.is_none());
    let dir = paths.job();
    let map_file = dir.join("mosix.map");
    let partners = dir.join("partners");
    save(&map_file, &map_text(&cluster), 0o644).map_err(io::Error::other)?;
    std::fs::create_dir_all(&partners)?;
    let text = format!("All other nodes\n{relation}\n{}", partner_ranges(&others));
    save(&partners.join(WORLD), &text, 0o644).map_err(io::Error::other)?;
    order(Admin::Configure {
        map: Some(std::path::absolute(map_file)?),
        address: Some(me),
        partners: Some(std::path::absolute(partners)?),
        wait,
    })
}

/// The nodes of a world file; a mistake with its line.
fn read_world(text: &str, hosts: &dyn Lookup) -> Result<BTreeSet<Ipv4Addr>, (usize, String)> {
    let mut nodes = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |what: String| (index + 1, what);
        let data = line.split('#').next().unwrap_or_default();
        let fields: Vec<&str> = data.split_whitespace().collect();
        let (host, count) = match fields[..] {
            [] => continue,
            [host] => (host, 1),
            [host, count] => match count.parse::<u32>() {
                Ok(count) if count > 0 => (host, count),
                _ => return Err(wrong(format!("\"{count}\" is not a number of nodes"))),
            },
            _ => return Err(wrong("must be \"address-or-host [count]\"".into())),
        };
        if nodes.len() as u64 + u64::from(count) > MAX_NODES {
            return Err(wrong(format!("more than {MAX_NODES} nodes")));
        }
        let first = u32::from(hosts.address(host).map_err(wrong)?);
        let end = first
            .checked_add(count)
            .ok_or_else(|| wrong("the range ends beyond the last address".into()))?;
        nodes.extend((first..end).map(Ipv4Addr::from));
    }
    Ok(nodes)
}

/// Consecutive addresses together.
pub fn ranges(nodes: &BTreeSet<Ipv4Addr>) -> Vec<(Ipv4Addr, u32)> {
    let mut ranges: Vec<(Ipv4Addr, u32)> = Vec::new();
    for node in nodes {
        match ranges.last_mut() {
            Some((first, count)) if u32::from(*first) + *count == u32::from(*node) => *count += 1,
            _ => ranges.push((*node, 1)),
        }
    }
    ranges
}

fn map_text(nodes: &BTreeSet<Ipv4Addr>) -> String {
    let line = |(first, count)| format!("{first} {count}\n");
    ranges(nodes).into_iter().map(line).collect()
}

fn partner_ranges(nodes: &BTreeSet<Ipv4Addr>) -> String {
    let line = |(first, count)| format!("{first} {count} 1 1 0\n");
    ranges(nodes).into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_ranges() {
        let hosts = Hosts::parse("10.0.0.9 far");
        let nodes = read_world("10.0.0.1 3\nfar # one\n\n10.0.0.3 2\n", &hosts).unwrap();
        assert_eq!(map_text(&nodes), "10.0.0.1 4\n10.0.0.9 1\n");
        assert_eq!(
            partner_ranges(&nodes),
            "10.0.0.1 4 1 1 0\n10.0.0.9 1 1 1 0\n"
        );
    }

    #[test]
    fn mistakes_have_their_line() {
        let line = |text: &str| read_world(text, &Hosts::default()).unwrap_err().0;
        assert_eq!(line("10.0.0.1\n10.0.0.2 many\n"), 2);
        assert_eq!(line("nobody\n"), 1);
        assert_eq!(line("10.0.0.1 2 3\n"), 1);
        assert_eq!(line("255.255.255.250 10\n"), 1);
        assert_eq!(line("10.0.0.1 1\n1.0.0.0 16000000\n"), 2);
    }
}
