//! What the tools ask mosd for, and how nodes are shown.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use mos::config::{Hosts, Paths};
use mos::wire::client::Client;
use mos::wire::control::{FromMosd, NodeInfo, Outcome, ProcInfo, Target, ToMosd};
use mos::wire::report::Report;

/// How long mosd may take for an answer that it gives without waiting for other nodes.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// A connection to the mosd that the environment means.
pub fn connect() -> io::Result<Client> {
    let client = Client::connect(&Paths::from_env())?;
    client.set_timeout(Some(ANSWER_WAIT))?;
    Ok(client)
}

/// The processes of this node.
pub fn list(client: &mut Client, local: bool, guests: bool) -> io::Result<Vec<ProcInfo>> {
    match client.ask(&ToMosd::List { local, guests })? {
        FromMosd::Procs(procs) => Ok(procs),
        _ => Err(unexpected()),
    }
}

/// What mosd knows of the cluster.
pub struct Status {
    pub me: NodeInfo,
    pub nodes: Vec<NodeInfo>,
    pub port: u16,
    pub version: String,
}

pub fn status(client: &mut Client) -> io::Result<Status> {
    match client.ask(&ToMosd::Status)? {
        FromMosd::Status {
            me,
            nodes,
            port,
            version,
        } => Ok(Status {
            me,
            nodes,
            port,
            version,
        }),
        _ => Err(unexpected()),
    }
}

/// What this node says of itself.
pub fn report(client: &mut Client) -> io::Result<Report> {
    match client.ask(&ToMosd::Report)? {
        FromMosd::Report(report) => Ok(*report),
        _ => Err(unexpected()),
    }
}

/// The best node for a program that needs so many megabytes; with `wait`, as soon as there is one. It `starts` there soon.
pub fn best(
    client: &mut Client,
    memory: u32,
    wait: bool,
    starts: bool,
) -> io::Result<Option<NodeInfo>> {
    if wait {
        client.set_timeout(None)?;
    }
    match client.ask(&ToMosd::Best {
        memory,
        wait,
        starts,
        needs: None,
    })? {
        FromMosd::Node(node) => Ok(node),
        _ => Err(unexpected()),
    }
}

/// Gives the order to move; waits for the outcome if `wait`, as long as it takes.
pub fn order_move(client: &mut Client, pid: i32, to: Target, wait: bool) -> io::Result<Outcome> {
    if wait {
        client.set_timeout(None)?;
    }
    match client.ask(&ToMosd::Move { pid, to, wait })? {
        FromMosd::Result(outcome) => Ok(outcome),
        _ => Err(unexpected()),
    }
}

pub fn unexpected() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "mosd gave an answer to something else: is it of another version?",
    )
}

/// How nodes are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// Numbers, or addresses where there is none.
    #[default]
    Numbers,
    Addresses,
    Hosts,
    /// The first component of host names.
    ShortHosts,
}

/// Names nodes for display.
pub struct Names {
    naming: Naming,
    nodes: Vec<NodeInfo>,
    hosts: Option<Hosts>,
}

impl Names {
    pub fn new(naming: Naming, nodes: Vec<NodeInfo>) -> Names {
        let hosts = matches!(naming, Naming::Hosts | Naming::ShortHosts)
            .then(|| Hosts::of(&Paths::from_env()));
        Names {
            naming,
            nodes,
            hosts,
        }
    }

    pub fn name(&self, address: Ipv4Addr) -> String {
        let host = || self.hosts.as_ref().and_then(|hosts| hosts.name(address));
        let number = || {
            self.nodes
                .iter()
                .find(|node| node.address == address)
                .and_then(|node| node.number)
        };
        match self.naming {
            Naming::Numbers => {
                number().map_or_else(|| address.to_string(), |number| number.to_string())
            }
            Naming::Addresses => address.to_string(),
            Naming::Hosts => host().unwrap_or_else(|| address.to_string()),
            Naming::ShortHosts => host()
                .and_then(|name| name.split('.').next().map(str::to_string))
                .unwrap_or_else(|| address.to_string()),
        }
    }
}
