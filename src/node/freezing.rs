//! Freezing: which processes of this node the policy freezes, and where their memory goes.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use std::time::Instant;

use super::server::Server;
use crate::balance::{Candidate, FreezeOrder, FreezeRules, Freezer, Place};
use crate::config::Member;
use crate::config::freeze::{FreezePolicy, LoadUnit};
use crate::sys::nameless::{self, as_user};
use crate::sys::unix;
use crate::wire::control::{FromMosd, Frozen, Outcome, Target, Weighed};

/// What mosd keeps for freezing.
#[derive(Default)]
pub struct Freezing {
    freezer: Freezer,
    /// Orders under way, and whose they are about.
    orders: HashMap<u64, u64>,
    /// Frozen processes, for whatever reason, when they were last counted.
    pub(super) count: usize,
    /// Those of them that the policy has frozen, and that wait until there is room.
    pub(super) waiting: usize,
}

fn rules(policy: &FreezePolicy) -> FreezeRules {
    FreezeRules {
        red: policy.red,
        blue: policy.blue,
        min_keep: policy.min_keep as usize,
        max_procs: policy.max_procs.map(|most| most as usize),
        slice: u64::from(policy.slice) * 60_000,
    }
}

/// What one process that computes adds to the load, in the unit of the marks.
fn unit(policy: &FreezePolicy, place: &Place) -> f64 {
    match policy.unit {
        LoadUnit::Processes => 1.0,
        LoadUnit::Standard => 1.0 / (place.cpus * place.speed),
    }
}

fn automatic(policy: &FreezePolicy) -> Target {
    let (why, kill) = (Frozen::Automatic, Some(policy.kill_memory));
    Target::Freeze { why, kill }
}

impl Server {
    /// Processes of this node must be weighed for the sake of freezing.
    pub(super) fn freezes(&self) -> bool {
        self.config.freeze.policy.is_some() || self.freezing.count > 0
    }

    /// So many processes that compute are as much as this node may have without freezing some.
    pub(super) fn red_mark(&self, place: &Place) -> f64 {
        let policy = self.config.freeze.policy.as_ref();
        let red = policy.and_then(|policy| Some(policy.red? / unit(policy, place)));
        red.unwrap_or(f64::INFINITY)
    }

    /// Guests leave rather than have processes of this node frozen, those of the lowest priority first, and of these those that came last. The number of processes that compute less.
    fn guests_leave(&mut self, place: &Place) -> f64 {
        let mut guests = self.guests_by_host();
        guests.sort_unstable_by_key(|(host, origin, _)| (origin.priority(), *host));
        let mut less = 0.0;
        while place.running - less > place.most
            && let Some((host, _, demand)) = guests.pop()
        {
            less += demand;
            self.send(host, &FromMosd::Evacuate, None);
        }
        less
    }

    /// `own`: this node's processes that are at home, each with its warden.
    pub(super) fn consider_freezing(
        &mut self,
        own: &[(usize, Weighed)],
        place: &Place,
        now: Instant,
    ) {
        let frozen = |frozen: Frozen| !matches!(frozen, Frozen::No | Frozen::NotApplicable);
        let count = own.iter().filter(|(_, weighed)| frozen(weighed.frozen));
        self.freezing.count = count.count();
        let waiting = own
            .iter()
            .filter(|(_, weighed)| weighed.frozen == Frozen::Automatic);
        self.freezing.waiting = waiting.count();
        let Some(policy) = self.config.freeze.policy else {
            return self.thaw_all(own);
        };
        let unit = unit(&policy, place);
        let candidates: Vec<Candidate> = own
            .iter()
            .filter(|(_, weighed)| matches!(weighed.frozen, Frozen::No | Frozen::Automatic))
            .map(|(_, weighed)| Candidate {
                id: weighed.pid as u64,
                frozen: weighed.frozen == Frozen::Automatic,
                freezable: weighed.freezable,
                demand: self.balancing.demand(weighed.pid),
            })
            .collect();
        let guests = self.guests_leave(place);
        let load = ((place.running - guests) * unit, unit);
        let time = self.balancing.time(now);
        let orders = self
            .freezing
            .freezer
            .consider(&rules(&policy), load, &candidates, time);
        for order in orders {
            let (id, to) = match order {
                FreezeOrder::Freeze(id) => (id, automatic(&policy)),
                FreezeOrder::Continue(id) => (id, Target::Continue),
            };
            self.order_frozen(own, id, to);
        }
    }

    /// Process `pid` of `warden` is being sent home by `from`: it is frozen at once if that is another cluster's and this node has enough
    /// to do. (Evacuated processes always come home, so the mark for those that come back to this cluster counts as well.)
    pub(super) fn evacuated(&mut self, warden: usize, pid: i32, from: Ipv4Addr) {
        let Some(policy) = self.config.freeze.policy else {
            return;
        };
        let place = self.own_place();
        let load = place.running * unit(&policy, &place);
        let reached = |mark: Option<f64>| mark.is_some_and(|mark| load >= mark);
        let abroad = !matches!(self.config.member(from), Some(Member::Own));
        if abroad && (reached(policy.home) || reached(policy.cluster)) {
            let (id, to) = (self.questions.unasked(), automatic(&policy));
            log::info!("process {pid} comes home from {from} and is frozen");
            self.send(warden, &FromMosd::Move { id, pid, to }, None);
        }
    }

    /// There is no policy any more: those that one has frozen go on, one in each look.
    fn thaw_all(&mut self, own: &[(usize, Weighed)]) {
        let frozen = |weighed: &Weighed| weighed.frozen == Frozen::Automatic && weighed.freezable;
        if let Some((_, weighed)) = own.iter().find(|(_, weighed)| frozen(weighed)) {
            self.order_frozen(own, weighed.pid as u64, Target::Continue);
        }
    }

    fn order_frozen(&mut self, own: &[(usize, Weighed)], id: u64, to: Target) {
        let Some((owner, _)) = own.iter().find(|(_, weighed)| weighed.pid as u64 == id) else {
            return;
        };
        let order = self.questions.unasked();
        self.freezing.orders.insert(order, id);
        log::info!("process {id}: {to:?}");
        let (id, pid) = (order, id as i32);
        self.send(*owner, &FromMosd::Move { id, pid, to }, None);
    }

    /// What became of an order of the policy.
    pub(super) fn freeze_moved(&mut self, order: u64, outcome: &Outcome) {
        let Some(id) = self.freezing.orders.remove(&order) else {
            return;
        };
        if let Outcome::Stayed(why) = outcome {
            log::info!("process {id}: {why}");
            let time = self.balancing.time(Instant::now());
            self.freezing.freezer.failed(id, time);
        }
    }

    /// A mover wants a file, after these directories were full.
    pub(super) fn freeze_file(&mut self, token: usize, tried: &[PathBuf]) {
        let mut tried = tried.to_vec();
        let user = self.config.freeze.uid.unwrap_or_else(unix::euid);
        let mut failed = None;
        while let Some(dir) = self.config.freeze.choose(&tried, unix::chance()) {
            match as_user(user, || nameless::create(&dir)) {
                Ok(file) => {
                    let answer = FromMosd::FreezeFile { dir: Some(dir) };
                    return self.send(token, &answer, Some(file.into()));
                }
                Err(error) => {
                    let why = format!("cannot freeze to {}: {error}", dir.display());
                    log::info!("{why}");
                    failed = Some(why);
                    tried.push(dir);
                }
            }
        }
        let answer = match failed {
            Some(why) => FromMosd::Error(why),
            None => FromMosd::FreezeFile { dir: None },
        };
        self.send(token, &answer, None);
    }
}
