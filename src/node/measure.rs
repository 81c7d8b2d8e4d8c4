//! How loaded this node is.

use crate::gossip::Load;
use crate::sys::{affinity, load};

/// Weight of one measurement in the smoothed number of running processes.
const WEIGHT: f64 = 0.15;

/// Measures this node, once for each report that is told.
pub struct Meter {
    speed: u32,
    /// Processes that run or want to, smoothed.
    running: f64,
}

impl Meter {
    pub fn new(speed: u32) -> Meter {
        Meter {
            speed,
            running: 0.0,
        }
    }

    /// The administrator says otherwise than before.
    pub fn set_speed(&mut self, speed: u32) {
        self.speed = speed;
    }

    /// This node's report. What the kernel does not tell is 0.
    pub fn load(&mut self) -> Load {
        let memory = load::memory().unwrap_or_default();
        // This process is one of them.
        let running = f64::from(load::running().unwrap_or(1).saturating_sub(1));
        self.running += (running - self.running) * WEIGHT;
        let cpus = affinity::allowed().map_or(1, |cpus| cpus.len().clamp(1, 1024) as u16);
        Load {
            speed: self.speed,
            cpus,
            load: Load::standardized((self.running * 100.0) as u32, self.speed, cpus),
            mem_total: memory.total,
            mem_free: memory.available,
            swap_total: memory.swap_total,
            swap_free: memory.swap_free,
            ..Load::default()
        }
    }
}
