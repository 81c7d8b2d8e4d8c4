//! Questions of tools that others must answer: lists, and orders to move.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::wire::control::{ProcInfo, Target};

/// How long wardens and hosts may take to list their processes.
const LIST_WAIT: Duration = Duration::from_secs(1);

/// Why processes are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    List,
    /// mosd itself looks where processes are.
    Look,
    /// To find whose process it is.
    Move {
        pid: i32,
        to: Target,
        wait: bool,
    },
}

/// A process and the client that answers for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub owner: usize,
    pub info: ProcInfo,
}

/// Processes are being collected for `asker`.
pub struct Listing {
    pub asker: usize,
    pub purpose: Purpose,
    missing: HashSet<usize>,
    pub procs: Vec<Owned>,
    until: Instant,
}

impl Listing {
    /// All have answered.
    pub fn complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// An order that `owner` carries out and `asker` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub asker: usize,
    pub owner: usize,
}

/// An order for a process that no warden speaks for yet: it is being started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Early {
    pub asker: usize,
    pub purpose: Purpose,
    until: Instant,
}

/// All questions that are open.
#[derive(Default)]
pub struct Questions {
    last: u64,
    early: Vec<Early>,
    listings: HashMap<u64, Listing>,
    orders: HashMap<u64, Order>,
}

impl Questions {
    /// Opens a listing that `owners` are to answer; its number.
    pub fn list(&mut self, asker: usize, purpose: Purpose, owners: &[usize], now: Instant) -> u64 {
        self.last += 1;
        let missing = owners.iter().copied().collect();
        let listing = Listing {
            asker,
            purpose,
            missing,
            procs: Vec::new(),
            until: now + LIST_WAIT,
        };
        self.listings.insert(self.last, listing);
        self.last
    }

    /// `owner` answers listing `id`.
    pub fn mine(&mut self, id: u64, owner: usize, procs: Vec<ProcInfo>) {
        if let Some(listing) = self.listings.get_mut(&id)
            && listing.missing.remove(&owner)
        {
            listing
                .procs
                .extend(procs.into_iter().map(|info| Owned { owner, info }));
        }
    }

    /// The listings that are finished: all have answered, the process was found, or time is over.
    pub fn finished(&mut self, now: Instant) -> Vec<Listing> {
        let done = |listing: &Listing| {
            let found = match listing.purpose {
                Purpose::List | Purpose::Look => false,
                Purpose::Move { pid, .. } => {
                    listing.procs.iter().any(|owned| owned.info.pid == pid)
                }
            };
            listing.missing.is_empty() || listing.until <= now || found
        };
        let ids: Vec<u64> = self
            .listings
            .iter()
            .filter(|(_, listing)| done(listing))
            .map(|(id, _)| *id)
            .collect();
        ids.iter()
            .filter_map(|id| self.listings.remove(id))
            .collect()
    }

    /// An order has come before its process is known: it is asked for again when a warden registers, but not after `until`.
    pub fn postpone(&mut self, asker: usize, purpose: Purpose, until: Instant) {
        self.early.push(Early {
            asker,
            purpose,
            until,
        });
    }

    /// A warden has registered: the orders that may be for a process of its.
    pub fn early(&mut self) -> Vec<Early> {
        std::mem::take(&mut self.early)
    }

    /// The early orders whose time is over.
    pub fn overdue(&mut self, now: Instant) -> Vec<Early> {
        self.early
            .extract_if(.., |early| early.until <= now)
            .collect()
    }

    /// `asker` waits for what becomes of an order to `owner`; its number.
    pub fn order(&mut self, asker: usize, owner: usize) -> u64 {
        self.last += 1;
        self.orders.insert(self.last, Order { asker, owner });
        self.last
    }

