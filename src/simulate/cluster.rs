//! A simulated cluster: nodes that divide their processors among programs, and the policies that place and move these.

mod decide;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::gossip::address;
use super::random::Random;
use super::workload::Workload;
use crate::balance::{Balancer, Costs, Place, Process};
use crate::gossip::{Gossip, Load, UNIT};

/// Milliseconds between two considerations of a node.
const CONSIDER: u64 = 1000;
/// Reports that are older do not count, milliseconds.
const FRESH: u64 = 10_000;
/// Other nodes that are looked at.
const LOOK_AT: usize = 24;
/// Questions before a program is started at home.
const QUESTIONS: usize = 8;
/// Megabytes of a program that has just been started.
const START_MB: f64 = 4.0;
/// Share of its speed that a node keeps when it swaps.
const SWAPPING: f64 = 0.1;

/// How programs are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Where they are started.
    Home,
    /// On one node after the other.
    RoundRobin,
    /// Where they get most, everything being known at that moment; they stay there.
    Placed,
    /// As mosd does it: placed by what gossip tells, and moved.
    Balanced,
    /// Moved only.
    Moved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Up(usize),
    Arrival(usize),
    /// A program ends at a node, if nothing has changed there since.
    End(usize, u64),
    /// A program that was moved, or started elsewhere, is there.
    Landed(usize, usize),
    Gossip(usize),
    Consider(usize),
    Down(usize),
}

/// A program at a node.
#[derive(Clone, Copy, Debug)]
struct Running {
    job: usize,
    left: f64,
    came: f64,
    /// What is left of a rate here, calls considered.
    share: f64,
}

struct Node {
    speed: f64,
    cpus: f64,
    memory: f64,
    up: bool,
    running: Vec<Running>,
    /// Programs on their way to it.
    coming: usize,
    /// Until when the progress of the programs is counted.
    counted: f64,
    version: u64,
    gossip: Gossip<Load>,
    balancer: Balancer,
}

/// A cluster at work.
pub struct Cluster<'a> {
    workload: &'a Workload,
    policy: Policy,
    costs: Costs,
    nodes: Vec<Node>,
    /// Times in nanoseconds, so that they can be compared exactly.
    events: BinaryHeap<Reverse<(u64, Event)>>,
    now: f64,
    random: Random,
    turn: usize,
    left: Vec<f64>,
    pub ends: Vec<f64>,
    ended: usize,
    pub moves: usize,
    pub refusals: usize,
    pub restarts: usize,
}

