//! playground: a cluster on this machine alone, for as long as one command runs.
//!
//! Two processes see to it that nothing stays behind: the one that runs the cluster, and its parent, which only waits. Both adopt
//! orphans, so that each knows all that was started below it; whichever dies, the other cleans up.

mod cleanup;
mod cluster;
mod cpus;
mod demo;
mod session;
mod speeds;
pub mod spin;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use mos::sys::unix::{self, Fork, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SignalFd};

use crate::common::{fail, parse};
use cluster::Cluster;

/// What the user asked for.
pub struct Options {
    pub nodes: u32,
    pub shake_ms: Option<u64>,
    /// Processes are moved without order.
    pub balance: bool,
    /// CPUs of each node in turn; none: all share all.
    pub cpus: Vec<Vec<usize>>,
    /// What part of a CPU each node in turn is held to, in percent; none: they are not held.
    pub speeds: Vec<u32>,
    /// Megabytes of each node in turn; none: all have all.
    pub memory: Vec<u32>,
    pub keep: bool,
    pub dir: Option<PathBuf>,
    pub command: Vec<OsString>,
    /// Argument 0 of the command, if it is not its name.
    pub arg0: Option<&'static str>,
}

pub fn command() -> Command {
    Command::new("playground")
        .about("runs a command in a cluster on this machine alone, or shows what mos does")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("nodes")
                .short('n')
                .long("nodes")
                .value_name("NODES")
                .default_value("3")
                .value_parser(value_parser!(u32).range(1..=250))
                .help("Number of nodes"),
        )
        .arg(
            Arg::new("shake")
                .long("shake")
                .value_name("MS")
                .value_parser(value_parser!(u64).range(1..))
                .help("Move every process that can move to a random node every MS milliseconds"),
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
                .value_name("SETS")
                .value_parser(cpus::parse)
                .help("CPUs of each node in turn, such as 0/1/2,3/4-7; beyond the last, from the first on"),
        )
        .arg(
            Arg::new("speeds")
                .long("speeds")
                .value_name("PERCENTS")
                .value_parser(speeds::parse)
                .conflicts_with("cpus")
                .help("Part of a CPU that each node in turn is held to, such as 50,40,20 (root)"),
        )
        .arg(
            Arg::new("memory")
                .long("memory")
                .value_name("MB")
                .value_delimiter(',')
                .value_parser(value_parser!(u32).range(1..))
                .help("Megabytes of memory that each node in turn says it has, such as 4000,1000"),
        )
        .arg(
            Arg::new("keep")
                .long("keep")
                .action(ArgAction::SetTrue)
                .help("Leave the nodes' files there at the end and say where"),
        )
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Directory for the nodes' files: a new or empty one"),
        )
        .arg(
            Arg::new("command")
                .value_name("CMD")
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(value_parser!(OsString))
                .help(
                    "The command to run on node 1, and its arguments; without it: a demonstration",
                ),
        )
}

fn options(matches: &ArgMatches) -> Options {
    Options {
        nodes: matches.get_one("nodes").copied().unwrap_or(3),
        shake_ms: matches.get_one("shake").copied(),
        // What is shaken, or shown, is moved by order only.
        balance: !matches.get_flag("no-balance")
            && !matches.contains_id("shake")
            && matches.contains_id("command"),
        cpus: matches.get_one("cpus").cloned().unwrap_or_default(),
        speeds: matches.get_one("speeds").cloned().unwrap_or_default(),
        memory: matches
            .get_many("memory")
            .unwrap_or_default()
            .copied()
            .collect(),
        keep: matches.get_flag("keep"),
        dir: matches.get_one("dir").cloned(),
        command: matches
            .get_many("command")
            .unwrap_or_default()
            .cloned()
            .collect(),
        arg0: None,
    }
}

pub fn run(args: &[OsString]) -> i32 {
    let matches = match parse(command(), args) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    run_with(&options(&matches))
}

/// Runs this very program, called `name`, on node 1 of a cluster of so many nodes; where they are held to speeds, programs spread.
pub fn run_own(name: &'static str, nodes: u32, speeds: &[u32], args: &[OsString]) -> i32 {
    let mut command = vec![OsString::from("/proc/self/exe")];
    command.extend_from_slice(args);
    run_with(&Options {
        nodes,
        shake_ms: None,
        balance: !speeds.is_empty(),
        cpus: Vec::new(),
        speeds: speeds.to_vec(),
        memory: Vec::new(),
        keep: false,
        dir: None,
        command,
        arg0: Some(name),
    })
}

/// Has this process, and what it starts, run where the node with this root does.
pub fn enter(root: &Path) -> std::io::Result<()> {
    cpus::enter(root)?;
    speeds::enter(root, 0)
}

fn run_with(options: &Options) -> i32 {
    match prepare(options) {
        Ok((cluster, signals)) => fork_and_run(options, cluster, signals),
        Err(error) => fail("playground", error),
    }
}

fn prepare(options: &Options) -> std::io::Result<(Cluster, SignalFd)> {
    // Keys of the terminal are for the command: it shares our process group and gets them as well.
    let signals = SignalFd::new(&[SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP])?;
    unix::become_subreaper()?;
    Ok((Cluster::prepare(options)?, signals))
}

fn fork_and_run(options: &Options, cluster: Cluster, signals: SignalFd) -> i32 {
    let parent = std::process::id() as i32;
    match unix::fork() {
        Err(error) => {
            cluster.remove();
            fail("playground", error)
        }
        Ok(Fork::Child) => {
            let ready =
                unix::die_with_parent(parent, SIGTERM).and_then(|()| unix::become_subreaper());
            // Descriptors for signals belong to the process that made them; the command gets the mask that we got.
            let mask = signals.before();
            drop(signals);
            let signals =
                ready.and_then(|()| SignalFd::new(&[SIGCHLD, SIGINT, SIGQUIT, SIGTERM, SIGHUP]));
            let status = match signals {
                Ok(signals) => session::run(options, &cluster, signals, mask),
                Err(error) => fail("playground", error),
            };
            cleanup::kill_descendants();
            leave(options, &cluster);
            std::process::exit(status)
        }
        Ok(Fork::Parent { child }) => {
            let status = session::watch(child, signals);
            // Normally nothing is left to do.
            cleanup::kill_descendants();
            if !options.keep {
                cluster.remove();
            }
            status
        }
    }
}

fn leave(options: &Options, cluster: &Cluster) {
    if options.keep {
        cluster.release();
        eprintln!("playground: files are in {}", cluster.dir().display());
    } else {
        cluster.remove();
    }
}
