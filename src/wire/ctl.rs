//! Messages between a host and the warden of its guests.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::wire::control::{Outcome, Target};

/// Name in the program interface by which a host asks the warden, through its deputy, for CPU time used elsewhere by other processes
/// than its guest: an open whose access mode says by whom, whose third argument is a pid, and whose value is nanoseconds.
pub const AWAY_TIME: &str = "awaytime";

/// From the host to the warden.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromHost {
    /// Process `pid` runs at this node now.
    Running {
        pid: i32,
        node: Ipv4Addr,
        nmigs: u32,
    },
    /// A guest forked: `child` is the new process at home; it runs at the same node.
    Forked { parent: i32, child: i32 },
    /// The guest is no longer here: it called exec (and runs at home), or ended. All that it used away, as in `Cpu`.
    Left { pid: i32, cpu_ns: u64 },
    /// The deputy's blocked call must be interrupted so that the process can move.
    Interrupt { pid: i32 },
    /// What became of an order `Move`.
    Moved { pid: i32, id: u64, outcome: Outcome },
    /// CPU time that the process has used at other nodes than home since its start, here included; sent once a second while it grows,
    /// and before the process ends or is home again.
    Cpu { pid: i32, ns: u64 },
    /// Why the process cannot move for now (`None`: it can).
    Stays { pid: i32, why: Option<String> },
    /// Thread `tid` is about to have a shared view of the file behind its descriptor `fd`: does nobody write it?
    View { pid: i32, tid: i32, fd: i32 },
    /// An instruction was none at this node, which has all that the process was to see: it goes home to try it there.
    SawMore { pid: i32 },
}

impl FromHost {
    /// The process that it is about.
    pub fn pid(&self) -> i32 {
        match self {
            FromHost::Running { pid, .. }
            | FromHost::Forked { parent: pid, .. }
            | FromHost::Left { pid, .. }
            | FromHost::Interrupt { pid }
            | FromHost::Moved { pid, .. }
            | FromHost::Cpu { pid, .. }
            | FromHost::Stays { pid, .. }
            | FromHost::View { pid, .. }
            | FromHost::SawMore { pid } => *pid,
        }
    }
}

/// From the warden to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToHost {
    Move {
        pid: i32,
        id: u64,
        to: Target,
    },
    /// The home process was stopped (or continued): stop (continue) the guest.
    Stop {
        pid: i32,
    },
    Continue {
        pid: i32,
    },
    /// The interruption that was asked for is over, whether or not it met a call.
    Interrupted {
        pid: i32,
    },
    /// What the program or its user has said about moving it: whether without order, the megabytes it needs, the decay of its
    /// statistics, and whether its calls count.
    Settings {
        pid: i32,
        locked: bool,
        needmem: u32,
        decay: u32,
        cpujob: bool,
    },
    /// Whether thread `tid` may have the view that it asked for where it is.
    View {
        pid: i32,
        tid: i32,
        lent: bool,
    },
}
