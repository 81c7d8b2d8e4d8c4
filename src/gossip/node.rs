//! One node's part in the gossip, as a machine: messages and the passing of time in, messages out.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::Time;
use super::message::{Item, MAX_NOTE, Message, WINDOW};
use super::sessions::Session;
use super::table::{Standing, Table};

/// The unit of time, in milliseconds: how often a node tells a random one.
pub const UNIT: Time = 500;
/// Entries of a message that may be changes rather than the newest reports.
const HOT: usize = 8;
/// How often a node that does not answer is asked before it is missed: at least, at most, and otherwise so often that the
/// share of answers that are lost makes a mistake as rare as this.
const TRIES: (f32, f32) = (4.0, 60.0);
const MISTAKES: f32 = 1e-6;
/// Weight of one question in the share of those that are answered.
const ANSWERED_WEIGHT: f32 = 1.0 / 64.0;
/// Least time between two answers to somebody who cannot be believed yet.
const ANSWER_EVERY: Time = 100;
/// So long after the start, many nodes are looked for at once.
const EAGER: Time = 5 * UNIT;
const EAGER_CALLS: usize = 64;

/// Something for the policy, with who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub from: Ipv4Addr,
    pub bytes: Vec<u8>,
}

/// What one node knows of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<I> {
    pub node: Ipv4Addr,
    /// Milliseconds since the report was made.
    pub age: Time,
    pub info: I,
}

/// The node that is to answer.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    node: u32,
    tries: u8,
}

/// What a message is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    /// The newest, and an answer is wanted.
    All,
    /// What has changed, and an answer is wanted.
    Little,
    /// The newest, in answer.
    Answer,
}

/// One node's part.
pub struct Gossip<I> {
    me: u32,
    life: u64,
    count: u32,
    sequence: u64,
    info: I,
    table: Table<I>,
    sessions: HashMap<u32, Session>,
    awaited: Option<Awaited>,
    /// Share of questions that are answered, of late.
    answered: f32,
    started: Time,
    next: Time,
    /// Where the search for nodes that have not been heard of goes on.
    search: u32,
}

impl<I: Copy + Default> Gossip<I> {
    /// The part of `me`, one of `nodes` (sorted, all different). `life` must be higher than that of any earlier mosd of this
    /// node: the time of day in nanoseconds is right.
    pub fn new(me: Ipv4Addr, nodes: Arc<[Ipv4Addr]>, life: u64, now: Time) -> Gossip<I> {
        let table = Table::new(nodes);
        let index = table.index(me);
        debug_assert!(index.is_some(), "a node must be in its own map");
        let mut gossip = Gossip {
            me: index.unwrap_or_default(),
            life: life.max(1),
            count: 0,
            sequence: 0,
            info: I::default(),
            table,
            sessions: HashMap::new(),
            awaited: None,
            answered: 0.95,
            started: now,
            next: now,
            search: index.unwrap_or_default(),
        };
        gossip.report(now);
        gossip
    }

    /// What this node tells of itself from now on.
    pub fn set_info(&mut self, info: I) {
        self.info = info;
    }

    /// When [`Gossip::tick`] is due.
    pub fn next_tick(&self) -> Time {
        self.next
    }

    /// A unit of time has passed: what is to be sent. `random` gives numbers of which each bit is as good as a coin.
    pub fn tick(&mut self, now: Time, random: &mut impl FnMut() -> u64) -> Vec<Message<I>> {
        // A node that was held up itself must not take others for dead because of it.
        let late = now > self.next + 2 * UNIT;
        self.next = if late { now } else { self.next } + UNIT;
        self.report(now);
        let mut messages = Vec::new();
        if let Some(node) = self.miss_or_ask_again(now, late) {
            messages.push(self.message(node, Telling::Little, now));
        }
        if let Some(node) = self.random_up(random) {
            messages.push(self.message(node, Telling::All, now));
            self.awaited.get_or_insert(Awaited { node, tries: 1 });
        }
        let calls = if now < self.started + EAGER {
            EAGER_CALLS
        } else {
            1
        };
        for node in self.missing(calls, random) {
            messages.push(self.message(node, Telling::Little, now));
        }
        messages
    }

    /// A new report of this node itself.
    fn report(&mut self, now: Time) {
        self.count = self.count.wrapping_add(1);
        let item = Item {
            node: self.table.node(self.me),
            life: self.life,
            count: self.count,
            age: 0,
            down: false,
            info: self.info,
        };
        self.table.merge(self.me, &item, now);
    }

    /// What becomes of the node that has not answered: it is asked again, once in each unit, and missed after enough times; it is
    /// let be when somebody else has heard of it since. The node to ask again.
    fn miss_or_ask_again(&mut self, now: Time, late: bool) -> Option<u32> {
        let most = self.tries();
        let awaited = self.awaited.as_mut()?;
        let (node, tries) = (awaited.node, awaited.tries);
        awaited.tries = if late { 1 } else { tries + 1 };
        let heard = self.table.age(node, now) + UNIT / 4 < UNIT * Time::from(tries);
        if self.table.standing(node) == Standing::Up && !heard && (late || tries < most) {
            return Some(node);
        }
        self.awaited = None;
        if self.table.standing(node) == Standing::Up {
            if heard {
                self.count_answers(tries, false);
            } else {
                self.table.miss(node, now);
            }
        }
        None
    }

    /// How often to ask before a node is missed.
    fn tries(&self) -> u8 {
        let tries = MISTAKES.ln() / (1.0 - self.answered).max(1e-6).ln();
        tries.clamp(TRIES.0, TRIES.1) as u8
    }

