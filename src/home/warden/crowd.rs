//! Trees of many processes: what concerns all of them is done bit by bit, so that nobody waits long for the warden meanwhile.

use std::net::Ipv4Addr;

use crate::home::warden::state::{Moving, Warden};
use crate::sys::unix;
use crate::wire::control::{Frozen, Place, Target};

/// More movers than this do not take processes out of home at once: each is a process, and they share the same processors and link.
const MOST_LEAVING: usize = 32;
/// So many are told to move before whatever else has come is served.
const AT_ONCE: usize = 8;

/// An order to shake that is being carried out.
#[derive(Default)]
pub struct Shaking {
    nodes: Vec<Ipv4Addr>,
    /// Those that have not been told yet.
    left: Vec<i32>,
}

impl Shaking {
    pub fn goes_on(&self) -> bool {
        !self.left.is_empty()
    }
}

impl Warden {
    /// Every process that can move goes to a random place other than where it is. An order that comes before the last one is carried out
    /// adds nothing to it.
    pub fn shake(&mut self, nodes: Vec<Ipv4Addr>) {
        self.shaking.nodes = nodes;
        if !self.shaking.goes_on() {
            self.refresh();
            self.shaking.left = self.procs.keys().copied().collect();
        }
    }

    /// Some more of them are told.
    pub fn shake_some(&mut self) {
        let rest = self.shaking.left.len().saturating_sub(AT_ONCE);
        for pid in self.shaking.left.split_off(rest) {
            if let Some(to) = self.another_place(pid) {
                self.order(pid, Moving::new(None, to));
            }
        }
    }

    fn another_place(&self, pid: i32) -> Option<Target> {
        let proc = self.procs.get(&pid)?;
        if proc.native || proc.moving.is_some() || proc.frozen != Frozen::No {
            return None;
        }
        let other = |node: &&Ipv4Addr| **node != self.me && proc.place != Place::Away(**node);
        let nodes = self.shaking.nodes.iter().filter(other);
        let home = (proc.place != Place::Home).then_some(Target::Home);
        let places: Vec<Target> = nodes.map(|node| Target::Node(*node)).chain(home).collect();
        let count = places.len() as u64;
        (count > 0).then(|| places[(unix::random_u64() % count) as usize])
    }

    /// Enough are leaving home.
    pub fn is_busy(&self) -> bool {
        let leaving = self.movers.values().filter(|mover| mover.out.is_some());
        leaving.count() >= MOST_LEAVING
    }

    /// A mover has ended: who waits to leave does.
    pub fn let_depart(&mut self) {
        while !self.is_busy()
            && let Some(pid) = self.departures.pop_front()
        {
            self.order_again(pid);
        }
    }
}
