//! bench: what mos costs, each figure as a ratio of two sides that are measured in turns.
//!
//! It starts a playground, in which it runs again under another name to measure.

mod busy;
mod figures;
mod lab;
mod live;
pub mod makespan;
mod report;
mod stats;
pub mod worker;

use std::ffi::OsString;
use std::io;

use clap::{Arg, ArgAction, Command};
use serde::Serialize;

use crate::common::{USAGE, fail, parse};
use crate::playground;
use figures::FIGURES;
use lab::Lab;
use report::Figure;

/// The name under which it measures, inside of its playground.
pub const INSIDE: &str = "mos-bench-inside";

pub fn command() -> Command {
    Command::new("bench")
        .about("measures what mos costs on this machine")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("ron")
                .long("ron")
                .action(ArgAction::SetTrue)
                .help("Print the figures in RON, for programs to read"),
        )
        .arg(
            Arg::new("quick")
                .long("quick")
                .action(ArgAction::SetTrue)
                .help("Few short rounds and little memory: shows that it works, not how fast"),
        )
        .arg(
            Arg::new("names")
                .value_name("NAME")
                .num_args(0..)
                .help("Figures to take; all if none is named"),
        )
}

struct Options {
    ron: bool,
    quick: bool,
    names: Vec<String>,
}

fn options(args: &[OsString]) -> Result<Options, i32> {
    let matches = parse(command(), args)?;
    let names: Vec<String> = matches
        .get_many("names")
        .unwrap_or_default()
        .cloned()
        .collect();
    if let Some(name) = names
        .iter()
        .find(|name| FIGURES.iter().all(|(about, _)| about.name != **name))
    {
        let all: Vec<&str> = FIGURES.iter().map(|(about, _)| about.name).collect();
        eprintln!(
            "bench: there is no figure \"{name}\" (there are: {})",
            all.join(", ")
        );
        return Err(USAGE);
    }
    Ok(Options {
        ron: matches.get_flag("ron"),
        quick: matches.get_flag("quick"),
        names,
    })
}

pub fn run(args: &[OsString]) -> i32 {
    match options(args) {
        Ok(_) => playground::run_own(INSIDE, 2, &[], &args[1..]),
        Err(status) => status,
    }
}

/// Measures, inside of a playground.
pub fn run_inside(args: &[OsString]) -> i32 {
    match options(args) {
        Ok(options) => measure(&options).unwrap_or_else(|error| fail("bench", error)),
        Err(status) => status,
    }
}

/// All that was found out.
#[derive(Serialize)]
struct Findings {
    version: &'static str,
    /// Whether the program was built for speed.
    optimised: bool,
    cpus: usize,
    kernel: String,
    figures: Vec<Figure>,
    /// Figures that could not be taken, and why.
    failed: Vec<(&'static str, String)>,
    /// Figures for which this machine lacks something, and what.
    skipped: Vec<(&'static str, String)>,
}

fn measure(options: &Options) -> io::Result<i32> {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut findings = Findings {
        version: env!("CARGO_PKG_VERSION"),
        optimised: !cfg!(debug_assertions),
        cpus: mos::sys::affinity::allowed()?.len(),
        kernel: kernel.trim().to_owned(),
        figures: Vec::new(),
        failed: Vec::new(),
        skipped: Vec::new(),
    };
    if !findings.optimised {
        eprintln!("bench: this program was not built for speed (cargo build --release)");
    }
    if !options.ron {
        println!("{} CPUs, Linux {}", findings.cpus, findings.kernel);
        println!("{}", report::heading());
    }
    let mut lab = Lab::open(options.quick)?;
    for (about, take) in FIGURES {
        if !options.names.is_empty() && !options.names.iter().any(|name| name == about.name) {
            continue;
        }
        lab::announce(about.name);
        let taken = take(&mut lab, *about);
        lab::announce("");
        match taken {
            Ok(figures) => {
                for figure in figures.iter().filter(|_| !options.ron) {
                    println!("{}", figure.line());
                }
                findings.figures.extend(figures);
            }
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                eprintln!("bench: {} is not taken: {error}", about.name);
                findings.skipped.push((about.name, error.to_string()));
            }
            Err(error) => {
                eprintln!("bench: {}: {error}", about.name);
                findings.failed.push((about.name, error.to_string()));
            }
        }
    }
    if options.ron {
        let pretty = ron::ser::PrettyConfig::default();
        println!(
            "{}",
            ron::ser::to_string_pretty(&findings, pretty).map_err(io::Error::other)?
        );
    }
    Ok(i32::from(!findings.failed.is_empty()))
}