    fn count_answers(&mut self, questions: u8, answered: bool) {
        for _ in 0..questions {
            let now = if answered { 1.0 } else { 0.0 };
            self.answered += (now - self.answered) * ANSWERED_WEIGHT;
        }
    }

    /// A node that is up, at random; none when there is no other.
    fn random_up(&self, random: &mut impl FnMut() -> u64) -> Option<u32> {
        if self.table.up() < 2 {
            return None;
        }
        let len = self.table.len() as u64;
        let usable = |index: &u32| *index != self.me && self.table.standing(*index) == Standing::Up;
        // Most are up, mostly; else the first that is, from a random one on.
        let tried = (0..16).map(|_| (random() % len) as u32).find(usable);
        tried.or_else(|| {
            let from = random() % len;
            (0..len).map(|at| ((from + at) % len) as u32).find(usable)
        })
    }

    /// Some nodes that are not up: at first one after the other, then at random.
    fn missing(&mut self, most: usize, random: &mut impl FnMut() -> u64) -> Vec<u32> {
        let len = self.table.len() as u32;
        let there = self.table.len() - self.table.up();
        if most == 1 && there > 0 {
            self.search = (random() % u64::from(len)) as u32;
        }
        let mut found = Vec::new();
        for _ in 0..if there > 0 { len } else { 0 } {
            self.search = (self.search + 1) % len;
            if self.table.standing(self.search) != Standing::Up {
                found.push(self.search);
                if found.len() == most.min(there) {
                    break;
                }
            }
        }
        found
    }

    fn message(&mut self, node: u32, telling: Telling, now: Time) -> Message<I> {
        let heard = self.sessions.get(&node).map_or(0, |session| session.life);
        let echo = heard.max(self.table.life(node));
        self.sequence += 1;
        Message {
            from: self.table.node(self.me),
            to: self.table.node(node),
            life: self.life,
            echo,
            sequence: self.sequence,
            answer: telling != Telling::Answer,
            note: None,
            items: match telling {
                Telling::Little => self.table.window(self.me, HOT, HOT, now),
                _ => self.table.window(self.me, HOT, WINDOW, now),
            },
        }
    }

    /// A message with a note for the policy of `node`; none when the node is not in the map or the note is too long.
    pub fn message_with_note(
        &mut self,
        node: Ipv4Addr,
        note: Vec<u8>,
        now: Time,
    ) -> Option<Message<I>> {
        let index = self.table.index(node)?;
        let mut message = self.message(index, Telling::Answer, now);
        message.note = (note.len() <= MAX_NOTE).then_some(note);
        message.note.is_some().then_some(message)
    }

    /// Takes an authentic message: what is to be sent, and what came for the policy.
    pub fn receive(
        &mut self,
        message: &Message<I>,
        now: Time,
    ) -> (Option<Message<I>>, Option<Note>) {
        let Some(from) = self.table.index(message.from) else {
            return (None, None);
        };
        if from == self.me || message.to != self.table.node(self.me) {
            return (None, None);
        }
        let session = self.sessions.entry(from).or_default();
        if message.echo != self.life {
            // It does not know us, or this is old: tell it, believing nothing, and ask for an answer that can be believed.
            let answer = session.may_answer(now, ANSWER_EVERY).then(|| {
                let mut answer = self.message(from, Telling::All, now);
                answer.echo = message.life;
                answer
            });
            return (answer, None);
        }
        if !session.take(message.life, message.sequence) {
            return (None, None);
        }
        if let Some(awaited) = self.awaited.take_if(|awaited| awaited.node == from) {
            self.count_answers(awaited.tries.saturating_sub(1), false);
            self.count_answers(1, true);
        }
        for item in &message.items {
            self.learn(item, now);
        }
        let answer = message.answer.then(|| {
            self.table.skip(&message.items);
            self.message(from, Telling::Answer, now)
        });
        let note = message.note.clone().map(|bytes| Note {
            from: message.from,
            bytes,
        });
        (answer, note)
    }

    fn learn(&mut self, item: &Item<I>, now: Time) {
        let Some(index) = self.table.index(item.node) else {
            return;
        };
        if index != self.me {
            self.table.merge(index, item, now);
        } else if item.down || (item.life, item.count) > (self.life, self.count) {
            // Others miss us, or know of a life that a wrong clock has called later: we are here, and say so.
            if item.life > self.life || (item.life == self.life && item.count > self.count) {
                self.life = item.life + 1;
                self.count = 0;
            }
            self.report(now);
            self.table.heat(self.me);
        }
    }

    /// What `node` is taken for.
    pub fn standing(&self, node: Ipv4Addr) -> Standing {
        self.table
            .index(node)
            .map_or(Standing::Unknown, |index| self.table.standing(index))
    }

    /// The nodes that are up and of which a report not older than `age` milliseconds is known, this one included.
    pub fn view(&self, age: Time, now: Time) -> impl Iterator<Item = Known<I>> + '_ {
        (0..self.table.len() as u32).filter_map(move |index| {
            let known = Known {
                node: self.table.node(index),
                age: self.table.age(index, now),
                info: *self.table.info(index),
            };
            (self.table.standing(index) == Standing::Up && known.age <= age).then_some(known)
        })
    }

    /// What is known of one node that is up.
    pub fn known(&self, node: Ipv4Addr, now: Time) -> Option<Known<I>> {
        let index = self.table.index(node)?;
        (self.table.standing(index) == Standing::Up).then(|| Known {
            node,
            age: self.table.age(index, now),
            info: *self.table.info(index),
        })
    }

    /// Nodes that are up, this one included.
    pub fn up(&self) -> usize {
        self.table.up()
    }
}

#[cfg(test)]
mod tests;
