//! Names of hosts. A static binary must not load the system's name service into itself, so names are looked up in `/etc/hosts`
//! here, and elsewhere by `getent` in a process of its own.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::Paths;

/// Finds the address of a host name. The error says why there is none.
pub trait Lookup {
    /// The first IPv4 address of `name`.
    ///
    /// # Errors
    ///
    /// In words, naming the host.
    fn address(&self, name: &str) -> Result<Ipv4Addr, String>;
}

/// A table of names (of `/etc/hosts`), and whether to ask the system about others.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    entries: Vec<(Ipv4Addr, Vec<String>)>,
    ask_system: bool,
}

impl Hosts {
    /// The names that this node knows.
    pub fn of(paths: &Paths) -> Hosts {
        let file = if paths.hosts().exists() {
            paths.hosts()
        } else {
            Path::new("/etc/hosts").to_path_buf()
        };
        let text = std::fs::read_to_string(file).unwrap_or_default();
        Hosts {
            ask_system: true,
            ..Hosts::parse(&text)
        }
    }

    /// A table in the format of `/etc/hosts`; lines that are not understood (such as IPv6) are skipped.
    pub fn parse(text: &str) -> Hosts {
        let mut entries = Vec::new();
        for line in text.lines() {
            let mut fields = line.split('#').next().unwrap_or("").split_whitespace();
            if let Some(address) = fields.next().and_then(|field| field.parse().ok()) {
                entries.push((address, fields.map(str::to_string).collect()));
            }
        }
        Hosts {
            entries,
            ask_system: false,
        }
    }

    /// The first name of `address`, if it has one here (or the system knows one).
    pub fn name(&self, address: Ipv4Addr) -> Option<String> {
        let here = self
            .entries
            .iter()
            .find(|(a, _)| *a == address)
            .and_then(|(_, names)| names.first().cloned());
        here.or_else(|| {
            if self.ask_system {
                getent("hosts", &address.to_string(), 1)
            } else {
                None
            }
        })
    }
}

impl Lookup for Hosts {
    fn address(&self, name: &str) -> Result<Ipv4Addr, String> {
        if let Ok(address) = name.parse() {
            return Ok(address);
        }
        let plain = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if !plain || name.starts_with('-') {
            return Err(format!("\"{name}\" is no host name"));
        }
        let same = |known: &String| known.eq_ignore_ascii_case(name);
        if let Some((address, _)) = self
            .entries
            .iter()
            .find(|(_, names)| names.iter().any(same))
        {
            return Ok(*address);
        }
        let found = if self.ask_system {
            getent("ahostsv4", name, 0)
        } else {
            None
        };
        found
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| format!("host \"{name}\" is not known"))
    }
}

/// Field `index` of the first line that `getent DATABASE KEY` prints.
fn getent(database: &str, key: &str, index: usize) -> Option<String> {
    let output = Command::new("getent")
        .args([database, key])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines()
        .next()?
        .split_whitespace()
        .nth(index)
        .map(str::to_string)
}

/// A node, as users name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Named {
    /// Its number in the user's view.
    Number(u32),
    /// Any of its addresses.
    Address(Ipv4Addr),
}

impl Named {
    /// What `name` means: a number, an address or the name of a host.
    ///
    /// # Errors
    ///
    /// As [`Lookup::address`].
    pub fn find(name: &str, hosts: &dyn Lookup) -> Result<Named, String> {
        match name.parse() {
            Ok(number) => Ok(Named::Number(number)),
            Err(_) => hosts.address(name).map(Named::Address),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::Number(number) => number.fmt(f),
            Named::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_both_ways() {
        let hosts =
            Hosts::parse("127.0.0.1 localhost\n::1 ip6\n10.0.0.5\tbig.site.org big # a comment\n");
        let big = Ipv4Addr::new(10, 0, 0, 5);
        assert_eq!(hosts.address("BIG"), Ok(big));
        assert_eq!(hosts.address("1.2.3.4"), Ok(Ipv4Addr::new(1, 2, 3, 4)));
        assert_eq!(hosts.name(big).as_deref(), Some("big.site.org"));
        assert_eq!(
            hosts.address("comment"),
            Err("host \"comment\" is not known".into())
        );
        assert!(hosts.address("--help").is_err());
    }
}
