//! The warden of one mosrun tree: serves its listener, knows its processes, has them moved.

pub mod ctl;
pub mod freezer;
pub mod guard;
pub mod interrupt;
pub mod list;
pub mod movers;
pub mod notify;
pub mod safe;
mod start;
pub mod state;
pub mod views;

pub use guard::run;
