//! What this node tells of itself when it is asked.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::time::Instant;

use mio::net::TcpStream;

use super::admission::{self, Origin};
use super::clients::Role;
use super::server::Server;
use crate::balance::Place;
use crate::sys::procfs;
use crate::wire::control::FromMosd;
use crate::wire::frame;
use crate::wire::load::Load;
use crate::wire::report::Report;

/// Most askers that wait at once; more are told so, nodes by their connection's end.
const MAX_ASKERS: usize = 256;

/// Who wants to know.
pub enum Asker {
    Tool(usize),
    Node(TcpStream, Ipv4Addr),
}

impl Server {
    /// Notes that somebody asks: it is answered after the next look at the processes.
    pub(super) fn asks_report(&mut self, asker: Asker) {
        if self.policy.askers.len() < MAX_ASKERS {
            self.policy.askers.push(asker);
            self.policy.hurry();
        } else if let Asker::Tool(token) = asker {
            let what = "too many ask at the same time: try again";
            self.send(token, &FromMosd::Error(what.into()), None);
        }
    }

    pub(super) fn finish_reports(&mut self) {
        for asker in std::mem::take(&mut self.policy.askers) {
            match asker {
                Asker::Tool(token) => {
                    let report = self.report(self.config.address);
                    self.send(token, &FromMosd::Report(Box::new(report)), None);
                }
                Asker::Node(mut stream, from) => {
                    let from = self.known(from).unwrap_or(from);
                    // One small frame on a connection that nothing was written to: there is room, or nobody is there.
                    if let Err(error) = stream.write_all(&frame::to_frame(&self.report(from))) {
                        log::debug!("{from} was not told: {error}");
                    }
                }
            }
        }
    }

    fn report(&self, asker: Ipv4Addr) -> Report {
        let modes = &self.policy.modes;
        let load = self.neighbours.known(self.config.address, Instant::now());
        let load = load.map(|known| known.info).unwrap_or_default();
        let pages = |megabytes: u32| u64::from(megabytes) << 8;
        let bytes = |megabytes: u32| u64::from(megabytes) << 20;
        let found = &self.policy.found;
        let mine = asker == self.config.address;
        let origin = self.origin(asker);
        let (availability, lowest, guests, foreign) = self.with_here(|rules, here| {
            let foreign = here.guests.iter().filter(|guest| **guest != Origin::Own);
            let lowest = here.guests.iter().map(|guest| guest.priority()).max();
            (
                admission::availability(rules, here),
                lowest,
                here.guests.len(),
                foreign.count(),
            )
        });
        Report {
            off: modes.off,
            stay: modes.stay,
            lstay: modes.lstay,
            block: modes.block,
            isolated: modes.isolated,
            refuses: if mine { None } else { self.refusal(asker) },
            prefers: lowest.is_some_and(|lowest| lowest > origin.priority()),
            load: load.load,
            availability,
            speed: self.config.speed,
            cpus: load.cpus.into(),
            frozen: load.frozen.into(),
            memory_free: pages(load.mem_free),
            memory_total: pages(load.mem_total),
            swap_free: bytes(load.swap_free),
            swap_total: bytes(load.swap_total),
            privileged: self.pages_below(origin.priority()),
            local: found.local,
            away: found.away,
            guests: guests as u32,
            foreign: foreign as u32,
            max_guests: self.config.max_guests.now,
            complaint: self.policy.complaint.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// What this node tells of itself.
    pub(super) fn load(&self) -> Load {
        let (guests, mut flags) = self.with_here(|rules, here| {
            let blocked = rules.off || rules.block || rules.emptying;
            (here.guests.len(), if blocked { Load::BLOCKED } else { 0 })
        });
        let load = self.meter.load(self.balancing.running());
        let place = Place::new(self.config.address, &load);
        if self.freezing.waiting > 0 || place.running + 1.0 > self.red_mark(&place) {
            flags |= Load::FULL;
        }
        Load {
            yielding: (self.yielding_to(Origin::Own) * 100.0) as u16,
            guests: guests.min(usize::from(u16::MAX)) as u16,
            frozen: self.freezing.count.min(usize::from(u16::MAX)) as u16,
            flags,
            ..load
        }
    }

    /// Pages of the guests whose priority is lower than this.
    fn pages_below(&self, priority: u16) -> u64 {
        let lower = |host: &usize| match self.clients.get(host).map(|client| client.role) {
            Some(Role::Host { home }) => self.origin(home).priority() > priority,
            _ => false,
        };
        let guests = self.policy.found.guests.iter();
        guests
            .filter(|(host, _)| lower(host))
            .map(|(_, pid)| procfs::resident_pages(*pid).unwrap_or(0))
            .sum()
    }
}

/// Reads the answer to `Opening::Ask`.
///
/// # Errors
///
/// When the other side does not answer.
pub fn read_report(stream: &mut impl io::Read) -> io::Result<Report> {
    frame::read_frame(stream, frame::LIMIT_BEFORE_AUTH)
}
