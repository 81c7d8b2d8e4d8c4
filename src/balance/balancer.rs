//! One node's decisions: which process, where to, and when.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use super::model::{Costs, MEMORY_RESERVE, Place, Process};
use super::promises::{Answer, Ask, Promises};
use crate::gossip::Time;

/// Questions that are open, and moves that are under way, at most.
const MAX_OPEN: usize = 8;
/// After it has said that it takes none from there, a node is not asked again for so many milliseconds.
const SHUT: Time = 10_000;
/// A question without answer is given up after so many milliseconds.
const ANSWER_WAIT: Time = 1500;
/// A move that is not over after so many milliseconds does not count any more.
const MOVE_WAIT: Time = 60_000;
/// After a move, or a refusal of the kernel to have it moved, a process is let be for so many milliseconds.
const REST: Time = 30_000;
/// A process must have been here for so many times of what its move costs.
const STAY_FACTOR: f64 = 3.0;
/// The gain must be so many times the cost of the move, and such a share of the time that is left.
const GAIN_FACTOR: f64 = 1.0;
const GAIN_SHARE: f64 = 0.1;
/// A process must be worth so much more elsewhere.
const BETTER: f64 = 1.1;
/// What a target must offer, of what its report made one expect.
const AS_REPORTED: f64 = 0.95;
/// Seconds that a process is taken to gain at least when this node has no memory left.
const LEAST_GAIN: f64 = 0.1;
/// Processes that compute less of their time than this stay: they wait for something else.
const LEAST_DEMAND: f64 = 0.3;
/// What a place at home is worth where somebody would be frozen for it.
const FROZEN: f64 = 0.01;
/// What a node without memory is worth: it swaps.
const SWAPPING: f64 = 0.1;

/// What an open question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A running process.
    Move(u64),
    /// A program that waits for its start; the caller's number of it.
    Start(u64),
}

/// A question to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    pub to: Ipv4Addr,
    pub ask: Ask,
}

/// What was agreed, or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Granted {
    pub what: What,
    pub to: Ipv4Addr,
    pub yes: bool,
    /// Processes that run there, and its free megabytes, as the target says itself.
    pub running: f64,
    pub free: f64,
}

/// Where a program is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Here,
    Ask(Asking),
    /// No node has the memory.
    Nowhere,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    what: What,
    to: Ipv4Addr,
    home: Ipv4Addr,
    id: u32,
    until: Time,
}

/// One node's policy.
pub struct Balancer {
    costs: Costs,
    promises: Promises,
    asked: Vec<Open>,
    /// Processes on their way out: demand and memory, and until when they count as such.
    leaving: HashMap<u64, (f64, f64, Time)>,
    /// Until when a process is let be.
    resting: HashMap<u64, Time>,
    /// Nodes that take no processes of a home, and until when that is believed.
    shut: HashMap<(Ipv4Addr, Ipv4Addr), Time>,
    last: u32,
}

impl Balancer {
    pub fn new(costs: Costs) -> Balancer {
        Balancer {
            costs,
            promises: Promises::default(),
            asked: Vec::new(),
            leaving: HashMap::new(),
            resting: HashMap::new(),
            shut: HashMap::new(),
            last: 0,
        }
    }

    /// This node as it will be when all who are to come have come, and those have gone who are to go.
    pub fn expected(&self, here: &Place) -> Place {
        let mut place = self.promises.upon(here);
        for (demand, memory, _) in self.leaving.values() {
            place.running = (place.running - demand).max(0.0);
            place.mem_free += memory;
        }
        place
    }

    /// What to ask others, some processes being better off with them. `view`: other nodes, by fresh reports.
    pub fn consider(
        &mut self,
        here: &Place,
        processes: &[Process],
        view: &[Place],
        now: Time,
    ) -> Vec<Asking> {
        self.expire(now);
        let mut here = self.expected(here);
        let mut view: Vec<Place> = view.to_vec();
        let mut candidates: Vec<&Process> = processes
            .iter()
            .filter(|process| self.may_move(process))
            .collect();
        let mut asking = Vec::new();
        while self.asked.len() + self.leaving.len() < MAX_OPEN {
            let Some((at, to)) = self.best(&here, &candidates, &view) else {
                break;
            };
            let process = candidates.swap_remove(at);
            let place = view[to];
            let least = self
                .least_worth(&here, process, &place)
                .max(place.worth(0.0) * AS_REPORTED);
            asking.push(self.ask(What::Move(process.id), &place, process, least, now));
            view[to].running += process.demand;
            view[to].mem_free -= process.size();
            here.running -= process.demand;
            here.mem_free += process.memory;
        }
        asking
    }

