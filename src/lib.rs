//! mos: running processes move between the nodes of a cluster. One sentence a room:
//!
//! - `sys`: the kernel; every `unsafe`, every raw call and layout.
//! - `wire`: what travels between processes and nodes: frames, codec, authentication, messages.
//! - `event`: the one mio loop: framed connections, deadlines, signals.
//! - `config`: the files of `/etc/mosix`, read and written.
//! - `image`: a stopped process as data: capture and restore.
//! - `syscall`: what a call means: one table, one row a call; how its arguments travel.
//! - `migrate`: moving one process: the phases and who owns the process in each.
//! - `home`: mosrun, warden, mover: the home half of every process.
//! - `guest`: the host of a process that came from elsewhere.
//! - `gossip`: what nodes know of each other (pure).
//! - `balance`: placement and migration policy (pure).
//! - `simulate`: the pure rooms under a virtual clock.
//! - `node`: mosd.

pub mod balance;
pub mod config;
pub mod event;
pub mod gossip;
pub mod guest;
pub mod home;
pub mod image;
pub mod migrate;
pub mod node;
pub mod simulate;
pub mod sys;
pub mod syscall;
pub mod wire;
