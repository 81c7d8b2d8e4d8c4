//! Messages on mosd's control socket. A connection says first who it is (`ToMosd::Warden`, `Host`, `Mover`) or is a tool's.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cpu::Cpu;
use super::load::Load;
use super::report::Report;
use crate::config::Named;

/// Where a process is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    Home,
    Node(Ipv4Addr),
    /// Wherever the policy finds best (a migration consideration); without policy, nothing happens.
    Best,
    /// At home, its memory in a file. When that fails for want of space, it is killed if it has at least `kill` megabytes.
    Freeze {
        why: Frozen,
        kill: Option<u32>,
    },
    /// Not frozen any more.
    Continue,
}

/// Where a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    Home,
    Away(Ipv4Addr),
    Leaving,
    Starting,
}

/// FRZ column of mosps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frozen {
    No,
    Automatic,
    Preempted,
    Manual,
    NotApplicable,
}

/// One process, as mosps shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcInfo {
    /// Pid on this node (of the home process, or of the guest for a guest).
    pub pid: i32,
    pub uid: u32,
    pub place: Place,
    /// Home node; `None` when it is this node.
    pub from: Option<Ipv4Addr>,
    /// Pid at the home node, for guests.
    pub origpid: Option<i32>,
    pub frozen: Frozen,
    pub nmigs: u32,
    /// Why it cannot move now, in words.
    pub stays: Option<String>,
    /// Migrates only by order (`-L`).
    pub locked: bool,
    /// User-level CPU time used at other nodes than home, in nanoseconds.
    pub cpu_away_ns: u64,
}

/// One process that runs at this node, as the policy sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighed {
    /// Pid on this node.
    pub pid: i32,
    /// Home node; `None` when it is this node.
    pub home: Option<Ipv4Addr>,
    /// It may be moved without order, and is not on its way.
    pub movable: bool,
    /// Megabytes that it was said to need.
    pub needmem: u32,
    /// Part of its statistics that is left after a second, in ten thousandths.
    pub decay: u32,
    /// Its calls count.
    pub count_calls: bool,
    /// Calls that a guest has made so far which were not executed here.
    pub calls: u64,
    /// Bytes that these carried to its home and back.
    pub bytes: u64,
    /// Frozen, it runs nowhere.
    pub frozen: Frozen,
    /// It may be frozen without order, and is not on its way.
    pub freezable: bool,
    /// What it may have come to depend on; `None`: all that this node offers.
    pub needs: Option<Cpu>,
}

/// What became of an order to move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It runs there now.
    Done,
    /// It runs on where it was; the reason, in words.
    Stayed(String),
    /// It ended meanwhile.
    Gone,
    /// It runs there now, and this is what it took.
    Moved(Figures),
}

impl Outcome {
    /// Whether what was ordered is so now.
    pub fn is_done(&self) -> bool {
        matches!(self, Outcome::Done | Outcome::Moved(_))
    }
}

/// What a move took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Bytes of memory that were sent.
    pub bytes: u64,
    /// Rounds in which they went while the process ran on.
    pub rounds: u32,
    /// How long the process was stopped, in nanoseconds.
    pub stopped_ns: u64,
}

/// A mode of a node (`mosctl`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Nothing leaves without an order.
    Stay,
    /// Processes of this node do not leave without an order.
    LocalStay,
    /// No guest comes in.
    Block,
    /// Disconnected from other clusters.
    Isolate,
}

/// Orders of an administrator, answered by `FromMosd::Result`: when it is so, or at once where it says not to wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admin {
    Set {
        mode: Mode,
        on: bool,
    },
    /// Send all guests away.
    Expel,
    /// Bring all processes of this node home.
    Bring,
    /// Turn mos off on this node.
    Off {
        wait: bool,
    },
    /// Read the configuration, with these in place of the usual files, and turn mos on.
    Configure {
        map: Option<PathBuf>,
        address: Option<Ipv4Addr>,
        partners: Option<PathBuf>,
        wait: bool,
    },
    /// A tool has changed the files.
    Reread {
        wait: bool,
    },
}

/// Nodes with consecutive addresses: the first, and how many.
pub type Nodes = (Ipv4Addr, u32);

