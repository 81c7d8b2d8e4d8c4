//! mosbestnode: the best node to run a new program on.

use std::ffi::OsString;
use std::io;

use clap::{Arg, ArgAction, Command, value_parser};
use mos::wire::control::NodeInfo;

use crate::cluster;
use crate::common::{fail, parse};

pub fn command() -> Command {
    let flag = |name: &'static str, letter: char, help: &'static str| {
        Arg::new(name)
            .short(letter)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    Command::new("mosbestnode")
        .about("shows the best node to run a new program on")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(flag("number", 'u', "Show its node number, if it has one"))
        .arg(flag(
            "ask-only",
            'n',
            "No program will start: nobody is told to expect one",
        ))
        .arg(flag("wait", 'w', "Wait until there is such a node"))
        .arg(
            Arg::new("memory")
                .short('m')
                .value_name("MB")
                .default_value("0")
                .value_parser(value_parser!(u32))
                .help("Only nodes that have so many megabytes free"),
        )
}

pub fn run(args: &[OsString]) -> i32 {
    let matches = match parse(command(), args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    let memory = matches.get_one("memory").copied().unwrap_or(0);
    let wait = matches.get_flag("wait");
    match best(memory, wait, !matches.get_flag("ask-only")) {
        Ok(node) => {
            println!("{}", shown(node.as_ref(), matches.get_flag("number")));
            0
        }
        Err(error) => fail("mosbestnode", error),
    }
}

fn best(memory: u32, wait: bool, starts: bool) -> io::Result<Option<NodeInfo>> {
    let mut client = cluster::connect()?;
    cluster::best(&mut client, memory, wait, starts)
}

/// As the manual has it: an address, or the number if it is wanted and there is one; 0 when there is no such node.
fn shown(node: Option<&NodeInfo>, number: bool) -> String {
    match node {
        None => "0".to_string(),
        Some(NodeInfo {
            number: Some(n), ..
        }) if number => n.to_string(),
        Some(node) => node.address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn nodes_are_shown_as_asked_for() {
        let mut node = NodeInfo {
            address: Ipv4Addr::new(10, 0, 0, 7),
            number: Some(7),
            alive: true,
            load: None,
        };
        assert_eq!(shown(Some(&node), false), "10.0.0.7");
        assert_eq!(shown(Some(&node), true), "7");
        node.number = None;
        assert_eq!(shown(Some(&node), true), "10.0.0.7");
        assert_eq!(shown(None, true), "0");
    }
}
