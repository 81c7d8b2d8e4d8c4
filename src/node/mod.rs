//! mosd: one for each node. It accepts the connections of other nodes, authenticates them, and hands each to the local process
//! it is for; it knows which nodes are alive; and it answers the tools of this node. All in one loop, and nothing that it
//! could not learn again: wardens and hosts register anew with a mosd that was restarted.

mod admission;
mod balancing;
mod channels;
mod clients;
mod daemon;
mod freezing;
mod incoming;
mod measure;
mod modes;
mod neighbours;
mod orders;
mod outgoing;
mod peers;
mod processors;
mod profiles;
mod questions;
mod report;
mod server;
mod settle;
mod starts;

use std::io::Write;

use crate::config::{Fingerprint, Paths};
use crate::sys::unix;
use daemon::Side;
use modes::Modes;
pub use report::read_report;
use server::Server;
use settle::Policy;

/// How mosd is to run.
#[derive(Clone, Debug)]
pub struct Options {
    pub paths: Paths,
    /// Stay in the foreground and log to standard error.
    pub foreground: bool,
    /// Where there is no map yet, be a cluster of one node until there is.
    pub await_map: bool,
    /// Move processes without order.
    pub balance: bool,
    /// So many processors of a machine that this node shares with other nodes; all of them otherwise.
    pub cpus: Option<u16>,
    /// So many megabytes of that machine's memory; all of it otherwise.
    pub memory: Option<u32>,
}

/// Runs mosd until it is told to end (SIGTERM), or, in the background, starts it.
///
/// # Errors
///
/// In words: what is wrong and what to do.
pub fn run(options: &Options) -> Result<(), String> {
    let modes = Modes::load(&options.paths.state());
    let instead = modes.overrides();
    let fingerprint = Fingerprint::of(&options.paths, &instead);
    let config = orders::read_config(&options.paths, &instead, options.await_map)?;
    let policy = Policy::new(modes, fingerprint, options.await_map);
    // Whoever started us may be careless: nobody else writes to our files.
    unix::umask(0o022);
    if options.foreground {
        log_to_stderr();
        let lock = daemon::lock(&options.paths)?;
        let mut server = Server::new(config, policy, options)?;
        server.serve(lock)
    } else {
        // The lock belongs to whoever has the file open: the daemon inherits it.
        let lock = daemon::lock(&options.paths)?;
        match daemon::background(&options.paths)? {
            Side::Starter(None) => Ok(()),
            Side::Starter(Some(error)) => Err(error),
            Side::Daemon(report) => {
                log_to_stderr();
                let started = lock
                    .note_pid()
                    .map_err(|error| error.to_string())
                    .and_then(|()| Server::new(config, policy, options));
                match started {
                    Ok(mut server) => {
                        report.up().map_err(|error| error.to_string())?;
                        server.serve(lock)
                    }
                    Err(why) => {
                        report.failed(&why);
                        Err(why)
                    }
                }
            }
        }
    }
}

fn log_to_stderr() {
    let environment = env_logger::Env::new().filter_or("MOS_LOG", "info");
    // A second logger in one process (tests) is refused, which does no harm.
    let _ = env_logger::Builder::from_env(environment)
        .format(|out, record| {
            writeln!(
                out,
                "mosd[{}]: {}: {}",
                std::process::id(),
                record.level(),
                record.args()
            )
        })
        .try_init();
}
