//! Programs that are about to start, and where (`mosrun -b`, `mosbestnode`).

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use super::server::Server;
use crate::balance::{Bound, Choice, Granted, Place, Process};
use crate::wire::control::FromMosd;

/// Nodes that are asked before the program starts here.
const QUESTIONS: u32 = 8;

/// One that waits for its node.
#[derive(Debug)]
struct Start {
    asker: usize,
    memory: u32,
    bound: Bound,
    wait: bool,
    /// Others are to know that it will be there soon.
    starts: bool,
    view: Vec<Place>,
    questions: u32,
    /// An answer is due; otherwise no node has the memory.
    asked: Option<Ipv4Addr>,
}

/// All that wait.
#[derive(Default)]
pub struct Starts {
    last: u64,
    waiting: HashMap<u64, Start>,
}

impl Starts {
    /// A client is gone: nobody wants to know.
    pub fn client_gone(&mut self, client: usize) {
        self.waiting.retain(|_, start| start.asker != client);
    }
}

impl Server {
    /// A tool asks for the best node.
    pub(super) fn best(
        &mut self,
        asker: usize,
        (memory, bound): (u32, Bound),
        wait: bool,
        starts: bool,
    ) {
        let now = Instant::now();
        let view = self.view(now);
        self.balancing.starts.last += 1;
        let id = self.balancing.starts.last;
        let start = Start {
            asker,
            memory,
            bound,
            wait,
            starts,
            view,
            questions: 0,
            asked: None,
        };
        self.balancing.starts.waiting.insert(id, start);
        self.place_start(id, now);
    }

    fn tell_best(&mut self, asker: usize, node: Option<Ipv4Addr>) {
        let info = node.map(|node| self.node_info(node));
        self.send(asker, &FromMosd::Node(info), None);
    }

    fn place_start(&mut self, id: u64, now: Instant) {
        let (here, time) = (self.own_place(), self.balancing.time(now));
        let Some(start) = self.balancing.starts.waiting.get_mut(&id) else {
            return;
        };
        start.questions += 1;
        if start.questions > QUESTIONS {
            // Everybody wants the same nodes: what is left is here, if it fits.
            start.view.clear();
        }
        let process = program(self.config.address, start.memory, start.bound);
        if !start.starts {
            let best = self
                .balancing
                .balancer
                .best_for(&here, &process, &start.view);
            if best.is_some() || !start.wait {
                self.start_at(id, best);
            }
            return;
        }
        let choice = self
            .balancing
            .balancer
            .place(id, &here, &process, &start.view, time);
        match choice {
            Choice::Ask(asking) => {
                start.asked = Some(asking.to);
                self.ask_node(&asking, now);
            }
            Choice::Here => self.start_at(id, Some(self.config.address)),
            Choice::Nowhere if start.wait => start.asked = None,
            Choice::Nowhere => self.start_at(id, None),
        }
    }

    fn start_at(&mut self, id: u64, node: Option<Ipv4Addr>) {
        if let Some(start) = self.balancing.starts.waiting.remove(&id) {
            self.tell_best(start.asker, node);
        }
    }

    pub(super) fn start_answered(&mut self, id: u64, granted: &Granted, now: Instant) {
        if granted.yes {
            return self.start_at(id, Some(granted.to));
        }
        if let Some(start) = self.balancing.starts.waiting.get_mut(&id) {
            // What it says itself is better than what was heard of it.
            let mut said = start
                .view
                .iter_mut()
                .filter(|place| place.node == granted.to);
            if let Some(place) = said.next() {
                place.running = granted.running;
                place.mem_free = granted.free;
            }
        }
        self.place_start(id, now);
    }

    pub(super) fn start_unanswered(&mut self, id: u64, now: Instant) {
        if let Some(start) = self.balancing.starts.waiting.get_mut(&id) {
            let silent = start.asked;
            start.view.retain(|place| Some(place.node) != silent);
            self.place_start(id, now);
        }
    }

    /// Those that wait for memory look again.
    pub(super) fn starts_again(&mut self, now: Instant) {
        let waiting = &self.balancing.starts.waiting;
        let idle = waiting.iter().filter(|(_, start)| start.asked.is_none());
        let ids: Vec<u64> = idle.map(|(id, _)| *id).collect();
        for id in ids {
            let view = self.view(now);
            if let Some(start) = self.balancing.starts.waiting.get_mut(&id) {
                start.view = view;
                start.questions = 0;
            }
            self.place_start(id, now);
        }
    }
}

/// A program of which nothing is known yet but the memory that it will need.
fn program(home: Ipv4Addr, memory: u32, bound: Bound) -> Process {
    Process {
        id: 0,
        home,
        cluster: 0,
        used: 0.0,
        demand: 1.0,
        memory: 0.0,
        needs: f64::from(memory),
        calls: 0.0,
        call_mb: 0.0,
        stayed: 0.0,
        movable: true,
        bound: Some(bound),
    }
}
