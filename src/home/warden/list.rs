//! Which processes belong to the tree, and what is known of each.

use std::net::Ipv4Addr;

use crate::config::{Named, Paths};
use crate::home::bound;
use crate::home::interface::Settings;
use crate::home::mover::park;
use crate::home::warden::state::{Proc, Warden};
use crate::image::{areas, check};
use crate::sys::{procfs, unix};
use crate::wire::client::Client;
use crate::wire::control::{FromMosd, Frozen, Outcome, Place, ProcInfo, ToMosd, Weighed};

impl Warden {
    /// Adds a process; it inherits what its parent may pass on (manual, "recursive mosrun").
    pub fn add(&mut self, pid: i32, settings: &Settings) {
        let Ok(stat) = procfs::stat(pid) else { return };
        let proc = Proc {
            born: stat.start_time,
            settings: settings.clone(),
            place: Place::Home,
            stays: None,
            native: false,
            saw_more: false,
            moving: None,
            seized: false,
            ctl: None,
            frozen: park::why(pid),
            halted: false,
            asked: None,
            leases: Vec::new(),
            seen_home: false,
        };
        self.procs.insert(pid, proc);
    }

    /// Makes sure that a process which was heard of is known.
    pub fn know(&mut self, pid: i32) {
        if self.alive(pid) {
            return;
        }
        let parent = procfs::stat(pid).map(|stat| stat.ppid).unwrap_or_default();
        let settings = self
            .procs
            .get(&parent)
            .map_or_else(Settings::default, |proc| proc.settings.clone());
        let native = self.procs.get(&parent).is_some_and(|proc| proc.native);
        let saw_more = self.procs.get(&parent).is_some_and(|proc| proc.saw_more);
        self.add(pid, &settings);
        if let Some(proc) = self.procs.get_mut(&pid) {
            proc.native = native;
            proc.saw_more = saw_more;
            // These are its own; by them the words of its hosts are told from older ones.
            proc.settings.nmigs = 0;
        }
    }

    /// Whether a process that another node speaks of can be one of the tree: known, or under the tree's filter and of its user.
    pub fn is_ours(&self, pid: i32) -> bool {
        let user = unix::euid();
        self.alive(pid)
            || procfs::status(pid).is_ok_and(|status| {
                status.filters >= self.filters && (user == 0 || status.uid == user)
            })
    }

    /// Whether a known pid is still that process.
    pub fn alive(&self, pid: i32) -> bool {
        let Some(proc) = self.procs.get(&pid) else {
            return false;
        };
        procfs::stat(pid)
            .is_ok_and(|stat| stat.start_time == proc.born && !matches!(stat.state, b'Z' | b'X'))
    }

    /// Brings the list up to date.
    pub fn refresh(&mut self) {
        let dead: Vec<i32> = self
            .procs
            .keys()
            .copied()
            .filter(|pid| !self.alive(*pid))
            .collect();
        let mut at = 0;
        let mut pids: Vec<i32> = self.procs.keys().copied().collect();
        while at < pids.len() {
            for child in procfs::children(pids[at]).unwrap_or_default() {
                if !self.procs.contains_key(&child) {
                    self.know(child);
                    pids.push(child);
                }
            }
            at += 1;
        }
        for pid in dead {
            if let Some(moving) = self.procs.remove(&pid).and_then(|proc| proc.moving) {
                self.outcome(pid, &moving, Outcome::Gone);
            }
        }
        self.forget_waiters();
        self.settle();
    }

    /// Why a process cannot move now.
    pub fn why_not(&self, pid: i32) -> Option<String> {
        let proc = self.procs.get(&pid)?;
        if proc.place != Place::Home {
            return None;
        }
        if proc.frozen != Frozen::No {
            return Some("it is frozen".to_owned());
        }
        match areas::areas(pid) {
            Ok(areas) => check::why_not(pid, &areas, self.filters),
            Err(_) => proc.stays.clone(),
        }
    }

    pub fn infos(&mut self) -> Vec<ProcInfo> {
        self.refresh();
        let pids: Vec<i32> = self.procs.keys().copied().collect();
        pids.into_iter().for_each(|pid| self.look_frozen(pid));
        let mut infos: Vec<ProcInfo> = self
            .procs
            .iter()
            .filter(|(_, proc)| !proc.native)
            .map(|(pid, proc)| self.info(*pid, proc))
            .collect();
        infos.sort_by_key(|info| info.pid);
        infos
    }

    /// The processes that run here, for the policy.
    pub fn weights(&mut self) -> Vec<Weighed> {
        self.refresh();
        let weighed = |pid: i32, proc: &Proc| Weighed {
            pid,
            home: None,
            movable: !proc.settings.locked && proc.moving.is_none(),
            needmem: proc.settings.needmem,
            decay: proc.settings.decay,
            count_calls: !proc.settings.cpujob,
            calls: 0,
            bytes: 0,
            frozen: proc.frozen,
            freezable: proc.settings.freezable && proc.moving.is_none(),
            needs: bound::portable(pid, &self.cpu).filter(|_| !proc.saw_more),
        };
        let here = |proc: &Proc| proc.place == Place::Home && !proc.native;
        let procs = self.procs.iter().filter(|(_, proc)| here(proc));
        procs.map(|(pid, proc)| weighed(*pid, proc)).collect()
    }

    fn info(&self, pid: i32, proc: &Proc) -> ProcInfo {
        let moving = proc.moving.as_ref();
        let starting = moving.is_some_and(|moving| moving.start.is_some());
        let place = match proc.place {
            Place::Home if starting => Place::Starting,
            Place::Home if proc.moving.is_some() => Place::Leaving,
            place => place,
        };
        ProcInfo {
            pid,
            uid: procfs::status(pid)
                .map(|status| status.uid)
                .unwrap_or_default(),
            place,
            from: None,
            origpid: None,
            frozen: match proc.frozen {
                Frozen::No if !proc.settings.freezable => Frozen::NotApplicable,
                frozen => frozen,
            },
            nmigs: proc.settings.nmigs,
            stays: self.why_not(pid),
            locked: proc.settings.locked,
            cpu_away_ns: self.ledger.own(pid),
        }
    }

    /// The address of a node number (or of an address as a number).
    pub fn node_of(&self, number: u32) -> Option<Ipv4Addr> {
        let node = if number > 0xffff {
            Named::Address(Ipv4Addr::from(number))
        } else {
            Named::Number(number)
        };
        let mut client = Client::connect(&Paths::from_env()).ok()?;
        match client.ask(&ToMosd::Resolve { node }) {
            Ok(FromMosd::Node(Some(node))) => Some(node.address),
            _ => None,
        }
    }
}
