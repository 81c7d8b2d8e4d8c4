//! What the processors of other nodes offer: asked in notes, and kept for a while.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::server::Server;
use crate::balance::Word;
use crate::config::Config;
use crate::wire::codec;
use crate::wire::control::FromMosd;
use crate::wire::cpu::Cpu;

/// A node may be another machine after so long.
const FRESH: Duration = Duration::from_secs(60);
/// A question or its answer may get lost.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Questions in one turn.
const AT_ONCE: usize = 64;

/// What is known of processors.
pub struct Processors {
    own: Cpu,
    known: HashMap<Ipv4Addr, (Cpu, Instant)>,
    asked: HashMap<Ipv4Addr, Instant>,
}

impl Processors {
    /// As the configuration has this node seen.
    pub fn new(config: &Config) -> Processors {
        Processors {
            own: own(config),
            known: HashMap::new(),
            asked: HashMap::new(),
        }
    }

    /// Goes on with another configuration.
    pub fn follow(&mut self, config: &Config) {
        self.own = own(config);
    }

    /// This node.
    pub fn own(&self) -> Cpu {
        self.own
    }

    /// Another node, as it last said.
    pub fn of(&self, node: Ipv4Addr) -> Option<Cpu> {
        self.known.get(&node).map(|(cpu, _)| *cpu)
    }

    /// Whether it is time to ask a node, which then counts as asked.
    fn asks(&mut self, node: Ipv4Addr, now: Instant) -> bool {
        let since = |at: Instant| now.saturating_duration_since(at);
        let fresh = self
            .known
            .get(&node)
            .is_some_and(|(_, at)| since(*at) < FRESH);
        let waits = self
            .asked
            .get(&node)
            .is_some_and(|at| since(*at) < ASK_AGAIN);
        if fresh || waits {
            return false;
        }
        self.asked.insert(node, now);
        true
    }

    fn learn(&mut self, node: Ipv4Addr, cpu: Cpu, now: Instant) {
        self.asked.remove(&node);
        self.known.insert(node, (cpu, now));
    }
}

fn own(config: &Config) -> Cpu {
    let here = Cpu::here();
    here.without(&config.hidden).unwrap_or_else(|| {
        log::warn!(
            "{}: a word there is no feature of processors that programs depend on; nothing is hidden",
            config.paths.hidden().display()
        );
        here
    })
}

impl Server {
    /// Asks these nodes what they offer, as far as that is not known.
    pub(super) fn learn_processors(&mut self, nodes: impl Iterator<Item = Ipv4Addr>, now: Instant) {
        let unknown: Vec<Ipv4Addr> = nodes
            .filter(|node| self.processors.asks(*node, now))
            .take(AT_ONCE)
            .collect();
        let note = codec::encode(&Word::Cpu(self.processors.own, true));
        for node in unknown {
            self.neighbours.send_note(node, note.clone(), now);
        }
    }

    /// A node says what it offers, and may want to know the same.
    pub(super) fn processor_of(&mut self, node: Ipv4Addr, cpu: Cpu, asks: bool, now: Instant) {
        self.processors.learn(node, cpu, now);
        if asks {
            let note = codec::encode(&Word::Cpu(self.processors.own, false));
            self.neighbours.send_note(node, note, now);
        }
    }

    /// A tool asks what all nodes of this cluster that answer have in common.
    pub(super) fn common(&mut self, asker: usize) {
        let now = Instant::now();
        let me = self.config.address;
        let own_cluster = self.config.map.nodes();
        let nodes: Vec<Ipv4Addr> = own_cluster
            .filter(|node| *node != me && self.neighbours.alive(*node))
            .collect();
        self.learn_processors(nodes.iter().copied(), now);
        let known: Vec<Cpu> = nodes
            .iter()
            .filter_map(|node| self.processors.of(*node))
            .collect();
        let own = self.processors.own;
        let answer = FromMosd::Common {
            here: own,
            common: known.iter().fold(own, |common, cpu| common.common(cpu)),
            unknown: (nodes.len() - known.len()) as u32,
        };
        self.send(asker, &answer, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_asked_until_they_answer_and_then_not_for_a_while() {
        let (node, now) = (Ipv4Addr::new(10, 0, 0, 1), Instant::now());
        let mut processors = Processors {
            own: Cpu::default(),
            known: HashMap::new(),
            asked: HashMap::new(),
        };
        assert!(processors.asks(node, now));
        assert!(!processors.asks(node, now));
        assert!(processors.asks(node, now + ASK_AGAIN));
        processors.learn(node, Cpu::here(), now + ASK_AGAIN);
        assert!(!processors.asks(node, now + 2 * ASK_AGAIN));
        assert!(processors.asks(node, now + 2 * FRESH));
        assert_eq!(processors.of(node), Some(Cpu::here()));
    }
}
