//! One move that touches home, in a process of its own: it may be killed at any moment without loss to the program.

pub mod back;
mod freeze;
mod live;
pub mod out;
pub mod park;
mod places;
pub mod reconcile;
pub mod resume;
pub mod seize;
pub mod start;
mod thaw;
mod times;

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use crate::wire::client::{Client, Welcome};
use crate::wire::control::{Frozen, Outcome, ToMosd};
use crate::wire::cpu::Cpu;
use crate::wire::frame::write_frame;

/// What a mover is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    /// Take process `pid` from home to `node`.
    Out(OutJob),
    /// Receive process `pid` back; the connection is descriptor 4.
    Back { pid: i32, tree: u64 },
    /// Take the memory of a process at home to a file; the node is this one.
    Freeze(OutJob, Order),
    /// Bring it back from there.
    Thaw { pid: i32 },
}

/// How a process is to be frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub why: Frozen,
    /// When there is no space for it, it is killed if it has at least so many megabytes.
    pub kill: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutJob {
    pub pid: i32,
    pub node: Ipv4Addr,
    pub tree: u64,
    pub nmigs: u32,
    pub cpu_away_ns: u64,
    pub unsupported: u32,
    /// Seccomp filters that every process of the tree has.
    pub filters: u32,
    /// The program is to start on `node`: the process is mosrun still, or about to be. Whether it may run here if that fails.
    pub start: Option<bool>,
    /// The program that starts is to see no more than this.
    pub portable: Option<Cpu>,
    /// The process has used more than it was to see.
    pub saw_more: bool,
}

/// From a mover to its warden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromMover {
    /// mosrun is waited for, and may become its program now.
    Attached,
    /// The process has shared views of these files; `Leases` is the answer.
    Views(Vec<View>),
    /// The process has been told to stop: a notification of it that waits must be answered now.
    Seized,
    /// The process goes on at home right after this: all the CPU time that it has used away, and how often it has moved.
    Home { cpu_ns: u64, nmigs: u32 },
    /// The move is over.
    Result(Outcome),
}

/// A file of which a process has a shared view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    pub path: String,
    pub inode: u64,
}

/// Whether nobody writes the files that a process has shared views of, as long as it is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leases {
    Taken,
    /// Why the process cannot move.
    Refused(String),
}

/// The entry of `mos-mover`: does the job and tells the warden what became of it.
pub fn run(
    job: Job,
    mut warden: UnixStream,
    connection: Option<TcpStream>,
    mut client: Client,
) -> i32 {
    let outcome = match job {
        Job::Out(job) => out::out(&job, &mut warden, &mut client),
        Job::Back { pid, .. } => match connection {
            Some(conn) => back::back(pid, conn, &mut warden, &mut client),
            None => Outcome::Stayed("no connection was given".to_owned()),
        },
        Job::Freeze(job, order) => freeze::freeze(&job, order, &mut warden, &mut client),
        Job::Thaw { pid } => thaw::thaw(pid),
    };
    log::debug!("mover: {outcome:?}");
    match write_frame(&mut warden, &FromMover::Result(outcome)) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

/// Registers with mosd, which tells of this node.
pub fn register(client: &mut Client) -> std::io::Result<Welcome> {
    client.register(&ToMosd::Mover)
}
