//! What all applets do alike.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

/// An option of one letter without a value, known by that letter.
pub fn flag(letter: &'static str, help: &'static str) -> Arg {
    Arg::new(letter)
        .short(letter.chars().next())
        .action(ArgAction::SetTrue)
        .help(help)
}

/// Exit status of a wrong command line.
pub const USAGE: i32 = 2;

/// Reads the command line; otherwise the exit status, the help or the mistake having been shown.
pub fn parse(command: Command, args: &[OsString]) -> Result<ArgMatches, i32> {
    command.try_get_matches_from(args).map_err(|error| {
        // Nothing can be done when not even this can be written.
        let _ = error.print();
        if error.use_stderr() { USAGE } else { 0 }
    })
}

/// Says what went wrong; the exit status.
pub fn fail(applet: &str, what: impl std::fmt::Display) -> i32 {
    eprintln!("{applet}: {what}");
    1
}
