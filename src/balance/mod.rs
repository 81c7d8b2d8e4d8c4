//! Placement and migration policy: pure, no clock, socket, file or random source.
//!
//! A process gets a rate: the speed of its node's processors, its share of them, and less if its calls must travel home. Elsewhere it
//! would get another. It is expected to need as much work again as it has used (lives of processes are heavy-tailed), so it is known
//! how long it has left here, and there, the cost of the move included. The difference is the gain; `docs/BALANCE.md` says more.
//!
//! Information on others is old, and others act on it too. So nobody moves a process on the strength of it: the target is asked
//! first ([`Ask`]), knows its own load and what it has promised to others, and says yes or no.

mod balancer;
mod freezing;
mod model;
mod promises;

pub use balancer::{Asking, Balancer, Choice, Granted, What};
pub use freezing::{Candidate, FreezeOrder, FreezeRules, Freezer};
pub use model::{Bound, Costs, Place, Process};
pub use promises::{Answer, Ask, Word};

/// Milliseconds, as in `gossip`.
pub use crate::gossip::Time;
