//! The cluster's policies under a virtual clock: the code that mosd runs, with a network and processes that are made up. Whoever
//! gives the same seed gets the same numbers.

pub mod balance;
mod cluster;
pub mod gossip;
mod ideal;
pub mod picture;
pub mod random;
pub mod theory;
pub mod workload;
