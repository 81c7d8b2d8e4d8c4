//! What the processes at this node use, from what the kernel counts of them anyway.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Instant;

use crate::balance::{Bound, Process};
use crate::sys::procfs;
use crate::wire::control::Weighed;

/// Weight of one second in the share of time that a process computes.
const DEMAND_WEIGHT: f64 = 0.4;
/// Seconds of processor time from which on rates say something.
const LEAST_RAN: f64 = 0.01;
const PAGE_MB: f64 = 4096.0 / 1_048_576.0;

/// Counters of one process, and what was made of them.
#[derive(Clone, Copy, Debug)]
struct Profile {
    /// Tells a new process of the same pid.
    born: u64,
    since: Instant,
    at: Instant,
    ran: u64,
    waited: u64,
    calls: u64,
    bytes: u64,
    demand: f64,
    /// Decayed sums: calls, their bytes, and seconds of processor time.
    decayed_calls: f64,
    decayed_bytes: f64,
    decayed_ran: f64,
    memory: f64,
}

/// All processes at this node.
#[derive(Default)]
pub struct Profiles(HashMap<i32, Profile>);

impl Profiles {
    /// Measures the processes that are here; how many of them are new. Those that are not named are forgotten.
    pub fn measure(&mut self, here: &[Weighed], now: Instant) -> usize {
        let before = std::mem::take(&mut self.0);
        let mut new = 0;
        for weighed in here {
            let Some(counted) = count(weighed, now) else {
                continue;
            };
            let old = before
                .get(&weighed.pid)
                .filter(|old| old.born == counted.born);
            new += usize::from(old.is_none());
            let profile = old.map_or(counted, |old| old.advanced(&counted, weighed));
            self.0.insert(weighed.pid, profile);
        }
        new
    }

    /// Processes that compute, as a number: each counts with the share of its time that it does, or wants to.
    pub fn running(&self) -> f64 {
        self.0.values().map(|profile| profile.demand).sum()
    }

    /// Megabytes of all processes.
    pub fn memory(&self) -> f64 {
        self.0.values().map(|profile| profile.memory).sum()
    }

    /// A process as the policy sees it; `speed` is that of this node's processors.
    pub fn process(
        &self,
        weighed: &Weighed,
        me: Ipv4Addr,
        speed: f64,
        now: Instant,
    ) -> Option<Process> {
        let profile = self.0.get(&weighed.pid)?;
        let counted = weighed.count_calls && profile.decayed_ran > LEAST_RAN;
        let rate = |sum: f64| {
            if counted {
                sum / profile.decayed_ran
            } else {
                0.0
            }
        };
        Some(Process {
            id: weighed.pid as u64,
            home: weighed.home.unwrap_or(me),
            cluster: 0,
            used: profile.ran as f64 / 1e9 * speed,
            demand: profile.demand,
            memory: profile.memory,
            needs: f64::from(weighed.needmem),
            calls: rate(profile.decayed_calls),
            call_mb: rate(profile.decayed_bytes) / 1e6,
            stayed: now.saturating_duration_since(profile.since).as_secs_f64(),
            movable: weighed.movable,
            bound: weighed.needs.map(|needs| Bound {
                needs,
                begins: false,
            }),
        })
    }
}

/// What the kernel says; `None` when the process is gone.
fn count(weighed: &Weighed, now: Instant) -> Option<Profile> {
    let stat = procfs::stat(weighed.pid).ok()?;
    let cpu = stat.utime_ns + stat.stime_ns;
    let (ran, waited) = procfs::schedule(weighed.pid).unwrap_or((cpu, 0));
    // At home calls are made natively: reads and writes are what is counted of them. It is no error that it is not told.
    let (calls, bytes) = match weighed.home {
        Some(_) => (weighed.calls, weighed.bytes),
        None => procfs::transfers(weighed.pid).unwrap_or_default(),
    };
    Some(Profile {
        born: stat.start_time,
        since: now,
        at: now,
        // Of several threads only the first is scheduled under this pid.
        ran: ran.max(cpu),
        waited,
        calls,
        bytes,
        demand: if stat.state == b'R' { 1.0 } else { 0.0 },
        decayed_calls: 0.0,
        decayed_bytes: 0.0,
        decayed_ran: 0.0,
        memory: stat.rss_pages as f64 * PAGE_MB,
    })
}

