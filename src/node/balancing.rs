//! The policy at work: what runs here is weighed once in a second, others are asked, and what is agreed is ordered.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::admission::Origin;
use super::profiles::Profiles;
use super::server::Server;
use super::starts::Starts;
use crate::balance::{Asking, Balancer, Costs, Granted, Place, Process, What, Word};
use crate::config::Member;
use crate::gossip::{Known, Load, Note};
use crate::sys::unix::random_u64;
use crate::wire::codec;
use crate::wire::control::{FromMosd, Frozen, Outcome, Target, Weighed};

/// Time between two weighings.
const WEIGH_EVERY: Duration = Duration::from_secs(1);
/// How long wardens and hosts may take to answer.
const WEIGH_WAIT: Duration = Duration::from_millis(500);
/// Reports that are older are not acted on.
const FRESH: Duration = Duration::from_secs(10);
/// Other nodes that are looked at in one turn, chosen at random.
const LOOK_AT: usize = 24;

/// Processes are being weighed.
struct Weighing {
    id: u64,
    missing: HashSet<usize>,
    procs: Vec<(usize, Weighed)>,
    until: Instant,
}

/// What mosd keeps for its policy.
pub struct Balancing {
    /// Processes are moved without order.
    moves: bool,
    pub(super) balancer: Balancer,
    pub(super) starts: Starts,
    profiles: Profiles,
    started: Instant,
    next: Instant,
    last: u64,
    weighing: Option<Weighing>,
    /// What the last weighing found, with the owners.
    weighed: Vec<(usize, Weighed)>,
    /// As they were last weighed, with their owners.
    processes: HashMap<u64, (usize, Process)>,
    /// Orders under way, and whose they are about.
    orders: HashMap<u64, u64>,
}

impl Balancing {
    pub fn new(moves: bool, now: Instant) -> Balancing {
        Balancing {
            moves,
            balancer: Balancer::new(Costs::default()),
            starts: Starts::default(),
            profiles: Profiles::default(),
            started: now,
            next: now + WEIGH_EVERY,
            last: 0,
            weighing: None,
            weighed: Vec::new(),
            processes: HashMap::new(),
            orders: HashMap::new(),
        }
    }

    pub fn time(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis() as u64
    }

    /// Processes of this node that compute, as they were last weighed.
    pub fn running(&self) -> f64 {
        self.profiles.running()
    }

    /// Their megabytes, those that wait included.
    pub fn memory(&self) -> f64 {
        self.profiles.memory()
    }

    /// Share of its time that a process computes, as it was last weighed.
    pub fn demand(&self, pid: i32) -> f64 {
        let process = self.processes.get(&(pid as u64));
        process.map_or(0.0, |(_, process)| process.demand)
    }

    /// When there is something to do next.
    pub fn next(&self) -> Instant {
        let answers = self.weighing.as_ref().map(|weighing| weighing.until);
        answers.unwrap_or(self.next).min(self.next)
    }
}

impl Server {
    /// What this node tells of itself: itself as it will be when those have come who were promised a place.
    pub(super) fn own_load(&self) -> Load {
        let load = self.load();
        let place = self
            .balancing
            .balancer
            .expected(&Place::new(self.config.address, &load));
        Load {
            load: Load::standardized((place.running * 100.0) as u32, load.speed, load.cpus),
            mem_free: place.mem_free.max(0.0) as u32,
            ..load
        }
    }

    /// This node as it is.
    pub(super) fn own_place(&self) -> Place {
        let place = Place::new(self.config.address, &self.load());
        Place {
            most: self.red_mark(&place),
            ..place
        }
    }

    /// This node as processes of `home` find it: guests of lower priority leave when they come.
    fn own_place_for(&self, home: Ipv4Addr) -> Place {
        let place = self.own_place();
        Place {
            running: (place.running - self.yielding_to(self.origin(home))).max(0.0),
            blocked: self.refusal(home).is_some(),
            ..place
        }
    }

    /// Guests that compute and leave for processes of that origin, as a number of processes.
    pub(super) fn yielding_to(&self, origin: Origin) -> f64 {
        let processes = self.balancing.processes.values();
        processes
            .filter(|(_, process)| {
                process.cluster != 0 && self.origin(process.home).priority() > origin.priority()
            })
            .map(|(_, process)| process.demand)
            .sum()
    }

    /// The host of each guest that runs here, whose it is, and what share of its time it computes.
    pub(super) fn guests_by_host(&self) -> Vec<(usize, Origin, f64)> {
        let me = self.config.address;
        let processes = self.balancing.processes.values();
        let guests = processes.filter(|(_, process)| process.home != me);
        guests
            .map(|(host, process)| (*host, self.origin(process.home), process.demand))
            .collect()
    }

