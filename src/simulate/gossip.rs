//! A network of gossiping nodes. Messages arrive at once (a local network is much faster than the unit of time) or are lost.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::random::Random;
use super::theory::Theory;
use crate::gossip::{Gossip, Item, Load, Message, Standing, Time, UNIT, WINDOW};

/// What to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub nodes: usize,
    /// Share of datagrams that are lost.
    pub loss: f64,
    pub seed: u64,
}

/// How old what the nodes know is, in seconds.
#[derive(Clone, Debug)]
pub struct Ages {
    /// Sorted.
    sample: Vec<f64>,
}

impl Ages {
    pub fn mean(&self) -> f64 {
        self.sample.iter().sum::<f64>() / self.sample.len().max(1) as f64
    }

    /// The age that this share of the reports does not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let at = (share * self.sample.len() as f64) as usize;
        self.sample
            .get(at.min(self.sample.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0.0)
    }

    /// Share of the reports that are not older.
    pub fn not_older(&self, age: f64) -> f64 {
        self.sample.partition_point(|other| *other <= age) as f64 / self.sample.len().max(1) as f64
    }
}

/// When a node's death is noticed, in seconds after it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noticed {
    pub first: f64,
    pub half: f64,
    /// By 99 of 100 nodes, and by all.
    pub most: f64,
    pub all: f64,
}

/// What came of a simulation.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub ages: Ages,
    pub messages_per_second: f64,
    pub bytes_per_second: f64,
    /// The most of any node.
    pub most_bytes_per_second: f64,
    pub death: Noticed,
    /// Times that a node which is up was missed by some node, per node and hour.
    pub mistakes: f64,
    /// Share of what one half knew of the other that was still taken for up at the end of a minute apart.
    pub unaware: f64,
    /// Seconds from the end of the separation until all know that 99 of 100 are up, and all.
    pub healed: (f64, f64),
}

/// The mathematical expectation for a setting, in units of the gossip.
pub fn expectation(setting: &Setting) -> Theory {
    Theory {
        nodes: setting.nodes as f64,
        window: WINDOW as f64,
        loss: setting.loss,
    }
}

/// Simulates one setting: steady state, a death, and a minute of two halves apart.
pub fn simulate(setting: &Setting) -> Outcome {
    let mut network = Network::new(setting);
    let unit = UNIT as f64 / 1000.0;
    // Long enough that nothing is left of the beginning.
    let settle = (4.0 * expectation(setting).mean_age() * unit).max(30.0);
    network.run_for((settle * 1000.0) as Time);
    let traffic = network.traffic(20_000);
    let ages = network.ages();
    let mistakes = network.mistakes(20_000) * 180.0;
    let death = network.kill(setting.nodes / 2);
    let (unaware, healed) = network.separate(60_000);
    Outcome {
        ages,
        messages_per_second: traffic.0,
        bytes_per_second: traffic.1,
        most_bytes_per_second: traffic.2,
        death,
        mistakes,
        unaware,
        healed,
    }
}

/// Bytes of a datagram with so many entries, as mosd sends it.
fn datagram(items: usize) -> usize {
    let item = Item {
        node: Ipv4Addr::LOCALHOST,
        life: 0,
        count: 0,
        age: 0,
        down: false,
        info: Load::default(),
    };
    let message = Message {
        from: Ipv4Addr::LOCALHOST,
        to: Ipv4Addr::LOCALHOST,
        life: 0,
        echo: 0,
        sequence: 0,
        answer: false,
        note: None,
        items: vec![item; items],
    };
    message.seal(b"").len()
}

/// The address of the simulated node `at`.
pub(super) fn address(at: usize) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + at as u32)
}

struct Network {
    parts: Vec<Gossip<()>>,
    turns: BinaryHeap<Reverse<(Time, usize)>>,
    now: Time,
    loss: f64,
    random: Random,
    dead: Option<usize>,
    halved: bool,
    sent: Vec<(u64, u64)>,
    /// Length of a datagram without entries, and of one entry.
    lengths: (usize, usize),
}

