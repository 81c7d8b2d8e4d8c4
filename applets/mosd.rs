//! mosd: the daemon of a node.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};
use mos::config::Paths;
use mos::node::{self, Options};

use crate::common::{fail, parse};

pub fn command() -> Command {
    Command::new("mosd")
        .about("makes this machine a node of the cluster")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("foreground")
                .short('f')
                .long("foreground")
                .action(ArgAction::SetTrue)
                .help("Stay in the foreground and write messages to standard error"),
        )
        .arg(
            Arg::new("await-map")
                .long("await-map")
                .action(ArgAction::SetTrue)
                .help("Start also without mosix.map, as a cluster of this node alone, until there is one"),
        )
        .arg(
            Arg::new("root")
                .long("root")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Use DIR/etc/mosix in place of /etc/mosix (as does MOSIX_ROOT=DIR)"),
        )
        .arg(
            Arg::new("no-balance")
                .long("no-balance")
                .action(ArgAction::SetTrue)
                .help("Move nothing but by order"),
        )
        .arg(
            Arg::new("cpus")
                .long("cpus")
                .value_name("COUNT")
                .value_parser(value_parser!(u16).range(1..=1024))
                .help(
                    "This node has COUNT processors of a machine that it shares with other nodes",
                ),
        )
        .arg(
            Arg::new("memory")
                .long("memory")
                .value_name("MB")
                .value_parser(value_parser!(u32).range(1..))
                .help("This node has MB megabytes of that machine's memory"),
        )
}

pub fn run(args: &[OsString]) -> i32 {
    let matches = match parse(command(), args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    let paths = match matches.get_one::<PathBuf>("root") {
        Some(root) => match std::path::absolute(root) {
            Ok(root) => Paths::under(root),
            Err(error) => return fail("mosd", format!("{}: {error}", root.display())),
        },
        None => Paths::from_env(),
    };
    match node::run(&Options {
        paths,
        foreground: matches.get_flag("foreground"),
        await_map: matches.get_flag("await-map"),
        balance: !matches.get_flag("no-balance"),
        cpus: matches.get_one("cpus").copied(),
        memory: matches.get_one("memory").copied(),
    }) {
        Ok(()) => 0,
        Err(error) => fail("mosd", error),
    }
}
