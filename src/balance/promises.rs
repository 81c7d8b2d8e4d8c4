//! What nodes ask each other before a process moves, and what they have promised.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::model::Place;
use crate::gossip::Time;
use crate::wire::cpu::Cpu;

/// A promise that nobody has made use of is void after so many milliseconds.
const VALID: Time = 4000;
/// Most promises at once.
const MAX_PROMISES: usize = 256;

/// May a process come?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The asker's number for it.
    pub id: u32,
    /// Share of its time that the process computes, in thousandths.
    pub demand: u16,
    /// Megabytes.
    pub memory: u32,
    /// It is a program that starts: what it gets itself counts, for most programs are short.
    pub start: bool,
    /// Its home: whose guest it would be.
    pub home: Ipv4Addr,
    /// What it must get there at least ([`Place::rate`]), or be worth ([`Place::worth`]); in thousandths.
    pub worth: u32,
}

/// What is said to such a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub id: u32,
    pub yes: bool,
    /// Processes of that home are not taken, whatever they offer.
    pub shut: bool,
    /// Processes that run there, promises included, in hundredths.
    pub running: u32,
    /// Megabytes that are free there, promises included.
    pub free: u32,
}

/// What the policies of two nodes say to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    Ask(Ask),
    Answer(Answer),
    /// What the sender's processor offers; and whether it wants to know the same of the receiver.
    Cpu(Cpu, bool),
}

#[derive(Clone, Copy, Debug)]
struct Promise {
    to: Ipv4Addr,
    ask: Ask,
    until: Time,
}

/// What this node has promised.
#[derive(Clone, Debug, Default)]
pub struct Promises(Vec<Promise>);

impl Promises {
    /// This node as it will be when all have come who were promised a place.
    pub fn upon(&self, here: &Place) -> Place {
        let mut place = *here;
        for promise in &self.0 {
            place.running += f64::from(promise.ask.demand) / 1000.0;
            place.mem_free -= f64::from(promise.ask.memory);
        }
        place
    }

    /// Says yes or no; a yes is a promise. The same question again gets the same answer. `here`: this node as processes of that home find
    /// it, and blocked if they may not come.
    pub fn asked(&mut self, from: Ipv4Addr, ask: &Ask, here: &Place, now: Time) -> Answer {
        self.expire(now);
        let same = |promise: &&mut Promise| promise.to == from && promise.ask.id == ask.id;
        if let Some(promise) = self.0.iter_mut().find(same) {
            promise.until = now + VALID;
            return self.answer(ask, true, here);
        }
        let place = self.upon(here);
        let fits = f64::from(ask.memory) <= place.room()
            && place.below_mark(f64::from(ask.demand) / 1000.0);
        let offer = if ask.start {
            place.rate(1.0)
        } else {
            place.worth(0.0)
        };
        let good = offer * 1000.0 >= f64::from(ask.worth);
        let yes = !place.blocked && fits && good && self.0.len() < MAX_PROMISES;
        if yes {
            self.promise(from, *ask, now);
        }
        self.answer(ask, yes, here)
    }

    fn answer(&self, ask: &Ask, yes: bool, here: &Place) -> Answer {
        let place = self.upon(here);
        Answer {
            id: ask.id,
            yes,
            shut: place.blocked,
            running: (place.running * 100.0) as u32,
            free: place.mem_free.max(0.0) as u32,
        }
    }

    pub fn promise(&mut self, to: Ipv4Addr, ask: Ask, now: Time) {
        self.0.push(Promise {
            to,
            ask,
            until: now + VALID,
        });
    }

    /// Somebody has come: the oldest promise is kept.
    pub fn kept(&mut self) {
        if !self.0.is_empty() {
            self.0.remove(0);
        }
    }

    pub fn expire(&mut self, now: Time) {
        self.0.retain(|promise| promise.until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn here() -> Place {
        Place {
            node: B,
            speed: 1.0,
            cpus: 2.0,
            running: 0.0,
            mem_total: 1000.0,
            mem_free: 500.0,
            blocked: false,
            cpu: None,
            most: f64::INFINITY,
            cluster: 0,
            ours: true,
        }
    }

    fn ask(id: u32, memory: u32, worth: u32) -> Ask {
        Ask {
            id,
            demand: 1000,
            memory,
            start: false,
            home: A,
            worth,
        }
    }

    #[test]
    fn a_herd_is_turned_away() {
        let mut promises = Promises::default();
        let answers: Vec<bool> = (0..6)
            .map(|id| promises.asked(A, &ask(id, 10, 500), &here(), 0).yes)
            .collect();
        // Two processors: a third program would take from both.
        assert_eq!(answers, [true, true, false, false, false, false]);
        assert!(promises.asked(A, &ask(9, 10, 250), &here(), 0).yes);
        // The same question is the same promise.
        assert!(promises.asked(A, &ask(0, 10, 500), &here(), 0).yes);
        assert_eq!(promises.upon(&here()).running, 3.0);
        promises.kept();
        assert_eq!(promises.upon(&here()).running, 2.0);
        promises.expire(VALID);
        assert_eq!(promises.upon(&here()), here());
    }

    #[test]
    fn memory_must_be_there() {
        let mut promises = Promises::default();
        assert!(!promises.asked(A, &ask(1, 460, 0), &here(), 0).yes);
        assert!(promises.asked(A, &ask(1, 440, 0), &here(), 0).yes);
        assert!(
            !promises.asked(A, &ask(2, 20, 0), &here(), 0).yes,
            "promised already"
        );
        let blocked = Place {
            blocked: true,
            ..here()
        };
        let answer = Promises::default().asked(A, &ask(1, 1, 0), &blocked, 0);
        assert!(!answer.yes && answer.shut);
    }

    #[test]
    fn nobody_comes_to_have_others_frozen() {
        let marked = Place {
            most: 1.5,
            ..here()
        };
        let mut promises = Promises::default();
        assert!(promises.asked(A, &ask(1, 1, 0), &marked, 0).yes);
        let answer = promises.asked(A, &ask(2, 1, 0), &marked, 0);
        assert!(!answer.yes && !answer.shut);
    }
}
