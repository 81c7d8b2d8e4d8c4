//! A simulated cluster: nodes that divide their processors among programs, and the policies that place and move these.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::gossip::address;
use super::random::Random;
use super::workload::{Job, Workload};
use crate::balance::{Asking, Balancer, Choice, Costs, Granted, Place, Process, What};
use crate::gossip::{Gossip, Load, Message, UNIT};

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
            used: job.work - running.left,
            demand: 1.0,
            memory: job.memory_mb,
            needs: 0.0,
            calls: job.calls,
            call_mb: 0.0,
            stayed: self.now - running.came,
            movable: true,
        }
    }

    fn arrive(&mut self, job: usize) {
        let Job {
            home, memory_mb, ..
        } = self.workload.jobs[job];
        let to = match self.policy {
            Policy::Home | Policy::Moved => home,
            Policy::RoundRobin => {
                self.turn += 1;
                let up = |at: &usize| self.nodes[*at].up;
                let count = self.nodes.len();
                (0..count)
                    .map(|at| (self.turn + at) % count)
                    .find(up)
                    .unwrap_or(home)
            }
            Policy::Placed => self.best_place(home, memory_mb),
            Policy::Balanced => self.ask_for_place(job, home),
        };
        if to == home {
            self.begin(job, home);
        } else {
            self.nodes[to].coming += 1;
            self.at(
                self.now + self.costs.of_moving(START_MB),
                Event::Landed(job, to),
            );
        }
    }

    /// The node where a program gets most at this moment, its memory considered.
    fn best_place(&self, home: usize, memory: f64) -> usize {
        let value = |at: usize| {
            let mut place = self.place(at);
            place.running += self.nodes[at].coming as f64;
            if memory <= place.room() {
                place.rate(1.0)
            } else {
                place.rate(1.0) * SWAPPING
            }
        };
        let (mut best, mut most) = (home, value(home) * 1.0001);
        for at in (0..self.nodes.len()).filter(|at| self.nodes[*at].up) {
            if value(at) > most {
                (best, most) = (at, value(at));
            }
        }
        best
    }

    fn ask_for_place(&mut self, job: usize, home: usize) -> usize {
        let now = self.milliseconds();
        let here = self.place(home);
        let process = self.process(&Running {
            job,
            left: self.left[job],
            came: self.now,
            share: 1.0,
        });
        let mut view = self.view(home);
        for _ in 0..QUESTIONS {
            let balancer = &mut self.nodes[home].balancer;
            match balancer.place(job as u64, &here, &process, &view, now) {
                Choice::Ask(asking) => match self.agreed(home, &asking) {
                    Ok(granted) => return index(granted.to),
                    // What it says itself is better than what was heard of it.
                    Err(Some(granted)) => {
                        let said = view.iter_mut().find(|place| place.node == granted.to);
                        if let Some(place) = said {
                            place.running = granted.running;
                        }
                    }
                    Err(None) => view.retain(|place| place.node != asking.to),
                },
                Choice::Here | Choice::Nowhere => return home,
            }
        }
        home
    }

    /// Other nodes, at most so many and chosen at random, by fresh reports.
    fn view(&mut self, at: usize) -> Vec<Place> {
        let now = self.milliseconds();
        let known = self.nodes[at].gossip.view(FRESH, now);
        let mut view: Vec<Place> = known
            .filter(|known| known.node != address(at))
            .map(|known| Place::new(known.node, &known.info))
            .collect();
        for chosen in 0..LOOK_AT.min(view.len()) {
            let other = chosen + self.random.below(view.len() - chosen);
            view.swap(chosen, other);
        }
        view.truncate(LOOK_AT);
        view
    }

    /// Asks the target; an error without a value says that it does not answer.
    fn agreed(&mut self, from: usize, asking: &Asking) -> Result<Granted, Option<Granted>> {
        let now = self.milliseconds();
        let to = index(asking.to);
        if !self.nodes[to].up {
            return Err(None);
        }
        let place = self.place(to);
        let answer = self.nodes[to]
            .balancer
            .asked(address(from), &asking.ask, &place, now);
        let granted = self.nodes[from]
            .balancer
            .answered(asking.to, &answer)
            .ok_or(None)?;
        self.refusals += usize::from(!granted.yes);
        if granted.yes {
            Ok(granted)
        } else {
            Err(Some(granted))
        }
    }

    fn land(&mut self, job: usize, at: usize) {
        self.nodes[at].coming -= 1;
        self.begin(job, at);
    }

    fn begin(&mut self, job: usize, at: usize) {
        if !self.nodes[at].up {
            // It fell with the node: started again, at home.
            return self.restart(job);
        }
        let mut running = Running {
            job,
            left: self.left[job],
            came: self.now,
            share: 1.0,
        };
        running.share = self.process(&running).away(address(at), &self.costs);
        self.nodes[at].balancer.arrived();
        self.change(at, |list| list.push(running));
    }

    fn restart(&mut self, job: usize) {
        self.restarts += 1;
        self.left[job] = self.workload.jobs[job].work;
        let home = self.workload.jobs[job].home;
        self.nodes[home].coming += 1;
        self.at(self.now + 1.0, Event::Landed(job, home));
    }

    fn down(&mut self, at: usize) {
        let mut lost = Vec::new();
        self.change(at, |running| lost = std::mem::take(running));
        self.nodes[at].up = false;
        for running in lost {
            self.restart(running.job);
        }
    }

    fn gossip(&mut self, at: usize) {
        let now = self.milliseconds();
        self.at(
            (self.nodes[at].gossip.next_tick().max(now) + UNIT) as f64 / 1000.0,
            Event::Gossip(at),
        );
        if !self.nodes[at].up {
            return;
        }
        let load = self.load(at);
        let random = &mut self.random;
        let gossip = &mut self.nodes[at].gossip;
        gossip.set_info(load);
        let messages: Vec<Message<Load>> = gossip.tick(now, &mut || random.bits());
        for message in messages {
            let mut next = Some(message);
            while let Some(message) = next.take() {
                let to = &mut self.nodes[index(message.to)];
                if to.up {
                    next = to.gossip.receive(&message, now).0;
                }
            }
        }
    }

    fn consider(&mut self, at: usize) {
        self.at(self.now + CONSIDER as f64 / 1000.0, Event::Consider(at));
        if !self.nodes[at].up || self.nodes[at].running.is_empty() {
            return;
        }
        // Progress is counted up to now.
        self.change(at, |_| {});
        let now = self.milliseconds();
        let here = self.place(at);
        let mut processes: Vec<Process> = self.nodes[at]
            .running
            .iter()
            .map(|running| self.process(running))
            .collect();
        processes.sort_by(|a, b| b.used.total_cmp(&a.used));
        let view = self.view(at);
        let asking = self.nodes[at]
            .balancer
            .consider(&here, &processes, &view, now);
        for asking in asking {
            if let Ok(Granted {
                what: What::Move(job),
                to,
                ..
            }) = self.agreed(at, &asking)
            {
                self.start_move(job as usize, at, index(to));
            }
        }
    }

    fn start_move(&mut self, job: usize, from: usize, to: usize) {
        let Some(running) = self.nodes[from]
            .running
            .iter()
            .find(|running| running.job == job)
            .copied()
        else {
            return;
        };
        self.moves += 1;
        self.left[job] = running.left;
        self.change(from, |list| list.retain(|running| running.job != job));
        self.nodes[to].coming += 1;
        let takes = self.costs.of_moving(self.workload.jobs[job].memory_mb);
        self.at(self.now + takes, Event::Landed(job, to));
    }
}

fn index(node: Ipv4Addr) -> usize {
    (u32::from(node) - 0x0a00_0000) as usize
}