    fn may_move(&self, process: &Process) -> bool {
        let asked = self
            .asked
            .iter()
            .any(|open| open.what == What::Move(process.id));
        let busy = asked
            || self.leaving.contains_key(&process.id)
            || self.resting.contains_key(&process.id);
        process.movable
            && !busy
            && process.stayed >= STAY_FACTOR * self.costs.of_moving(process.memory)
    }

    /// What one of the processes is worth at this node; next to nothing when memory is exhausted.
    fn worth_here(&self, here: &Place) -> f64 {
        let share = if swaps(here) { SWAPPING } else { 1.0 };
        here.worth(-1.0) * share
    }

    /// What a process must be worth there at least, for its move to make sense. Its calls will travel, or do no longer; when this node has no
    /// memory left, that is the lesser evil.
    fn least_worth(&self, here: &Place, process: &Process, there: &Place) -> f64 {
        let ratio = if swaps(here) {
            1.0
        } else {
            process.away(here, &self.costs) / process.away(there, &self.costs)
        };
        self.worth_here(here) * ratio * BETTER
    }

    /// The process and the place with the greatest gain.
    fn best(
        &self,
        here: &Place,
        candidates: &[&Process],
        view: &[Place],
    ) -> Option<(usize, usize)> {
        let short = MEMORY_RESERVE * here.mem_total - here.mem_free;
        let mut best: Option<((bool, f64), usize, usize)> = None;
        for (at, process) in candidates.iter().enumerate() {
            for (to, place) in view.iter().enumerate() {
                let Some(mut gain) = self.gain(here, process, place) else {
                    continue;
                };
                let mut suffices = false;
                if here.mem_total > 0.0 && short > 0.0 {
                    // Memory first: the smallest that suffices, else the largest.
                    let relief = process.memory / short;
                    suffices = relief >= 1.0;
                    gain *= if suffices {
                        1.0 / relief
                    } else {
                        relief * relief
                    };
                }
                let value = (suffices, gain);
                if best.is_none_or(|(other, ..)| value > other) {
                    best = Some((value, at, to));
                }
            }
        }
        best.map(|(_, at, to)| (at, to))
    }

    /// Seconds that a process gains by a move, if that is worth it.
    fn gain(&self, here: &Place, process: &Process, place: &Place) -> Option<f64> {
        if !self.takes(place, process) || place.node == here.node {
            return None;
        }
        if process.demand < LEAST_DEMAND && !swaps(here) {
            return None;
        }
        let stay = self.worth_here(here) * process.away(here, &self.costs);
        let go = place.worth(0.0) * process.away(place, &self.costs);
        if place.worth(0.0) < self.least_worth(here, process, place) {
            return None;
        }
        let cost = self.costs.of_moving(process.memory);
        let left = process.left();
        let (stay, go) = (left / stay, cost + left / go);
        let gain = stay - go;
        if swaps(here) {
            // Whatever it gains itself: the others gain.
            return Some(gain.max(LEAST_GAIN));
        }
        (gain > GAIN_FACTOR * cost && gain > GAIN_SHARE * stay).then_some(gain)
    }

    fn ask(
        &mut self,
        what: What,
        place: &Place,
        process: &Process,
        worth: f64,
        now: Time,
    ) -> Asking {
        self.last = self.last.wrapping_add(1);
        self.asked.push(Open {
            what,
            to: place.node,
            home: process.home,
            id: self.last,
            until: now + ANSWER_WAIT,
        });
        Asking {
            to: place.node,
            ask: Ask {
                id: self.last,
                demand: (process.demand * 1000.0) as u16,
                memory: process.size().ceil() as u32,
                start: matches!(what, What::Start(_)),
                home: process.home,
                worth: (worth * 1000.0) as u32,
            },
        }
    }

    /// The best node for a program by what is known, this one if it is as good; nobody is asked.
    pub fn best_for(&self, here: &Place, process: &Process, view: &[Place]) -> Option<Ipv4Addr> {
        let home = self.expected(here);
        let at_home = rate_at_home(&home, process);
        match self.best_start(here, process, view) {
            Some(place) if start_rate(place, process) > at_home * BETTER => Some(place.node),
            _ => (at_home > 0.0).then_some(here.node),
        }
    }

