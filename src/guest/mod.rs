//! The host of a process that came from elsewhere: builds the guest, serves its calls, moves it on.
//!
//! One host has one guest. Its states and what moves it between them:
//!
//! ```text
//!            notification                answer of the deputy
//!  Running ───────────────▶ InCall ─────────────────────────▶ Running
//!     │                        │  Interrupt, ABORTED
//!     │ order to move          ▼
//!     └──────────────▶ (stopped, leaving) ──▶ moved: the host ends │ stayed: Running
//!  Running ──sleep──▶ Sleeping ──deadline or signal──▶ Running
//! ```

pub mod actions;
pub mod arrive;
pub mod calls;
pub mod channel;
pub mod ctl;
pub mod filter;
pub mod host;
pub mod leave;
pub mod live;
pub mod maps;
pub mod repeat;
pub mod signals;
pub mod sleep;
pub mod stop;
pub mod threads;
mod timed;
mod usage;
pub mod wait;