/// What a client says to mosd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToMosd {
    /// I am the warden of this tree (a random number); my uid is taken from the socket.
    Warden {
        tree: u64,
        log: bool,
    },
    /// I am a host; guests of mine are reported by `Guests`.
    Host {
        home: Ipv4Addr,
    },
    /// I am a mover: only `Expect` and `Connect` are used.
    Mover,
    /// A channel with this token will arrive: pass it to me (`FromMosd::Channel`).
    Expect {
        token: String,
    },
    Forget {
        token: String,
    },
    /// Answer to `FromMosd::ListYours`: all processes of a warden, or all guests of a host.
    Mine {
        id: u64,
        procs: Vec<ProcInfo>,
    },
    /// Answer to `FromMosd::Move`.
    Moved {
        id: u64,
        outcome: Outcome,
    },

    /// Tools: list processes here.
    List {
        local: bool,
        guests: bool,
    },
    /// Tools: move a process whose home is here (or, for root and `out`, a guest); answered by `FromMosd::Result` at once, or after the move with `wait`.
    Move {
        pid: i32,
        to: Target,
        wait: bool,
    },
    /// Tools: move every process that can move to a random other node (or home).
    Shake,
    /// Tools: this node's address, number and the nodes it knows.
    Status,
    /// Tools: which node is meant; answered by `FromMosd::Node`. Host names are looked up by who asks: that can take long.
    Resolve {
        node: Named,
    },
    /// Any local process: an authenticated connection to a node, opened by mosd; answered by `FromMosd::Connected` with
    /// the descriptor. The handshake is done; the next frame is the caller's `node::Opening`.
    Connect {
        id: u64,
        node: Ipv4Addr,
    },
    /// As `Connect`, to send the node a process of `home`: refused where such processes must not go.
    ConnectToSend {
        id: u64,
        node: Ipv4Addr,
        home: Ipv4Addr,
    },
    /// Tools of the administrator.
    Admin(Admin),
    /// Tools: this node's state; answered by `FromMosd::Report`.
    Report,
    /// Tools: all clusters' nodes.
    World,
    /// Tools: whose node this is and whether processes may go there.
    Relation {
        node: Ipv4Addr,
    },
    /// Answer to `FromMosd::Weigh`: the processes of a warden, or the guest of a host, that run at this node.
    Weights {
        id: u64,
        procs: Vec<Weighed>,
    },
    /// Tools: the best node for a program that needs so many megabytes; waits until there is one if `wait`. It `starts` there soon.
    /// Answered by `FromMosd::Node`.
    Best {
        memory: u32,
        wait: bool,
        starts: bool,
        /// All that the program will depend on; `None`: it will depend on whatever it sees.
        needs: Option<Cpu>,
    },
    /// From a mover: a file for the memory of a frozen process, in another directory than these. Answered by `FromMosd::FreezeFile`.
    FreezeFile {
        tried: Vec<PathBuf>,
    },
    /// Tools: what the processors of all nodes of this cluster have in common. Answered by `FromMosd::Common`.
    Common,
}

/// A node, as mosd knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    pub address: Ipv4Addr,
    pub number: Option<u32>,
    /// It answers.
    pub alive: bool,
    /// What it told last, if it is alive, and how many milliseconds ago.
    pub load: Option<(Load, u64)>,
}

/// What mosd says to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromMosd {
    /// To a warden, host or mover: registered. `port` is the TCP port of all nodes, `cpu` what this node is taken to offer.
    Welcome {
        address: Ipv4Addr,
        port: u16,
        cpu: Cpu,
    },
    /// A channel arrived (descriptor attached).
    Channel {
        token: String,
    },
    /// To a warden: a node connection meant for it arrived (descriptor attached; its `Opening` was read and is given).
    Arrived {
        opening: crate::wire::node::Opening,
    },
    /// To a warden or host: move it and answer with `Moved { id }`.
    Move {
        id: u64,
        pid: i32,
        to: Target,
    },
    /// To a warden: move each process that can move to a node chosen at random from these and home, other than where it is.
    Shake {
        nodes: Vec<Ipv4Addr>,
    },
    /// To a warden or host: answer with `Mine { id }`.
    ListYours {
        id: u64,
    },
    /// Answer to `Connect` (descriptor attached when `error` is `None`). `distant`: the map does not say that the network to there is
    /// fast.
    Connected {
        id: u64,
        error: Option<String>,
        distant: bool,
    },
    /// Answers to tools.
    Procs(Vec<ProcInfo>),
    Result(Outcome),
    Status {
        me: NodeInfo,
        nodes: Vec<NodeInfo>,
        port: u16,
        version: String,
    },
    Node(Option<NodeInfo>),
    /// What was asked cannot be done; in words.
    Error(String),
    Report(Box<Report>),
    World {
        own: Vec<Nodes>,
        partners: Vec<(String, Vec<Nodes>)>,
    },
    Relation {
        /// The partner whose node it is; `None` for a node of this cluster.
        partner: Option<String>,
        /// Why processes of this node do not go there.
        forbidden: Option<String>,
    },
    /// To a warden or host: answer with `Weights { id }`.
    Weigh {
        id: u64,
    },
    /// A new file without a name in this directory (descriptor attached); `None`: there is no other directory.
    FreezeFile {
        dir: Option<PathBuf>,
    },
    /// To a host: its guest must leave for its home.
    Evacuate,
    /// What this node offers, and what all have of which it is known; how many others answer that have not been heard of yet.
    Common {
        here: Cpu,
        common: Cpu,
        unknown: u32,
    },
}
