//! mosctl: the state of this node and of the cluster.

use std::ffi::OsString;
use std::io;

use clap::{Arg, Command};

use crate::cluster;
use crate::common::{USAGE, fail, parse};

/// Functions that come with placement and multi-clusters.
const NOT_YET: &[&str] = &[
    "stay",
    "nostay",
    "lstay",
    "nolstay",
    "block",
    "noblock",
    "expel",
    "bring",
    "shutdown",
    "isolate",
    "rejoin",
    "maxguests",
    "openmulti",
    "closemulti",
    "cngpri",
    "rstatus",
];

pub fn command() -> Command {
    Command::new("mosctl")
        .about("shows the state of this node and names nodes")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("function")
                .value_name("FUNCTION")
                .required(true)
                .help("status: a node's state; localstatus: this node's; whois: a node's number, address and name"),
        )
        .arg(Arg::new("node").value_name("NODE").help("A node's number, address or host name; this node without it"))
}

pub fn run(args: &[OsString]) -> i32 {
    let matches = match parse(command(), args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    let function = matches
        .get_one::<String>("function")
        .map(String::as_str)
        .unwrap_or_default();
    let node = matches.get_one::<String>("node").map(String::as_str);
    let done = match function {
        "status" => status(node),
        "localstatus" => local_status(),
        "whois" => whois(node),
        name if NOT_YET.contains(&name) => Err(io::Error::other(format!(
            "\"{name}\" is not available in this version"
        ))),
        name => {
            eprintln!("mosctl: there is no function \"{name}\"");
            return USAGE;
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => fail("mosctl", error),
    }
}

fn numbered(number: Option<u32>) -> String {
    number.map_or_else(|| "no number".into(), |number| format!("node {number}"))
}

fn status(node: Option<&str>) -> io::Result<()> {
    let mut client = cluster::connect()?;
    let info = match node {
        Some(name) => cluster::resolve(&mut client, name)?,
        None => cluster::status(&mut client)?.me,
    };
    let state = if info.alive {
        "Running"
    } else {
        "Not responding"
    };
    println!("Status:  {state}");
    println!("Address: {} ({})", info.address, numbered(info.number));
    Ok(())
}

fn local_status() -> io::Result<()> {
    let mut client = cluster::connect()?;
    let status = cluster::status(&mut client)?;
    let procs = cluster::list(&mut client, true, true)?;
    let guests = procs.iter().filter(|info| info.from.is_some()).count();
    let away = procs
        .iter()
        .filter(|info| matches!(info.place, mos::wire::control::Place::Away(_)))
        .count();
    let alive = status.nodes.iter().filter(|info| info.alive).count();
    println!("Status:    Running (version {})", status.version);
    println!(
        "Address:   {} ({}), TCP port {}",
        status.me.address,
        numbered(status.me.number),
        status.port
    );
    println!("Cluster:   {alive} of {} nodes respond", status.nodes.len());
    println!(
        "Processes: {} from here ({away} of them away), {guests} guests",
        procs.len() - guests
    );
    Ok(())
}

fn whois(node: Option<&str>) -> io::Result<()> {
    let mut client = cluster::connect()?;
    let info = match node {
        Some(name) => cluster::resolve(&mut client, name)?,
        None => cluster::status(&mut client)?.me,
    };
    let host = mos::config::Hosts::of(&mos::config::Paths::from_env()).name(info.address);
    println!(
        "{} = {}{}",
        numbered(info.number),
        info.address,
        host.map(|name| format!(" = {name}")).unwrap_or_default()
    );
    Ok(())
}
