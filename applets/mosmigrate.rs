//! mosmigrate: moves a running process by order.

use std::ffi::OsString;
use std::io;

use clap::{Arg, ArgAction, Command, value_parser};
use mos::wire::control::{Figures, Frozen, Outcome, Target};

use crate::cluster;
use crate::common::{fail, parse};

pub fn command() -> Command {
    Command::new("mosmigrate")
        .about("moves a running process to another node, or home")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("wait")
                .long("wait")
                .action(ArgAction::SetTrue)
                .help("Wait until it has moved, or say why it has not"),
        )
        .arg(
            Arg::new("pid")
                .value_name("PID")
                .required(true)
                .value_parser(value_parser!(i32).range(1..))
                .help("The process, as mosps lists it"),
        )
        .arg(Arg::new("target").value_name("TARGET").required(true).help(
            "A node's number, address or host name; \"home\"; \"out\" to send a guest away; \"freeze\" or \"continue\"",
        ))
}

pub fn run(args: &[OsString]) -> i32 {
    let matches = match parse(command(), args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    let pid = matches.get_one("pid").copied().unwrap_or_default();
    let target = matches
        .get_one::<String>("target")
        .map(String::as_str)
        .unwrap_or_default();
    let wait = matches.get_flag("wait");
    match order(pid, target, wait) {
        Ok(outcome) => report(pid, target, &outcome, wait),
        Err(error) => fail("mosmigrate", error),
    }
}

fn order(pid: i32, target: &str, wait: bool) -> io::Result<Outcome> {
    if let "checkpoint" | "chkstop" | "chkexit" = target {
        return Err(io::Error::other(format!(
            "\"{target}\" is not available in this version"
        )));
    }
    let mut client = cluster::connect()?;
    let to = match target {
        "home" => Target::Home,
        "freeze" => Target::Freeze {
            why: Frozen::Manual,
            kill: None,
        },
        "continue" => Target::Continue,
        "out" => {
            let guests = cluster::list(&mut client, false, true)?;
            if !guests.iter().any(|guest| guest.pid == pid) {
                return Err(io::Error::other(format!("{pid} is no guest on this node")));
            }
            Target::Home
        }
        name => Target::Node(client.resolve(name)?.address),
    };
    cluster::order_move(&mut client, pid, to, wait)
}

fn report(pid: i32, target: &str, outcome: &Outcome, wait: bool) -> i32 {
    let (done, stayed) = match target {
        "freeze" => ("is frozen", "is not frozen"),
        "continue" => ("goes on", "stays frozen"),
        _ => ("has moved", "runs on where it was"),
    };
    match outcome {
        Outcome::Done => {
            if wait {
                println!("{pid} {done}");
            }
            0
        }
        Outcome::Moved(figures) => {
            if wait {
                println!("{pid} {done}{}", in_words(figures));
            }
            0
        }
        Outcome::Stayed(why) => fail("mosmigrate", format!("{pid} {stayed}: {why}")),
        Outcome::Gone => fail("mosmigrate", format!("{pid} has ended")),
    }
}

/// What a move took.
fn in_words(figures: &Figures) -> String {
    let (megabytes, stopped) = (
        figures.bytes as f64 * 1e-6,
        figures.stopped_ns as f64 * 1e-6,
    );
    let rounds = match figures.rounds {
        0 => String::new(),
        1 => ", most of it in 1 round before".to_owned(),
        many => format!(", most of it in {many} rounds before"),
    };
    format!(": stopped for {stopped:.1} ms, {megabytes:.1} MB{rounds}")
}