    /// The cluster of a node as a number, 0 being this node's; the greatest for those that are in none.
    fn cluster_of(&self, node: Ipv4Addr) -> u16 {
        let partners = &self.config.partners;
        match self.config.member(node) {
            Some(Member::Own) => 0,
            Some(Member::Partner(partner)) => {
                let at = partners.iter().position(|other| other.name == partner.name);
                at.map_or(u16::MAX, |at| at as u16 + 1)
            }
            None => u16::MAX,
        }
    }

    /// Another node by its report.
    fn place_of(&self, known: &Known<Load>) -> Place {
        let place = Place::new(known.node, &known.info);
        let cluster = self.cluster_of(known.node);
        let yielding = if cluster == 0 { known.info.yielding } else { 0 };
        Place {
            running: (place.running - f64::from(yielding) / 100.0).max(0.0),
            cluster,
            ours: self.forbidden(known.node).is_none(),
            cpu: self.processors.of(known.node),
            ..place
        }
    }

    /// Some other nodes, by fresh reports.
    pub(super) fn view(&mut self, now: Instant) -> Vec<Place> {
        let me = self.config.address;
        let foreign = |(_, process): &(usize, Process)| process.cluster != 0;
        let guests = self.balancing.processes.values().any(foreign);
        let known = self
            .neighbours
            .view(FRESH, now)
            .filter(|known| known.node != me && (guests || self.forbidden(known.node).is_none()));
        let mut known: Vec<Known<Load>> = known.collect();
        for at in 0..LOOK_AT.min(known.len()) {
            let other = at + (random_u64() % (known.len() - at) as u64) as usize;
            known.swap(at, other);
        }
        known.truncate(LOOK_AT);
        self.learn_processors(known.iter().map(|known| known.node), now);
        known.iter().map(|known| self.place_of(known)).collect()
    }

    /// Lets the policy's time pass.
    pub(super) fn balance_tick(&mut self, now: Instant) {
        if self
            .balancing
            .weighing
            .as_ref()
            .is_some_and(|weighing| weighing.until <= now)
        {
            self.weighed(now);
        }
        if now < self.balancing.next {
            return;
        }
        self.balancing.next = now + WEIGH_EVERY;
        let time = self.balancing.time(now);
        for lost in self.balancing.balancer.expire(time) {
            if let What::Start(start) = lost {
                self.start_unanswered(start, now);
            }
        }
        self.starts_again(now);
        let weighs = self.balancing.moves || self.meter.own_only() || self.freezes();
        if weighs && self.balancing.weighing.is_none() {
            self.weigh(now);
        }
    }

    /// Asks wardens and hosts what runs here.
    fn weigh(&mut self, now: Instant) {
        let owners = self.owners();
        self.balancing.last += 1;
        let id = self.balancing.last;
        self.balancing.weighing = Some(Weighing {
            id,
            missing: owners.iter().copied().collect(),
            procs: Vec::new(),
            until: now + WEIGH_WAIT,
        });
        for owner in &owners {
            self.send(*owner, &FromMosd::Weigh { id }, None);
        }
        if owners.is_empty() {
            self.weighed(now);
        }
    }

    /// A warden or host answers.
    pub(super) fn weights(&mut self, owner: usize, id: u64, procs: Vec<Weighed>) {
        let Some(weighing) = self
            .balancing
            .weighing
            .as_mut()
            .filter(|weighing| weighing.id == id)
        else {
            return;
        };
        if weighing.missing.remove(&owner) {
            weighing
                .procs
                .extend(procs.into_iter().map(|weighed| (owner, weighed)));
        }
        if weighing.missing.is_empty() {
            self.weighed(Instant::now());
        }
    }

