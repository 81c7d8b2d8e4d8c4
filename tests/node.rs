//! mosd from outside: two or more of them on loopback addresses, and clients of all kinds.

#[path = "node/cluster.rs"]
mod cluster;
#[path = "node/control.rs"]
mod control;
#[path = "node/hostile.rs"]
mod hostile;
#[path = "node/large.rs"]
mod large;
#[path = "node/links.rs"]
mod links;
#[path = "node/start.rs"]
mod start;
#[path = "node/users.rs"]
mod users;
