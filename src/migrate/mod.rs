//! Moving one process: the phases, the two ends, and who owns the process in each.
//!
//! ```text
//! sender (mover at home, or host)          receiver (host, or mover at home)
//!   Opening::Migrate / Return   ──────▶
//!                               ◀──────   Verdict
//!   stop the process
//!   Meta, pages                 ──────▶   build
//!                               ◀──────   Built::Ready { port, token }
//!   switch the deputy's channel ──────▶   (its answer arrives on the new channel)
//!   Switched                    ──────▶
//!                               ◀──────   Started::Yes
//! ```
//!
//! Until the channel is switched the sender owns the process and can let it run on; after it the receiver does. If the
//! receiver dies right after the switch and the program has not called anything since it left home, the deputy rolls back.

pub mod deputy;
pub mod fault;
pub mod mirror;
pub mod source;
pub mod target;
pub mod tracee;
