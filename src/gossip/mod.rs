//! What nodes know of each other: pure; time comes as milliseconds of any clock that does not go back, chance as numbers.
//!
//! Every node keeps the newest information that it has of every node. Once in a unit of time it tells a random node the newest
//! part of it, and that node answers with its own newest part. `docs/GOSSIP.md` derives how old information then is, and `mos
//! simulate gossip` measures it with this very code.

mod message;
mod node;
mod sessions;
mod table;

pub use message::{Item, MAX_DATAGRAM, MAX_NOTE, Message, WINDOW};
pub use node::{Gossip, Known, Note, UNIT};
pub use table::Standing;

pub use crate::wire::load::Load;

/// Milliseconds of a clock that does not go back; where it begins does not matter.
pub type Time = u64;
