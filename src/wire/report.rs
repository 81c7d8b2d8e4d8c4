//! What a node says of itself when it is asked (`mosctl status`, `rstatus`): by a tool of its own, or by another node.

use serde::{Deserialize, Serialize};

/// A node's state, as the one who asks may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub off: bool,
    pub stay: bool,
    pub lstay: bool,
    pub block: bool,
    pub isolated: bool,
    /// Why it takes no processes of the one who asks; `None` when it does.
    pub refuses: Option<String>,
    /// It would send guests of lower priority away for them.
    pub prefers: bool,
    /// 100: one process that computes on a standard processor.
    pub load: u32,
    /// The highest priority of what is there: 65535 when nothing is, 0 when only its own cluster may come.
    pub availability: u16,
    /// 10000: a standard processor.
    pub speed: u32,
    pub cpus: u32,
    pub frozen: u32,
    /// Pages of 4 KiB.
    pub memory_free: u64,
    pub memory_total: u64,
    /// Bytes.
    pub swap_free: u64,
    pub swap_total: u64,
    /// Pages of guests that would have to go.
    pub privileged: u64,
    /// Processes whose home is there, and how many of them are elsewhere.
    pub local: u32,
    pub away: u32,
    /// Guests, and how many of them are from other clusters.
    pub guests: u32,
    pub foreign: u32,
    /// Most guests from other clusters.
    pub max_guests: Option<u32>,
    /// The configuration's files are wrong, and an earlier version is in use: what is wrong.
    pub complaint: Option<String>,
    pub version: String,
}
