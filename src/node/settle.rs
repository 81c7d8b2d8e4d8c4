//! Seeing to it that everything is where it may be: guests that must leave are told so, processes of this node that are where
//! they must not be are called home, and whoever waits for that is answered once it is so.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::admission::{self, Here, Origin, Recent, Rules};
use super::clients::Role;
use super::modes::Modes;
use super::questions::{Listing, Purpose};
use super::report::Asker;
use super::server::Server;
use crate::config::{Config, Fingerprint, Member};
use crate::sys::procfs;
use crate::wire::control::{FromMosd, Outcome, Place, Target};

/// How often it is looked at, and how often when somebody waits.
const CALM: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_millis(100);
/// A process of this node counts as work when it uses, or would use, at least this part of a processor.
const WORK: f64 = 0.2;

/// Which processes one waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    None,
    /// Those that are where they must not be.
    Misplaced,
    All,
}

/// Someone who waits until guests have left and processes of this node are home.
struct Wait {
    asker: usize,
    guests: Which,
    own: Which,
    /// The number of the last look when it began: only later ones count.
    since: u64,
    own_settled: bool,
}

/// What mosd holds of all this.
pub struct Policy {
    pub modes: Modes,
    /// Configurations that were replaced while processes were still with nodes that only they know.
    pub former: Vec<Config>,
    pub fingerprint: Fingerprint,
    pub config_at: Instant,
    /// A map is not needed: without one this node is alone.
    pub await_map: bool,
    /// What is wrong with the files now.
    pub complaint: Option<String>,
    /// Hosts that were started and have not registered yet: their pids, and the homes of their guests.
    pub arriving: HashMap<i32, Ipv4Addr>,
    /// Those who wait for a report.
    pub askers: Vec<Asker>,
    recent: Recent,
    waits: Vec<Wait>,
    at: Instant,
    looks: u64,
    looking: bool,
    /// The first look that counts after the last change.
    unsettled_until: u64,
    /// What the last look has found.
    pub found: Found,
    /// CPU time of the processes that run here, and when it was read.
    cpu: HashMap<i32, (u64, Instant)>,
}

/// The processes of the last look.
#[derive(Default)]
pub struct Found {
    pub local: u32,
    pub away: u32,
    /// Of guests: the client that is its host, and its pid here.
    pub guests: Vec<(usize, i32)>,
    pub local_work: bool,
    /// Some are where they must not be, or on their way.
    misplaced: bool,
    /// Some are away, or on their way.
    abroad: bool,
}

impl Policy {
    pub fn new(modes: Modes, fingerprint: Fingerprint, await_map: bool) -> Policy {
        let now = Instant::now();
        Policy {
            modes,
            former: Vec::new(),
            fingerprint,
            config_at: now,
            await_map,
            complaint: None,
            arriving: HashMap::new(),
            askers: Vec::new(),
            recent: Recent::default(),
            waits: Vec::new(),
            at: now,
            looks: 0,
            looking: false,
            unsettled_until: 0,
            found: Found::default(),
            cpu: HashMap::new(),
        }
    }

    /// When there is something to do again.
    pub fn next_deadline(&self) -> Instant {
        self.at.min(self.config_at)
    }

    /// Something has changed: look at once, and call home whatever must.
    pub fn unsettle(&mut self) {
        self.unsettled_until = self.looks + 1;
        self.hurry();
    }

    /// There is something to do now.
    pub fn hurry(&mut self) {
        self.at = Instant::now();
    }

    fn settled(&self) -> bool {
        self.looks >= self.unsettled_until && !self.looking && !self.found.misplaced
    }
}

impl Server {
    pub(super) fn rules(&self) -> Rules {
        Rules {
            off: self.policy.modes.off,
            block: self.policy.modes.block,
            emptying: self
                .policy
                .waits
                .iter()
                .any(|wait| wait.guests == Which::All),
            isolated: self.policy.modes.isolated,
            max_guests: self.config.max_guests.now,
            retain: Duration::from_secs(self.config.retain_priority.into()),
        }
    }

    /// Whose guest a process from `home` is.
    pub(super) fn origin(&self, home: Ipv4Addr) -> Origin {
        let node = self.config.canonical(home);
        match node.and_then(|node| self.config.member(node)) {
            Some(Member::Own) => Origin::Own,
            Some(Member::Partner(partner)) => Origin::Partner {
                priority: partner.priority,
                can_take: partner.can_take,
            },
            None => Origin::Unknown,
        }
    }

