//! How loaded this node is.

use crate::gossip::Load;
use crate::sys::{affinity, load};

/// Weight of one measurement in the smoothed number of other running processes.
const WEIGHT: f64 = 0.15;

/// Measures this node, once for each report that is told.
pub struct Meter {
    speed: u32,
    cpus: u16,
    /// Only the processes of this node's own mosd count: several nodes are on this machine.
    own_only: bool,
    /// Megabytes that this node has of the machine's memory; all of it otherwise.
    share: Option<u32>,
    /// Other processes of this machine that run or want to, smoothed.
    others: f64,
    memory: load::Memory,
}

impl Meter {
    /// `cpus` and `share`: how many processors and megabytes this node has of a machine that it shares with other nodes.
    pub fn new(speed: u32, cpus: Option<u16>, share: Option<u32>) -> Meter {
        let all = || affinity::allowed().map_or(1, |cpus| cpus.len().clamp(1, 1024) as u16);
        Meter {
            speed,
            cpus: cpus.unwrap_or_else(all),
            own_only: cpus.is_some(),
            share,
            others: 0.0,
            memory: load::Memory::default(),
        }
    }

    /// The administrator says otherwise than before.
    pub fn set_speed(&mut self, speed: u32) {
        self.speed = speed;
    }

    /// What it says depends on this node's own processes alone.
    pub fn own_only(&self) -> bool {
        self.own_only || self.share.is_some()
    }

    /// Looks at the machine; `ours` of the processes that compute are known by themselves, and so are their megabytes. What the kernel does
    /// not tell is 0.
    pub fn look(&mut self, ours: f64, megabytes: f64) {
        self.look_at_memory(megabytes);
        if !self.own_only {
            // This process is one of them.
            let others = f64::from(load::running().unwrap_or(1)) - 1.0 - ours;
            self.others += (others.max(0.0) - self.others) * WEIGHT;
        }
    }

    /// The memory alone: before it is decided who goes, it must be known what those who have gone left.
    pub fn look_at_memory(&mut self, megabytes: f64) {
        self.memory = load::memory().unwrap_or_default();
        if let Some(total) = self.share {
            self.memory.total = total;
            self.memory.available = (f64::from(total) - megabytes).max(0.0) as u32;
        }
    }

    /// This node's report, with so many processes of ours.
    pub fn load(&self, ours: f64) -> Load {
        let running = ((ours + self.others) * 100.0) as u32;
        Load {
            speed: self.speed,
            cpus: self.cpus,
            load: Load::standardized(running, self.speed, self.cpus),
            mem_total: self.memory.total,
            mem_free: self.memory.available,
            swap_total: self.memory.swap_total,
            swap_free: self.memory.swap_free,
            ..Load::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_its_own_counts_its_own() {
        let mut meter = Meter::new(20_000, Some(2), Some(500));
        meter.look(0.0, 120.0);
        let load = meter.load(4.0);
        assert_eq!((load.load, load.cpus), (100, 2));
        assert_eq!((load.mem_total, load.mem_free), (500, 380));
        // The whole machine: what others do is seen, sooner or later.
        let mut meter = Meter::new(10_000, None, None);
        meter.look(0.0, 0.0);
        assert!(meter.load(0.0).mem_total > 0);
        assert!(meter.load(1.0).load >= 100 / u32::from(meter.cpus) - 1);
    }
}