impl Network {
    /// Nodes that know of each other.
    fn new(setting: &Setting) -> Network {
        let nodes: Arc<[Ipv4Addr]> = (0..setting.nodes).map(address).collect();
        let mut random = Random::new(setting.seed);
        let start = 1_000_000;
        let mut parts: Vec<Gossip<()>> = Vec::with_capacity(setting.nodes);
        let mut turns = BinaryHeap::new();
        for (at, node) in nodes.iter().enumerate() {
            let phase = random.below(UNIT as usize) as Time;
            parts.push(Gossip::new(*node, nodes.clone(), 1, start + phase));
            turns.push(Reverse((start + phase, at)));
        }
        let empty = datagram(0);
        let mut network = Network {
            parts,
            turns,
            now: start,
            loss: setting.loss,
            random,
            dead: None,
            halved: false,
            sent: vec![(0, 0); setting.nodes],
            lengths: (empty, datagram(1) - empty),
        };
        network.introduce(&nodes);
        network
    }

    /// All nodes hear of all others in one message, which no datagram could hold.
    fn introduce(&mut self, nodes: &[Ipv4Addr]) {
        let item = |node: &Ipv4Addr| Item {
            node: *node,
            life: 1,
            count: 1,
            age: 0,
            down: false,
            info: (),
        };
        let mut message = Message {
            from: nodes[0],
            to: nodes[0],
            life: 1,
            echo: 1,
            sequence: 0,
            answer: false,
            note: None,
            items: nodes.iter().map(item).collect(),
        };
        for (at, part) in self.parts.iter_mut().enumerate() {
            message.from = nodes[usize::from(at == 0)];
            message.to = nodes[at];
            part.receive(&message, self.now);
        }
    }

    fn run_for(&mut self, span: Time) {
        let until = self.now + span;
        while let Some(Reverse((time, at))) = self.turns.peek().copied() {
            if time > until {
                break;
            }
            self.turns.pop();
            self.now = self.now.max(time);
            if self.dead == Some(at) {
                continue;
            }
            let random = &mut self.random;
            let messages = self.parts[at].tick(self.now, &mut || random.bits());
            self.turns.push(Reverse((self.parts[at].next_tick(), at)));
            for message in messages {
                self.carry(message);
            }
        }
        self.now = until;
    }

    /// Carries a message, and what answers it.
    fn carry(&mut self, message: Message<()>) {
        let mut next = Some(message);
        while let Some(message) = next.take() {
            let from = number(message.from);
            let to = number(message.to);
            let bytes = self.lengths.0 + message.items.len() * self.lengths.1;
            self.sent[from].0 += 1;
            self.sent[from].1 += bytes as u64;
            let half = self.parts.len() / 2;
            let cut = self.halved && (from < half) != (to < half);
            let lost = self.random.unit() < self.loss;
            if !cut && !lost && self.dead != Some(to) {
                next = self.parts[to].receive(&message, self.now).0;
            }
        }
    }

    /// Messages and bytes that a node sends in a second, and the most bytes of any.
    fn traffic(&mut self, span: Time) -> (f64, f64, f64) {
        self.sent.fill((0, 0));
        self.run_for(span);
        let seconds = span as f64 / 1000.0;
        let per_node = seconds * self.sent.len() as f64;
        let messages: u64 = self.sent.iter().map(|sent| sent.0).sum();
        let bytes: u64 = self.sent.iter().map(|sent| sent.1).sum();
        let most = self.sent.iter().map(|sent| sent.1).max().unwrap_or(0);
        (
            messages as f64 / per_node,
            bytes as f64 / per_node,
            most as f64 / seconds,
        )
    }

    /// A sample of how old what nodes know of others is.
    fn ages(&mut self) -> Ages {
        let nodes = self.parts.len();
        let mut sample = Vec::new();
        // Moments apart, so that small clusters give enough.
        for _ in 0..(20_000 / (nodes * nodes.min(100))).clamp(1, 50) {
            self.run_for(1370);
            for at in 0..nodes {
                for _ in 0..nodes.min(100) {
                    let other = self.random.below(nodes);
                    let known = self.parts[at].known(address(other), self.now);
                    if let Some(known) = known.filter(|_| other != at) {
                        sample.push(known.age as f64 / 1000.0);
                    }
                }
            }
        }
        sample.sort_by(f64::total_cmp);
        Ages { sample }
    }

    fn missed_pairs(&self) -> usize {
        let nodes = self.parts.len();
        self.parts.iter().map(|part| nodes - part.up()).sum()
    }

