//! The kernel: every `unsafe` and every raw call is in here, behind safe interfaces.

pub mod socket;
pub mod spawn;
pub mod unix;
