//! What a process gets at a node, and what a move costs.

use std::net::Ipv4Addr;

use crate::gossip::Load;
use crate::wire::cpu::Cpu;

/// What the network costs.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// Seconds that a move takes however small the process is.
    pub move_s: f64,
    /// Megabytes of a process that travel in a second.
    pub move_mb_per_s: f64,
    /// Seconds that a call takes longer when it must travel home.
    pub call_s: f64,
    /// Megabytes that calls carry in a second.
    pub call_mb_per_s: f64,
}

impl Default for Costs {
    /// A network of 1 Gbit/s.
    fn default() -> Costs {
        Costs {
            move_s: 0.1,
            move_mb_per_s: 100.0,
            call_s: 1e-4,
            call_mb_per_s: 100.0,
        }
    }
}

impl Costs {
    /// Seconds during which a process of this size does not run because it moves.
    pub fn of_moving(&self, memory_mb: f64) -> f64 {
        self.move_s + memory_mb / self.move_mb_per_s
    }
}

/// A node as the policy sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub node: Ipv4Addr,
    /// Of one processor; 1 is standard.
    pub speed: f64,
    pub cpus: f64,
    /// Processes that compute there.
    pub running: f64,
    pub mem_total: f64,
    pub mem_free: f64,
    pub blocked: bool,
    /// What its processor offers, if that is known.
    pub cpu: Option<Cpu>,
}

/// With less of its memory free than this share, a node does not take more, and begins to give away.
pub const MEMORY_RESERVE: f64 = 0.05;

impl Place {
    pub fn new(node: Ipv4Addr, load: &Load) -> Place {
        Place {
            node,
            speed: f64::from(load.speed) / f64::from(Load::STANDARD_SPEED),
            cpus: f64::from(load.cpus.max(1)),
            running: f64::from(load.running()) / 100.0,
            mem_total: f64::from(load.mem_total),
            mem_free: f64::from(load.mem_free),
            blocked: load.blocked(),
            cpu: None,
        }
    }

    /// Standard processor seconds that each process gets in a second, with `more` processes than there are.
    pub fn rate(&self, more: f64) -> f64 {
        self.speed * (self.cpus / (self.running + more).max(self.cpus))
    }

    /// What one more process is worth here, all processes considered, as a rate: those who are there already get less because of it.
    ///
    /// Each process's use of a rate is taken as its logarithm, so that it counts how many times faster or slower one becomes; this is
    /// the rate of a process alone that would add as much. It is the full speed while there are idle processors, and about a
    /// third of what each gets when there are none. `more` are to be added before it.
    pub fn worth(&self, more: f64) -> f64 {
        let sum = |count: f64| {
            if count > self.cpus {
                count * (self.cpus / count).ln()
            } else {
                0.0
            }
        };
        let count = self.running + more;
        self.speed * (sum(count + 1.0) - sum(count)).exp()
    }

    /// A process that is so bound can be here, as far as is known.
    pub fn suits(&self, bound: Option<&Bound>) -> bool {
        let (Some(bound), Some(cpu)) = (bound, &self.cpu) else {
            return bound.is_none();
        };
        let sees_more = bound.begins && cpu.shows_more(&bound.needs).is_some();
        cpu.lacks(&bound.needs).is_none() && !sees_more
    }

    /// Megabytes that it may still take.
    pub fn room(&self) -> f64 {
        self.mem_free - MEMORY_RESERVE * self.mem_total
    }
}

/// A process as the policy sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// Whatever the caller knows it by.
    pub id: u64,
    pub home: Ipv4Addr,
    /// Standard processor seconds that it has used.
    pub used: f64,
    /// Share of its time that it computes or wants to.
    pub demand: f64,
    pub memory: f64,
    /// Memory that it will need, if it was said.
    pub needs: f64,
    /// Calls that would travel home, and their megabytes, in a processor second.
    pub calls: f64,
    pub call_mb: f64,
    /// Seconds since it came here, or began here.
    pub stayed: f64,
    /// It may be moved, and can be.
    pub movable: bool,
    /// What it must find elsewhere; `None`: nothing in particular.
    pub bound: Option<Bound>,
}

/// What a process depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    pub needs: Cpu,
    /// It begins where it goes to, and must not see more there than its home has.
    pub begins: bool,
}

/// Work that a process which has not done any yet is expected to have.
const LEAST_WORK: f64 = 0.2;
/// Nobody looks further ahead: standard processor seconds.
const MOST_WORK: f64 = 600.0;

impl Process {
    /// Work that is left, as expected: as much as was done.
    pub fn left(&self) -> f64 {
        self.used.clamp(LEAST_WORK, MOST_WORK)
    }

    pub fn size(&self) -> f64 {
        self.memory.max(self.needs)
    }

    /// What is left of a rate when calls travel home, as they do everywhere else.
    pub fn away(&self, at: Ipv4Addr, costs: &Costs) -> f64 {
        if at == self.home {
            return 1.0;
        }
        1.0 / (1.0 + self.calls * costs.call_s + self.call_mb / costs.call_mb_per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn processes_share_processors() {
        let mut place = Place::new(
            HOME,
            &Load {
                speed: 20_000,
                cpus: 4,
                load: Load::standardized(300, 20_000, 4),
                ..Load::default()
            },
        );
        assert_eq!((place.speed, place.cpus), (2.0, 4.0));
        assert!((place.running - 3.0).abs() < 0.1);
        place.running = 3.0;
        assert_eq!(
            (place.rate(0.0), place.rate(1.0), place.rate(5.0)),
            (2.0, 2.0, 1.0)
        );
    }

    #[test]
    fn calls_cost_only_away_from_home() {
        let process = Process {
            id: 1,
            home: HOME,
            used: 10.0,
            demand: 1.0,
            memory: 200.0,
            needs: 0.0,
            calls: 10_000.0,
            call_mb: 0.0,
            stayed: 5.0,
            movable: true,
            bound: None,
        };
        let costs = Costs::default();
        assert_eq!(process.away(HOME, &costs), 1.0);
        assert!((process.away(OTHER, &costs) - 0.5).abs() < 1e-9);
        assert!((costs.of_moving(process.memory) - 2.1).abs() < 1e-9);
    }
}
