//! Bytes that nobody should send, in volume: on every kind of message, image and machine of the protocol by itself; and what a node
//! that knows the secret can do to others with them. (tests/node/hostile.rs does the same to mosd's own ports and socket.)

#[path = "node/cluster.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod cluster;
#[path = "kills/counter.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod counter;
#[path = "hostile_bytes/messages.rs"]
mod messages;
#[path = "hostile_bytes/node.rs"]
mod node;
#[path = "kills/parts.rs"]
mod parts;
#[path = "support/random.rs"]
mod random;
