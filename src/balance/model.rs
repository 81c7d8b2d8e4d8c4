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
    /// Takes no guests.
    pub blocked: bool,
    /// What its processor offers, if that is known.
    pub cpu: Option<Cpu>,
    /// With more processes than these, some would be frozen.
    pub most: f64,
    /// The cluster that it is of: 0 is this node's, others have any number.
    pub cluster: u16,
    /// Processes of this node's cluster may go there.
    pub ours: bool,
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
            most: if load.full() { 0.0 } else { f64::INFINITY },
            cluster: 0,
            ours: true,
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

    /// One more process that computes so much of its time has none frozen.
    pub fn below_mark(&self, demand: f64) -> bool {
        self.running + demand <= self.most
    }
}

/// A process as the policy sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// Whatever the caller knows it by.
    pub id: u64,
    pub home: Ipv4Addr,
    /// The cluster of its home, as in [`Place::cluster`].
    pub cluster: u16,
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
/// What a rate in another cluster is worth: its owners may send guests away at any time.
const ABROAD: f64 = 0.8;
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

    /// What is left of a rate where other clusters' processes may need the place.
    pub fn abroad(&self, at: &Place) -> f64 {
        if at.cluster == self.cluster {
            1.0
        } else {
            ABROAD
        }
    }

    /// What is left of a rate when calls travel home, as they do everywhere else, and of a place in another cluster.
    pub fn away(&self, at: &Place, costs: &Costs) -> f64 {
        if at.node == self.home {
            return 1.0;
        }
        self.abroad(at) / (1.0 + self.calls * costs.call_s + self.call_mb / costs.call_mb_per_s)
    }

    /// Its cluster and the place's agree that it may go there. A guest stays with us or goes back to its own cluster: only its home knows
    /// where else it may be.
    pub fn may_go(&self, place: &Place) -> bool {
        if self.cluster == 0 {
            place.ours
        } else {
            place.cluster == 0 || place.cluster == self.cluster
        }
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
            cluster: 0,
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
        let at = |node, cluster| Place {
            cluster,
            ..Place::new(node, &Load::default())
        };
        assert_eq!(process.away(&at(HOME, 0), &costs), 1.0);
        assert!((process.away(&at(OTHER, 0), &costs) - 0.5).abs() < 1e-9);
        assert!((process.away(&at(OTHER, 1), &costs) - 0.4).abs() < 1e-9);
        assert!((costs.of_moving(process.memory) - 2.1).abs() < 1e-9);
    }
}
