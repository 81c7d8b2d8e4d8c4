//! at: a command as if typed on another node of the playground.

use std::ffi::OsString;
use std::path::Path;

use clap::{Arg, Command, value_parser};
use mos::sys::unix;

use crate::common::{fail, parse};
use crate::playground;

pub fn command() -> Command {
    Command::new("at")
        .about("runs a command as if typed on another node of the playground")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("node")
                .value_name("NODE")
                .required(true)
                .value_parser(value_parser!(u32).range(1..))
                .help("The node's number"),
        )
        .arg(
            Arg::new("command")
                .value_name("CMD")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(value_parser!(OsString))
                .help("The command and its arguments"),
        )
}

pub fn run(args: &[OsString]) -> i32 {
    let matches = match parse(command(), args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    let node = matches.get_one::<u32>("node").copied().unwrap_or_default();
    let Some(dir) = std::env::var_os("MOS_PLAYGROUND") else {
        return fail(
            "at",
            "works inside \"mos playground\" only (MOS_PLAYGROUND is not set)",
        );
    };
    let root = Path::new(&dir).join(format!("node-{node}"));
    if !root.is_dir() {
        return fail("at", format!("this playground has no node {node}"));
    }
    if let Err(error) = playground::enter(&root) {
        return fail("at", error);
    }
    let words: Vec<OsString> = matches
        .get_many("command")
        .unwrap_or_default()
        .cloned()
        .collect();
    let error = unix::exec_with(&words, "MOSIX_ROOT", root.as_os_str());
    eprintln!("at: {}: {error}", words[0].to_string_lossy());
    if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}
