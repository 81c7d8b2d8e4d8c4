//! The first frame of an authenticated node connection, and the frames of a migration.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::control::Figures;
use super::cpu::Cpu;

/// Version of everything below; nodes of different versions refuse each other, naming both.
pub const VERSION: u32 = 10;

/// What a node connection is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opening {
    /// Take this process: mosd starts a host and gives it the connection. Then `Verdict` comes back, then the image goes.
    Migrate(Offer),
    /// From a host to the warden of `tree`: the control connection of its guests. Then frames of `wire::ctl`.
    Ctl { tree: u64, pid: i32 },
    /// From a host to the warden of `tree`: process `pid` comes home. The warden starts a mover with this connection.
    Return { tree: u64, pid: i32, offer: Offer },
    /// How are you? mosd answers with a `wire::report::Report`.
    Ask,
    /// Take this map and these numbers (`mos_autoconf`); mosd answers with a `Verdict`.
    Configure { map: String, view: Option<String> },
    /// As `Return`, of a process that the node sends away; its home may freeze it.
    Evacuated { tree: u64, pid: i32, offer: Offer },
}

/// What the receiver must know to accept or refuse a process before anything is frozen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    pub home: Ipv4Addr,
    pub home_pid: i32,
    pub tree: u64,
    pub uid: u32,
    pub gid: u32,
    /// Bytes of memory that will come, about.
    pub bytes: u64,
    /// What it may have come to depend on.
    pub needs: Cpu,
    /// It begins there, and depends on what it sees there.
    pub begins: bool,
    /// Migrations so far.
    pub nmigs: u32,
}

/// The receiver's word on an offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    Accept,
    /// Why not, in words.
    Refuse(String),
}

/// After the image: the receiver has built the process and it can start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Built {
    /// Switch the deputies' channels to this port, each with its token, in the order of the threads.
    Ready { port: u16, tokens: Vec<String> },
    /// It could not be built; the sender keeps the process.
    Failed(String),
}

/// After the channel was switched: the process runs there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Started {
    Yes,
    No(String),
}

/// From the sender, just before it switches the channel: the descriptor in the deputy that the channel is made from, which the
/// receiver closes when it has taken over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switching {
    /// One for each thread.
    pub fds: Vec<u64>,
    /// The descriptors of the sender's own channels that the deputies keep: when a new one ends, its deputy is the sender's again.
    /// The receiver has them closed when the process is its own for good.
    pub spares: Vec<u64>,
    /// What the move has taken until now.
    pub figures: Figures,
}