    /// Where a program gets most, of other nodes.
    fn best_start<'a>(
        &self,
        here: &Place,
        process: &Process,
        view: &'a [Place],
    ) -> Option<&'a Place> {
        let usable = view
            .iter()
            .filter(|place| place.node != here.node && self.takes(place, process));
        let rate = |place: &Place| start_rate(place, process);
        usable.max_by(|a, b| rate(a).total_cmp(&rate(b)))
    }

    /// As far as is known, the process may go to that node, and there is room.
    fn takes(&self, place: &Place, process: &Process) -> bool {
        let shut = self.shut.contains_key(&(place.node, process.home));
        !shut
            && !place.blocked
            && process.may_go(place)
            && fits(place, process)
            && place.below_mark(process.demand)
    }

    /// Where a program is best started; `process` is what is known of it.
    pub fn place(
        &mut self,
        start: u64,
        here: &Place,
        process: &Process,
        view: &[Place],
        now: Time,
    ) -> Choice {
        let home = self.expected(here);
        let Some(best) = self.best_for(here, process, view) else {
            return Choice::Nowhere;
        };
        match view
            .iter()
            .find(|place| place.node == best && best != here.node)
        {
            Some(place) => {
                let least = (rate_at_home(&home, process) * BETTER / process.abroad(place))
                    .max(place.rate(1.0) * AS_REPORTED);
                Choice::Ask(self.ask(What::Start(start), place, process, least, now))
            }
            None => {
                // As if it had been asked for: others are not to take the place meanwhile.
                let ask = Ask {
                    id: 0,
                    demand: 1000,
                    memory: process.size() as u32,
                    start: true,
                    home: here.node,
                    worth: 0,
                };
                self.promises.promise(here.node, ask, now);
                Choice::Here
            }
        }
    }

    /// Another node asks.
    pub fn asked(&mut self, from: Ipv4Addr, ask: &Ask, here: &Place, now: Time) -> Answer {
        // Those who are to leave are not gone yet: they may have to stay.
        self.promises.asked(from, ask, here, now)
    }

    /// Another node answers; `None` if nobody has asked it, or no longer waits.
    pub fn answered(&mut self, from: Ipv4Addr, answer: &Answer, now: Time) -> Option<Granted> {
        let at = self
            .asked
            .iter()
            .position(|open| open.id == answer.id && open.to == from)?;
        let open = self.asked.swap_remove(at);
        if answer.shut {
            self.shut.insert((from, open.home), now + SHUT);
        }
        Some(Granted {
            what: open.what,
            to: from,
            yes: answer.yes,
            running: f64::from(answer.running) / 100.0,
            free: f64::from(answer.free),
        })
    }

    /// The move of a process begins.
    pub fn leaves(&mut self, process: &Process, now: Time) {
        let leaving = (process.demand, process.memory, now + MOVE_WAIT);
        self.leaving.insert(process.id, leaving);
    }

    /// It has left, or could not: then it is let be for a while.
    pub fn left(&mut self, process: u64, gone: bool, now: Time) {
        self.leaving.remove(&process);
        if !gone {
            self.resting.insert(process, now + REST);
        }
    }

    /// A process has come, or was started here: a promise is kept.
    pub fn arrived(&mut self) {
        self.promises.kept();
    }

    /// Forgets what is no longer valid; the starts that wait for an answer in vain.
    pub fn expire(&mut self, now: Time) -> Vec<What> {
        self.promises.expire(now);
        self.leaving.retain(|_, (.., until)| *until > now);
        self.resting.retain(|_, until| *until > now);
        self.shut.retain(|_, until| *until > now);
        let late = |open: &Open| open.until <= now;
        let lost = self
            .asked
            .iter()
            .filter(|open| late(open))
            .map(|open| open.what)
            .collect();
        self.asked.retain(|open| !late(open));
        lost
    }
}

/// Memory is as good as used up.
fn swaps(here: &Place) -> bool {
    here.mem_total > 0.0 && here.mem_free < MEMORY_RESERVE / 2.0 * here.mem_total
}

/// What a program that starts gets at another node.
fn start_rate(place: &Place, process: &Process) -> f64 {
    place.rate(1.0) * process.abroad(place)
}

/// What it gets at its home: nothing where its memory is not, next to nothing where it, or another, would be frozen.
fn rate_at_home(home: &Place, process: &Process) -> f64 {
    match (fits(home, process), home.below_mark(process.demand)) {
        (false, _) => 0.0,
        (true, false) => home.rate(1.0) * FROZEN,
        (true, true) => home.rate(1.0),
    }
}

/// It can be there, and the memory suffices, as far as it is known.
fn fits(place: &Place, process: &Process) -> bool {
    let room = place.mem_total == 0.0 || process.size() <= place.room();
    room && (process.home == place.node || place.suits(process.bound.as_ref()))
}

#[cfg(test)]
mod tests;
