//! `mosix.map`: which nodes are in the cluster.

use std::net::Ipv4Addr;
use std::path::Path;

use super::lines::{check_address, data_lines, node_address, number};
use super::{ConfigError, Lookup};

/// Most data and alias lines that a map may have.
const MAX_LINES: usize = 256;

/// Nodes with consecutive addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub first: Ipv4Addr,
    pub count: u32,
    /// The network to them is fast: nothing is compressed on the way.
    pub proximate: bool,
}

impl Range {
    /// `count` nodes from `first` on.
    ///
    /// # Errors
    ///
    /// In words, when not all of them can be nodes.
    pub fn new(first: Ipv4Addr, count: u32, proximate: bool) -> Result<Range, String> {
        check_address(first)?;
        let last = u32::from(first)
            .checked_add(count.saturating_sub(1))
            .ok_or("the range ends beyond the last address")?;
        check_address(last.into())?;
        Ok(Range {
            first,
            count,
            proximate,
        })
    }

    /// Whether this address is one of the range.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address)
            .checked_sub(u32::from(self.first))
            .is_some_and(|offset| offset < self.count)
    }

    /// Whether both have a node in common.
    pub fn overlaps(&self, other: &Range) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// All its nodes.
    pub fn nodes(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let first = u32::from(self.first);
        (first..first.saturating_add(self.count)).map(Ipv4Addr::from)
    }
}

/// Another address of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alias {
    pub other: Ipv4Addr,
    /// The address that the node is known by.
    pub node: Ipv4Addr,
    /// Where the map says so.
    pub line: usize,
}

/// The cluster's nodes, and other addresses that they go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMap {
    pub ranges: Vec<Range>,
    pub aliases: Vec<Alias>,
}

impl NodeMap {
    /// Reads the map.
    ///
    /// # Errors
    ///
    /// Names file, line and what is wrong; that there is no file is an error as well.
    pub fn read(file: &Path, lookup: &dyn Lookup) -> Result<NodeMap, ConfigError> {
        match super::lines::read_optional(file)? {
            Some(text) => NodeMap::parse(&text, file, lookup),
            None => Err(ConfigError::new(
                file,
                0,
                "is missing: it lists the nodes of the cluster, one range a line (\"192.168.3.1 10\"); the same on all nodes",
            )),
        }
    }

    /// The map that `text` says; `file` is for messages.
    ///
    /// # Errors
    ///
    /// As [`NodeMap::read`].
    pub fn parse(text: &str, file: &Path, lookup: &dyn Lookup) -> Result<NodeMap, ConfigError> {
        let mut map = NodeMap::default();
        for (line, data) in data_lines(text) {
            map.line(line, data, lookup)
                .map_err(|what| ConfigError::new(file, line, what))?;
            if map.ranges.len() + map.aliases.len() > MAX_LINES {
                return Err(ConfigError::new(
                    file,
                    line,
                    format!("more than {MAX_LINES} lines"),
                ));
            }
        }
        if map.ranges.is_empty() {
            return Err(ConfigError::new(file, 0, "names no node"));
        }
        Ok(map)
    }

    fn line(&mut self, line: usize, data: &str, lookup: &dyn Lookup) -> Result<(), String> {
        if let Some((left, right)) = data.split_once('=') {
            let other = node_address(left.trim())?;
            let node = lookup.address(right.trim())?;
            check_address(node)?;
            if self.aliases.iter().any(|alias| alias.other == other) {
                return Err(format!("{other} is an alias already"));
            }
            self.aliases.push(Alias { other, node, line });
            return Ok(());
        }
        let fields: Vec<&str> = data.split_whitespace().collect();
        let (host, count, proximate) = match fields[..] {
            [host, count] => (host, count, false),
            [host, count, "p"] => (host, count, true),
            [_, _, other] => {
                return Err(format!(
                    "the third field can only be \"p\" (proximate), not \"{other}\""
                ));
            }
            _ => {
                return Err(
                    "must be \"address-or-host count [p]\" or \"address=address-or-host\"".into(),
                );
            }
        };
        let first = lookup.address(host)?;
        check_address(first)?;
        let count = number(count, "the number of nodes", 1, 1 << 24)?;
        let range = Range::new(first, count, proximate)?;
        if let Some(other) = self.ranges.iter().find(|other| other.overlaps(&range)) {
            return Err(format!(
                "overlaps with the range of {} nodes from {}",
                other.count, other.first
            ));
        }
        self.ranges.push(range);
        Ok(())
    }

    /// The address by which a node is known, if it belongs to the cluster: itself, or what it is an alias of.
    pub fn canonical(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        if self.ranges.iter().any(|range| range.contains(address)) {
            return Some(address);
        }
        self.alias_of(address)
            .filter(|node| self.ranges.iter().any(|range| range.contains(*node)))
    }

    /// What this address is an alias of.
    pub fn alias_of(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let alias = self.aliases.iter().find(|alias| alias.other == address)?;
        Some(alias.node)
    }

    /// All nodes, in the map's order.
    pub fn nodes(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.ranges.iter().flat_map(Range::nodes)
    }

    /// The network to this node is fast.
    pub fn proximate(&self, address: Ipv4Addr) -> bool {
        self.ranges
            .iter()
            .any(|range| range.proximate && range.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Hosts;

    fn parse(text: &str) -> Result<NodeMap, String> {
        let hosts = Hosts::parse("10.0.0.200 far");
        NodeMap::parse(text, Path::new("/m"), &hosts).map_err(|error| error.to_string())
    }

    fn ip(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn ranges_names_and_aliases() {
        let map = parse("# ours\n10.0.0.1 3\n\nfar 1 p # one\n10.9.9.9=far\n10.9.9.8 = 10.0.0.2\n")
            .unwrap();
        let nodes: Vec<_> = map.nodes().map(|node| node.to_string()).collect();
        assert_eq!(nodes, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.200"]);
        assert_eq!(map.canonical(ip("10.0.0.3")), Some(ip("10.0.0.3")));
        assert_eq!(map.canonical(ip("10.9.9.9")), Some(ip("10.0.0.200")));
        assert_eq!(map.canonical(ip("10.0.0.4")), None);
        assert!(map.proximate(ip("10.0.0.200")) && !map.proximate(ip("10.0.0.1")));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = |text| parse(text).unwrap_err();
        assert_eq!(
            error("10.0.0.1 3\nfoo 1"),
            "/m:2: host \"foo\" is not known"
        );
        assert_eq!(
            error("0.0.1.1 1"),
            "/m:1: 0.0.1.1: addresses 0.0.x.x and 255.255.255.x cannot be nodes"
        );
        assert_eq!(
            error("255.255.254.1 300"),
            "/m:1: 255.255.255.44: addresses 0.0.x.x and 255.255.255.x cannot be nodes"
        );
        assert!(error("10.0.0.1 0").starts_with("/m:1: the number of nodes \"0\" is not"));
        assert!(error("10.0.0.1 2 q").contains("only be \"p\""));
        assert!(error("10.0.0.1").contains("must be"));
        assert!(error("10.0.0.1 5\n10.0.0.3 1").contains("/m:2: overlaps"));
        assert!(error("").contains("names no node"));
    }
}