    /// All guests in the order of their arrival: the client of each that has registered, and whose it is.
    fn guests(&self) -> Vec<(Option<usize>, Origin)> {
        let mut hosts: Vec<(usize, Ipv4Addr)> = self
            .clients
            .iter()
            .filter_map(|(token, client)| match client.role {
                Role::Host { home } if self.trusts(client.peer.uid) => Some((*token, home)),
                _ => None,
            })
            .collect();
        hosts.sort_unstable();
        let registered = hosts
            .iter()
            .map(|(token, home)| (Some(*token), self.origin(*home)));
        let arriving = self.policy.arriving.values();
        registered
            .chain(arriving.map(|home| (None, self.origin(*home))))
            .collect()
    }

    /// Calls `use_it` with what is here.
    pub(super) fn with_here<T>(&self, use_it: impl FnOnce(&Rules, Here) -> T) -> T {
        let guests: Vec<Origin> = self
            .guests()
            .into_iter()
            .map(|(_, origin)| origin)
            .collect();
        let here = Here {
            guests: &guests,
            local_work: self.policy.found.local_work,
        };
        use_it(&self.rules(), here)
    }

    /// Why a process from `home` may not come here.
    pub(super) fn refusal(&self, home: Ipv4Addr) -> Option<String> {
        let (origin, now) = (self.origin(home), Instant::now());
        let recent = &self.policy.recent;
        self.with_here(|rules, here| admission::refusal(rules, origin, here, recent, now))
    }

    /// Why processes of this node may not be at `node`; `None` when they may.
    pub(super) fn forbidden(&self, node: Ipv4Addr) -> Option<String> {
        if self.policy.modes.off {
            return Some("mos is turned off on this node (mossetpe turns it on)".into());
        }
        match self.config.member(node) {
            Some(Member::Own) => None,
            Some(Member::Partner(partner)) if self.policy.modes.isolated => Some(format!(
                "this node is disconnected from {} (mosctl rejoin connects it)",
                partner.name
            )),
            Some(Member::Partner(partner)) if !partner.can_go => Some(format!(
                "processes of this cluster do not go to {}",
                partner.name
            )),
            Some(Member::Partner(_)) => None,
            None => Some("not in map".into()),
        }
    }

    /// `asker` is answered when these guests have left, and these processes of this node are where they may be.
    pub(super) fn wait_settled(&mut self, asker: usize, guests: Which, own: Which) {
        let since = self.policy.looks;
        self.policy.waits.push(Wait {
            asker,
            guests,
            own,
            since,
            own_settled: false,
        });
        self.policy.hurry();
    }

    /// A warden is here (again): its processes may be where they must not be, or compute where guests of others are.
    pub(super) fn warden_came(&mut self) {
        let modes = &self.policy.modes;
        if modes.off || modes.isolated || !self.config.partners.is_empty() {
            self.policy.unsettle();
        }
    }

    /// `client` does not wait any more.
    pub(super) fn forget_waits(&mut self, client: usize) {
        self.policy.waits.retain(|wait| wait.asker != client);
        self.policy
            .askers
            .retain(|asker| !matches!(asker, Asker::Tool(token) if *token == client));
    }

    /// A guest has left, or has died: its priority is kept for a while.
    pub(super) fn guest_gone(&mut self, home: Ipv4Addr) {
        let priority = self.origin(home).priority();
        self.policy.recent.note(priority, Instant::now());
        self.policy.hurry();
    }

    pub(super) fn settle(&mut self, now: Instant) {
        if now >= self.policy.config_at {
            self.check_files(now);
        }
        if now < self.policy.at {
            return;
        }
        self.neighbours.quiet = self.policy.modes.off;
        self.note_present(now);
        self.send_guests_away();
        if self.must_look() {
            self.look(now);
        }
        self.finish_waits();
        let busy = !self.policy.waits.is_empty() || !self.policy.askers.is_empty();
        self.policy.at = now + if busy { BUSY } else { CALM };
    }

    fn note_present(&mut self, now: Instant) {
        for (_, origin) in self.guests() {
            self.policy.recent.note(origin.priority(), now);
        }
        if self.policy.found.local_work {
            self.policy.recent.note(0, now);
        }
    }

    fn send_guests_away(&mut self) {
        let guests = self.guests();
        let leaving = self.with_here(admission::to_leave);
        let hosts: Vec<usize> = leaving
            .into_iter()
            .filter_map(|index| guests[index].0)
            .collect();
        for host in hosts {
            // One that is on its way already does not mind; one that could not leave tries again.
            self.send(host, &FromMosd::Evacuate, None);
        }
    }