    /// Nodes wrongly missed at some moments, per node and moment in this span.
    fn mistakes(&mut self, span: Time) -> f64 {
        let mut missed = 0;
        for _ in 0..20 {
            self.run_for(span / 20);
            missed += self.missed_pairs();
        }
        let nodes = self.parts.len() as f64;
        missed as f64 / 20.0 / nodes / nodes
    }

    /// Kills a node and watches the others notice.
    fn kill(&mut self, dead: usize) -> Noticed {
        self.dead = Some(dead);
        let from = self.now;
        let mut noticed = Noticed::default();
        let others = self.parts.len() - 1;
        while self.now < from + 600_000 {
            self.run_for(50);
            let down = |part: &&Gossip<()>| part.standing(address(dead)) == Standing::Down;
            // The dead one does not notice, nor does it count.
            let count = self.parts.iter().filter(down).count();
            let after = (self.now - from) as f64 / 1000.0;
            let reached = |share: f64, mark: &mut f64| {
                if *mark == 0.0 && count as f64 >= share * others as f64 {
                    *mark = after;
                }
            };
            reached(1.0 / others as f64, &mut noticed.first);
            reached(0.5, &mut noticed.half);
            reached(0.99, &mut noticed.most);
            reached(1.0, &mut noticed.all);
            if noticed.all > 0.0 {
                break;
            }
        }
        noticed
    }

    /// Two halves apart for `span`, then together again.
    fn separate(&mut self, span: Time) -> (f64, (f64, f64)) {
        self.halved = true;
        self.run_for(span);
        let living = self.parts.len() - usize::from(self.dead.is_some());
        let half = living / 2;
        let known: usize = self
            .parts
            .iter()
            .map(|part| part.up().saturating_sub(half))
            .sum();
        let unaware = known as f64 / (living * half) as f64;
        self.halved = false;
        let from = self.now;
        let mut healed = (0.0, 0.0);
        while healed.1 == 0.0 && self.now < from + 300_000 {
            self.run_for(250);
            let up = |part: (usize, &Gossip<()>)| (self.dead != Some(part.0)).then(|| part.1.up());
            let least = self
                .parts
                .iter()
                .enumerate()
                .filter_map(up)
                .min()
                .unwrap_or(0);
            let after = (self.now - from) as f64 / 1000.0;
            if healed.0 == 0.0 && least as f64 >= 0.99 * living as f64 {
                healed.0 = after;
            }
            if least >= living {
                healed.1 = after;
            }
        }
        (unaware, healed)
    }
}

fn number(node: Ipv4Addr) -> usize {
    (u32::from(node) - 0x0a00_0000) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_as_expected() {
        for (nodes, loss) in [(16, 0.0), (16, 0.5), (100, 0.0), (200, 0.1)] {
            let setting = Setting {
                nodes,
                loss,
                seed: 3,
            };
            let outcome = simulate(&setting);
            let theory = expectation(&setting);
            let unit = UNIT as f64 / 1000.0;
            let pairs = [
                (outcome.ages.mean(), theory.mean_age() * unit),
                (outcome.ages.quantile(0.5), theory.quantile(0.5) * unit),
            ];
            for (measured, expected) in pairs {
                // Under loss, those who ask again inform as well: then it is better than expected.
                let least = if loss == 0.0 { 0.8 } else { 0.5 };
                let ratio = measured / expected;
                assert!(
                    (least..1.15).contains(&ratio),
                    "{setting:?}: {measured} for {expected}"
                );
            }
        }
    }

    #[test]
    fn traffic_does_not_grow_and_deaths_are_noticed() {
        for nodes in [10, 100, 300] {
            let outcome = simulate(&Setting {
                nodes,
                loss: 0.01,
                seed: 4,
            });
            assert!(
                outcome.bytes_per_second < 6500.0,
                "{}",
                outcome.bytes_per_second
            );
            assert!(
                outcome.death.all > 0.0 && outcome.death.all < 12.0,
                "{:?}",
                outcome.death
            );
            assert_eq!(outcome.mistakes, 0.0, "{nodes} nodes");
            assert!(outcome.healed.1 < 60.0, "{:?}", outcome.healed);
        }
    }
}