    /// All have answered who will.
    fn weighed(&mut self, now: Instant) {
        let Some(mut weighing) = self.balancing.weighing.take() else {
            return;
        };
        // Of those who are late their processes are taken to be as they were.
        let late = |(owner, _): &&(usize, Weighed)| weighing.missing.contains(owner);
        let before = self.balancing.weighed.iter().filter(late);
        weighing
            .procs
            .extend(before.filter(|(owner, _)| self.clients.contains_key(owner)));
        self.balancing.weighed.clone_from(&weighing.procs);
        let time = self.balancing.time(now);
        let own = |(_, weighed): &&(usize, Weighed)| weighed.home.is_none();
        let own: Vec<(usize, Weighed)> = weighing.procs.iter().filter(own).copied().collect();
        let runs = |frozen: Frozen| matches!(frozen, Frozen::No | Frozen::NotApplicable);
        weighing.procs.retain(|(_, weighed)| runs(weighed.frozen));
        let here: Vec<Weighed> = weighing.procs.iter().map(|(_, weighed)| *weighed).collect();
        for _ in 0..self.balancing.profiles.measure(&here, now) {
            self.balancing.balancer.arrived();
        }
        self.meter.look_at_memory(self.balancing.memory());
        let place = self.own_place();
        let me = self.config.address;
        let own_cpu = self.processors.own();
        let known = |(owner, weighed): &(usize, Weighed)| {
            let weighed = &Weighed {
                needs: weighed.needs.or(Some(own_cpu)),
                ..*weighed
            };
            let process = self
                .balancing
                .profiles
                .process(weighed, me, place.speed, now)?;
            let cluster = self.cluster_of(process.home);
            let process = Process { cluster, ..process };
            Some((process.id, (*owner, process)))
        };
        let processes: HashMap<u64, (usize, Process)> =
            weighing.procs.iter().filter_map(known).collect();
        let gone: Vec<u64> = self
            .balancing
            .processes
            .keys()
            .filter(|id| !processes.contains_key(id))
            .copied()
            .collect();
        for id in gone {
            self.balancing.balancer.left(id, true, time);
        }
        self.balancing.processes = processes;
        self.consider_freezing(&own, &place, now);
        if self.balancing.moves {
            self.consider(&place, now);
        }
    }

    fn consider(&mut self, place: &Place, now: Instant) {
        let view = self.view(now);
        let me = self.config.address;
        let (own_may, guests_may) = self.policy.modes.may_leave();
        let processes: Vec<Process> = self
            .balancing
            .processes
            .values()
            .map(|(_, process)| Process {
                movable: process.movable
                    && if process.home == me {
                        own_may
                    } else {
                        guests_may
                    },
                ..*process
            })
            .collect();
        let time = self.balancing.time(now);
        for asking in self
            .balancing
            .balancer
            .consider(place, &processes, &view, time)
        {
            self.ask_node(&asking, now);
        }
    }

    pub(super) fn ask_node(&mut self, asking: &Asking, now: Instant) {
        let note = codec::encode(&Word::Ask(asking.ask));
        self.neighbours.send_note(asking.to, note, now);
    }

    /// Another node's policy speaks to ours.
    pub(super) fn note(&mut self, note: &Note, now: Instant) {
        // One that cannot be understood is of another version; its sender asks others then.
        let Ok(word) = codec::decode::<Word>(&note.bytes) else {
            return;
        };
        let time = self.balancing.time(now);
        match word {
            Word::Ask(ask) => {
                let place = self.own_place_for(ask.home);
                let answer = self.balancing.balancer.asked(note.from, &ask, &place, time);
                let bytes = codec::encode(&Word::Answer(answer));
                self.neighbours.send_note(note.from, bytes, now);
            }
            Word::Cpu(cpu, asks) => self.processor_of(note.from, cpu, asks, now),
            Word::Answer(answer) => {
                if let Some(granted) = self.balancing.balancer.answered(note.from, &answer, time) {
                    self.granted(&granted, now);
                }
            }
        }
    }

    fn granted(&mut self, granted: &Granted, now: Instant) {
        match granted.what {
            What::Start(start) => self.start_answered(start, granted, now),
            What::Move(process) if granted.yes => self.order_out(process, granted.to, now),
            What::Move(_) => {}
        }
    }

    fn order_out(&mut self, id: u64, to: Ipv4Addr, now: Instant) {
        let Some((owner, process)) = self.balancing.processes.get(&id).copied() else {
            return;
        };
        let time = self.balancing.time(now);
        self.balancing.balancer.leaves(&process, time);
        let order = self.questions.unasked();
        self.balancing.orders.insert(order, id);
        let target = if process.home == to {
            Target::Home
        } else {
            Target::Node(to)
        };
        log::debug!("process {id} is to move to {to}");
        let message = FromMosd::Move {
            id: order,
            pid: id as i32,
            to: target,
        };
        self.send(owner, &message, None);
    }

    /// What became of an order of the policy. A host answers before it moves: that a process is gone shows in the next weighing.
    pub(super) fn balance_moved(&mut self, order: u64, outcome: &Outcome) {
        let Some(id) = self.balancing.orders.remove(&order) else {
            return;
        };
        if let Outcome::Stayed(why) = outcome {
            log::debug!("process {id} stays: {why}");
            let time = self.balancing.time(Instant::now());
            self.balancing.balancer.left(id, false, time);
        }
    }
}