    /// Lists are asked for only when they are needed: to find what is misplaced, and to know of local work where guests of
    /// other clusters may be.
    fn must_look(&self) -> bool {
        let policy = &self.policy;
        let shares = self.config.partners.iter().any(|partner| partner.can_take);
        let wardens = || {
            let mut clients = self.clients.values();
            clients.any(|client| matches!(client.role, Role::Warden { .. }))
        };
        !policy.looking
            && (!policy.waits.is_empty()
                || !policy.askers.is_empty()
                || !policy.settled()
                || (!self.config.partners.is_empty()
                    && wardens()
                    && (shares || policy.found.abroad))
                || (policy.found.local_work && !wardens()))
    }

    fn look(&mut self, now: Instant) {
        self.policy.looks += 1;
        self.policy.looking = true;
        self.collect(0, Purpose::Look, (true, true), now);
    }

    /// A look has come to its end.
    pub(super) fn looked(&mut self, listing: &Listing) {
        self.policy.looking = false;
        let now = Instant::now();
        let mut found = Found::default();
        let mut home = Vec::new();
        let bring = self.policy.waits.iter().any(|wait| wait.own == Which::All);
        for owned in &listing.procs {
            match (owned.info.from, owned.info.place) {
                (Some(_), _) => found.guests.push((owned.owner, owned.info.pid)),
                (None, Place::Away(node)) => {
                    found.local += 1;
                    found.away += 1;
                    found.abroad = true;
                    let misplaced = self.forbidden(node).is_some();
                    found.misplaced |= misplaced;
                    if bring || misplaced {
                        home.push((owned.owner, owned.info.pid));
                    }
                }
                (None, Place::Leaving | Place::Starting) => {
                    found.local += 1;
                    found.abroad = true;
                    found.misplaced |= !self.policy.former.is_empty() || self.policy.modes.off;
                }
                (None, Place::Home) => {
                    found.local += 1;
                    found.local_work |= self.works(owned.info.pid, now);
                }
            }
        }
        // Who has not answered may have processes anywhere.
        found.abroad |= !listing.complete();
        self.policy.cpu.retain(|_, (_, seen)| *seen == now);
        for (owner, pid) in home {
            let id = self.questions.unasked();
            let to = Target::Home;
            self.send(owner, &FromMosd::Move { id, pid, to }, None);
        }
        let looks = self.policy.looks;
        for wait in &mut self.policy.waits {
            if looks > wait.since {
                wait.own_settled = match wait.own {
                    Which::None => true,
                    Which::Misplaced => listing.complete() && !found.misplaced,
                    Which::All => listing.complete() && !found.abroad,
                };
            }
        }
        let began_to_work = found.local_work && !self.policy.found.local_work;
        self.policy.found = found;
        if began_to_work {
            self.send_guests_away();
        }
        self.finish_waits();
        self.finish_reports();
    }

    /// Whether a process has computed since it was looked at before.
    fn works(&mut self, pid: i32, now: Instant) -> bool {
        let Ok(stat) = procfs::stat(pid) else {
            return false;
        };
        // What it waited for a processor counts: on a busy machine it would have used it.
        let (ran, waited) = procfs::schedule(pid).unwrap_or_default();
        let wanted = ran.max(stat.utime_ns) + waited;
        match self.policy.cpu.insert(pid, (wanted, now)) {
            None => stat.state == b'R',
            Some((before, seen)) => {
                let used = wanted.saturating_sub(before) as f64 / 1e9;
                used > 0.0 && used >= WORK * now.saturating_duration_since(seen).as_secs_f64()
            }
        }
    }

    fn finish_waits(&mut self) {
        let here = self.guests().len();
        let unwanted = self.with_here(admission::to_leave).len();
        let done = |wait: &Wait| {
            let guests = match wait.guests {
                Which::None => 0,
                Which::Misplaced => unwanted,
                Which::All => here,
            };
            guests == 0 && (wait.own_settled || wait.own == Which::None)
        };
        let (done, open): (Vec<Wait>, Vec<Wait>) = std::mem::take(&mut self.policy.waits)
            .into_iter()
            .partition(done);
        self.policy.waits = open;
        for wait in done {
            self.send(wait.asker, &FromMosd::Result(Outcome::Done), None);
        }
        if unwanted == 0 && self.policy.settled() {
            self.policy.former.clear();
        }
    }
}
