//! The home half of every process: mosrun puts it under a warden, movers take it away and bring it back.

pub mod bound;
pub mod filter;
pub mod interface;
pub mod launch;
pub mod mover;
pub mod warden;