impl Profile {
    /// This one with newer counters.
    fn advanced(&self, now: &Profile, weighed: &Weighed) -> Profile {
        let seconds = now
            .at
            .saturating_duration_since(self.at)
            .as_secs_f64()
            .max(1e-3);
        let ran = now.ran.saturating_sub(self.ran) as f64 / 1e9;
        let waited = now.waited.saturating_sub(self.waited) as f64 / 1e9;
        let demand = ((ran + waited) / seconds).min(1.0);
        let weight = 1.0 - (1.0 - DEMAND_WEIGHT).powf(seconds);
        let kept = (f64::from(weighed.decay.min(10_000)) / 10_000.0).powf(seconds);
        Profile {
            since: self.since,
            demand: self.demand + (demand - self.demand) * weight,
            decayed_calls: self.decayed_calls * kept + now.calls.saturating_sub(self.calls) as f64,
            decayed_bytes: self.decayed_bytes * kept + now.bytes.saturating_sub(self.bytes) as f64,
            decayed_ran: self.decayed_ran * kept + ran,
            ..*now
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn weighed(decay: u32) -> Weighed {
        Weighed {
            frozen: crate::wire::control::Frozen::No,
            freezable: true,
            pid: std::process::id() as i32,
            home: None,
            movable: true,
            needmem: 7,
            decay,
            count_calls: true,
            calls: 0,
            bytes: 0,
            needs: None,
        }
    }

    fn profile(at: Instant) -> Profile {
        Profile {
            born: 1,
            since: at,
            at,
            ran: 0,
            waited: 0,
            calls: 0,
            bytes: 0,
            demand: 0.0,
            decayed_calls: 0.0,
            decayed_bytes: 0.0,
            decayed_ran: 0.0,
            memory: 1.0,
        }
    }

    #[test]
    fn statistics_decay_as_they_are_told_to() {
        let start = Instant::now();
        let later = |ran: u64, waited: u64, calls: u64, seconds: u64| Profile {
            at: start + Duration::from_secs(seconds),
            ran: ran * 1_000_000_000,
            waited: waited * 1_000_000_000,
            calls,
            bytes: calls * 100,
            ..profile(start)
        };
        // One second of computing and one of waiting in two: it wants to compute all the time.
        let first = profile(start).advanced(&later(1, 1, 1000, 2), &weighed(10_000));
        assert!(first.demand > 0.6 && (first.decayed_calls, first.decayed_ran) == (1000.0, 1.0));
        let kept = first.advanced(&later(2, 2, 1000, 4), &weighed(10_000));
        assert_eq!((kept.decayed_calls, kept.decayed_ran), (1000.0, 2.0));
        let forgotten = first.advanced(&later(2, 2, 1000, 4), &weighed(0));
        assert_eq!((forgotten.decayed_calls, forgotten.decayed_ran), (0.0, 1.0));
        assert_eq!((kept.decayed_bytes, forgotten.decayed_bytes), (1e5, 0.0));
        assert_eq!(kept.since, start);
    }

    #[test]
    fn this_process_is_measured() {
        let mut profiles = Profiles::default();
        let (start, me) = (Instant::now(), Ipv4Addr::LOCALHOST);
        assert_eq!(profiles.measure(&[weighed(9976)], start), 1);
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let now = Instant::now();
        assert_eq!(profiles.measure(&[weighed(9976)], now), 0);
        let process = profiles.process(&weighed(9976), me, 2.0, now).unwrap();
        assert!(process.used > 0.02 && process.memory > 0.5, "{process:?}");
        assert_eq!((process.home, process.needs), (me, 7.0));
        assert_eq!(profiles.measure(&[], now), 0);
        assert!(profiles.process(&weighed(9976), me, 1.0, now).is_none());
    }
}
