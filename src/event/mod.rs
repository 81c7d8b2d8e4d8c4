//! Parts of a `mio` loop: framed local connections with descriptors and bounded queues.

pub mod local;