    /// A number for an order that nobody waits for.
    pub fn unasked(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// `owner` says what became of order `id`: who wants to know.
    pub fn moved(&mut self, id: u64, owner: usize) -> Option<usize> {
        if self.orders.get(&id)?.owner != owner {
            return None;
        }
        self.orders.remove(&id).map(|order| order.asker)
    }

    /// `client` is gone: those who wait for an order of its, to be told.
    pub fn client_gone(&mut self, client: usize) -> Vec<usize> {
        self.early.retain(|early| early.asker != client);
        self.listings.retain(|_, listing| listing.asker != client);
        for listing in self.listings.values_mut() {
            listing.missing.remove(&client);
            listing.procs.retain(|owned| owned.owner != client);
        }
        self.orders.retain(|_, order| order.asker != client);
        let orphans = self
            .orders
            .values()
            .filter(|order| order.owner == client)
            .map(|order| order.asker)
            .collect();
        self.orders.retain(|_, order| order.owner != client);
        orphans
    }

    /// When a listing runs out of time.
    pub fn next_deadline(&self) -> Option<Instant> {
        let listings = self.listings.values().map(|listing| listing.until);
        let early = self.early.iter().map(|early| early.until);
        listings.chain(early).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::{Frozen, Place};

    fn info(pid: i32) -> ProcInfo {
        ProcInfo {
            pid,
            uid: 0,
            place: Place::Home,
            from: None,
            origpid: None,
            frozen: Frozen::No,
            nmigs: 0,
            stays: None,
            locked: false,
            cpu_away_ns: 0,
        }
    }

    #[test]
    fn a_list_is_whole_when_all_have_answered() {
        let now = Instant::now();
        let mut questions = Questions::default();
        let id = questions.list(1, Purpose::List, &[2, 3], now);
        questions.mine(id, 2, vec![info(10)]);
        questions.mine(id, 2, vec![info(66)]);
        assert!(questions.finished(now).is_empty());
        questions.mine(id, 3, vec![info(11), info(12)]);
        let listing = questions.finished(now).pop().unwrap();
        assert_eq!(
            listing
                .procs
                .iter()
                .map(|owned| owned.info.pid)
                .collect::<Vec<_>>(),
            [10, 11, 12]
        );
    }

    #[test]
    fn the_slow_and_the_dead_are_left_out() {
        let now = Instant::now();
        let mut questions = Questions::default();
        questions.list(1, Purpose::List, &[2, 3], now);
        questions.client_gone(3);
        assert!(questions.finished(now).is_empty());
        assert_eq!(questions.finished(now + LIST_WAIT).len(), 1);
        questions.list(1, Purpose::List, &[2], now);
        questions.client_gone(1);
        assert_eq!(questions.next_deadline(), None);
    }

    #[test]
    fn a_search_ends_when_it_has_found() {
        let now = Instant::now();
        let mut questions = Questions::default();
        let id = questions.list(
            1,
            Purpose::Move {
                pid: 11,
                to: Target::Home,
                wait: true,
            },
            &[2, 3],
            now,
        );
        questions.mine(id, 3, vec![info(11)]);
        assert_eq!(questions.finished(now)[0].procs[0].owner, 3);
    }

    #[test]
    fn an_early_order_waits_for_a_warden_or_its_time() {
        let now = Instant::now();
        let mut questions = Questions::default();
        questions.postpone(1, Purpose::List, now + LIST_WAIT);
        questions.postpone(2, Purpose::List, now + LIST_WAIT);
        assert!(questions.overdue(now).is_empty());
        assert_eq!(questions.next_deadline(), Some(now + LIST_WAIT));
        questions.client_gone(1);
        let early = questions.early();
        assert_eq!(early.len(), 1);
        assert_eq!(early[0].asker, 2);
        assert!(questions.early().is_empty());
        questions.postpone(3, Purpose::List, now);
        assert_eq!(questions.overdue(now)[0].asker, 3);
        assert_eq!(questions.next_deadline(), None);
    }

    #[test]
    fn orders_are_answered_by_their_owner_only() {
        let mut questions = Questions::default();
        let id = questions.order(1, 2);
        assert_eq!(questions.moved(id, 3), None);
        assert_eq!(questions.moved(id, 2), Some(1));
        assert_eq!(questions.moved(id, 2), None);
        questions.order(1, 2);
        assert_eq!(questions.client_gone(2), [1]);
    }
}