impl<'a> Cluster<'a> {
    pub fn new(workload: &'a Workload, policy: Policy, seed: u64) -> Cluster<'a> {
        let addresses: Arc<[Ipv4Addr]> = (0..workload.nodes.len()).map(address).collect();
        let costs = Costs::default();
        let mut random = Random::new(seed);
        let nodes = workload.nodes.iter().enumerate().map(|(at, spec)| Node {
            speed: spec.speed,
            cpus: f64::from(spec.cpus),
            memory: spec.memory_mb,
            up: true,
            running: Vec::new(),
            coming: 0,
            counted: 0.0,
            version: 0,
            gossip: Gossip::new(
                address(at),
                addresses.clone(),
                1,
                random.below(UNIT as usize) as u64,
            ),
            balancer: Balancer::new(costs),
        });
        let nodes: Vec<Node> = nodes.collect();
        let mut cluster = Cluster {
            workload,
            policy,
            costs,
            nodes,
            events: BinaryHeap::new(),
            now: 0.0,
            random,
            turn: 0,
            left: workload.jobs.iter().map(|job| job.work).collect(),
            ends: vec![0.0; workload.jobs.len()],
            ended: 0,
            moves: 0,
            refusals: 0,
            restarts: 0,
        };
        cluster.prepare();
        cluster
    }

    /// Programs come when the nodes have known each other for a while.
    const WARM_UP: f64 = 30.0;

    fn prepare(&mut self) {
        let workload = self.workload;
        for (at, job) in workload.jobs.iter().enumerate() {
            self.at(Cluster::WARM_UP + job.arrival, Event::Arrival(at));
        }
        for outage in &workload.outages {
            self.at(Cluster::WARM_UP + outage.from, Event::Down(outage.node));
            self.at(Cluster::WARM_UP + outage.to, Event::Up(outage.node));
        }
        if self.informed() {
            for at in 0..self.nodes.len() {
                self.at(
                    self.nodes[at].gossip.next_tick() as f64 / 1000.0,
                    Event::Gossip(at),
                );
                let phase = self.random.unit();
                self.at(Cluster::WARM_UP + phase, Event::Consider(at));
            }
        }
    }

    fn informed(&self) -> bool {
        matches!(self.policy, Policy::Balanced | Policy::Moved)
    }

    fn at(&mut self, time: f64, event: Event) {
        self.events.push(Reverse(((time * 1e9) as u64, event)));
    }

    /// Runs until all programs have ended.
    pub fn run(&mut self) {
        while self.ended < self.workload.jobs.len() {
            let Some(Reverse((time, event))) = self.events.pop() else {
                break;
            };
            self.now = self.now.max(time as f64 / 1e9);
            self.happen(event);
        }
        for end in &mut self.ends {
            *end -= Cluster::WARM_UP;
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival(job) => self.arrive(job),
            Event::End(at, version) => {
                if self.nodes[at].version == version {
                    self.change(at, |_| {});
                }
            }
            Event::Landed(job, at) => self.land(job, at),
            Event::Gossip(at) => self.gossip(at),
            Event::Consider(at) => self.consider(at),
            Event::Down(at) => self.down(at),
            Event::Up(at) => self.nodes[at].up = true,
        }
    }

    fn milliseconds(&self) -> u64 {
        (self.now * 1000.0) as u64
    }

    /// Changes what runs at a node, and finds out who ends there next.
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Vec<Running>)) {
        let now = self.now;
        let rate = self.rate(at);
        let node = &mut self.nodes[at];
        let span = now - node.counted;
        node.counted = now;
        for running in &mut node.running {
            running.left -= rate * running.share * span;
        }
        let mut ended = Vec::new();
        node.running.retain(|running| {
            let over = running.left <= 1e-7;
            if over {
                ended.push(running.job);
            }
            !over
        });
        change(&mut node.running);
        node.version += 1;
        let version = node.version;
        for job in ended {
            self.ends[job] = now;
            self.ended += 1;
        }
        let rate = self.rate(at);
        let first = self.nodes[at]
            .running
            .iter()
            .map(|running| running.left / (rate * running.share));
        let first = first.fold(f64::INFINITY, f64::min);
        if first.is_finite() {
            self.at(now + first + 1e-9, Event::End(at, version));
        }
    }

    fn used_memory(&self, at: usize) -> f64 {
        self.nodes[at]
            .running
            .iter()
            .map(|running| self.workload.jobs[running.job].memory_mb)
            .sum()
    }

    fn rate(&self, at: usize) -> f64 {
        let node = &self.nodes[at];
        let share = node.cpus / (node.running.len() as f64).max(node.cpus);
        let swapping = if self.used_memory(at) > node.memory {
            SWAPPING
        } else {
            1.0
        };
        node.speed * share * swapping
    }

    fn place(&self, at: usize) -> Place {
        let node = &self.nodes[at];
        Place {
            node: address(at),
            speed: node.speed,
            cpus: node.cpus,
            running: node.running.len() as f64,
            mem_total: node.memory,
            mem_free: node.memory - self.used_memory(at),
            blocked: false,
            cpu: None,
            most: f64::INFINITY,
            cluster: 0,
            ours: true,
        }
    }

    fn load(&self, at: usize) -> Load {
        let node = &self.nodes[at];
        let place = node.balancer.expected(&self.place(at));
        let speed = (node.speed * f64::from(Load::STANDARD_SPEED)) as u32;
        Load {
            speed,
            cpus: node.cpus as u16,
            load: Load::standardized((place.running * 100.0) as u32, speed, node.cpus as u16),
            mem_total: node.memory as u32,
            mem_free: place.mem_free.max(0.0) as u32,
            ..Load::default()
        }
    }

    fn process(&self, running: &Running) -> Process {
        let job = &self.workload.jobs[running.job];
        Process {
            id: running.job as u64,
            home: address(job.home),
            cluster: 0,
            used: job.work - running.left,
            demand: 1.0,
            memory: job.memory_mb,
            needs: 0.0,
            calls: job.calls,
            call_mb: 0.0,
            stayed: self.now - running.came,
            movable: true,
            bound: None,
        }
    }
}

fn index(node: Ipv4Addr) -> usize {
    (u32::from(node) - 0x0a00_0000) as usize
}
