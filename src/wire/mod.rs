//! What travels between processes and nodes. Tags are append-only; every length is checked before memory is taken.

pub mod auth;
pub mod channel;
pub mod client;
pub mod codec;
pub mod control;
pub mod cpu;
pub mod ctl;
pub mod frame;
pub mod load;
pub mod node;
pub mod report;
