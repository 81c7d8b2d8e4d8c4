//! Calls made through plan, request and answer, by a deputy that is this very process, compared with the same calls made natively.

mod deputy;
mod files;
mod layout;
mod loopback;
mod messages;
mod rows;
mod structures;
mod waiting;
