//! The warden of one mosrun tree: serves its listener, knows its processes, has them moved.

pub mod crowd;
pub mod ctl;
pub mod family;
pub mod freezer;
pub mod guard;
pub mod interrupt;
pub mod ledger;
pub mod list;
pub mod movers;
pub mod notify;
pub mod observe;
mod received;
pub mod safe;
mod start;
pub mod state;
pub mod usage;
pub mod views;
mod waiters;

pub use guard::run;
