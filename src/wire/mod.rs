//! What travels between processes and nodes. Tags are append-only; every length is checked before memory is taken.

pub mod channel;
pub mod control;
pub mod ctl;
pub mod node;
