//! moskillall: a signal to all processes that were started by mosrun here.

use std::ffi::OsString;
use std::io;

use clap::{Arg, Command};
use mos::sys::unix::{self, SIGSTOP, SIGTERM, SIGTSTP};

use crate::cluster;
use crate::common::{USAGE, fail};

/// Names of signals 1 to 31.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "POLL", "PWR", "SYS",
];

pub fn command() -> Command {
    Command::new("moskillall")
        .about("sends a signal to all your processes that were started by mosrun on this node")
        .version(env!("CARGO_PKG_VERSION"))
        .override_usage("moskillall [-SIGNAL]")
        .arg(
            Arg::new("signal")
                .value_name("-SIGNAL")
                .allow_hyphen_values(true)
                .help("Number or name of the signal, such as -9 or -KILL; TERM without it. TSTP is sent in place of STOP"),
        )
}

pub fn run(args: &[OsString]) -> i32 {
    let word = args.get(1).map(|word| word.to_string_lossy());
    let signal = match (word.as_deref(), args.len()) {
        (None, _) => Some(SIGTERM),
        (Some("--help" | "--version"), _) => {
            return crate::common::parse(command(), args).err().unwrap_or(0);
        }
        (Some(word), 2) => word.strip_prefix('-').and_then(signal_number),
        _ => None,
    };
    let Some(signal) = signal else {
        eprintln!("moskillall: the only argument can be a signal, such as -9 or -KILL");
        return USAGE;
    };
    match kill_all(if signal == SIGSTOP { SIGTSTP } else { signal }) {
        Ok(()) => 0,
        Err(error) => fail("moskillall", error),
    }
}

fn signal_number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let index = NAMES.iter().position(|other| *other == name)?;
    i32::try_from(index + 1).ok()
}

fn kill_all(signal: i32) -> io::Result<()> {
    let uid = unix::uid();
    let procs = cluster::list(&mut cluster::connect()?, true, false)?;
    for info in procs.iter().filter(|info| uid == 0 || info.uid == uid) {
        match unix::kill(info.pid, signal) {
            // It ended meanwhile.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(3) => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_numbers_and_names() {
        assert_eq!(signal_number("9"), Some(9));
        assert_eq!(signal_number("KILL"), Some(9));
        assert_eq!(signal_number("SIGSYS"), Some(31));
        assert_eq!(signal_number("STOP"), Some(SIGSTOP));
        assert_eq!(signal_number("0"), None);
        assert_eq!(signal_number("NONE"), None);
    }
}
