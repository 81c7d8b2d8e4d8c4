//! What a node tells of itself.

use serde::{Deserialize, Serialize};

/// A node's resources and how much of them is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Relative speed of one processor; 10,000 is standard.
    pub speed: u32,
    pub cpus: u16,
    /// Standardized load: 100 is one process that computes on a node with one standard processor.
    pub load: u32,
    /// Memory and swap space, in megabytes.
    pub mem_total: u32,
    pub mem_free: u32,
    pub swap_total: u32,
    pub swap_free: u32,
    /// Processes from elsewhere.
    pub guests: u16,
    /// Of the processes that run, how many (in hundredths) are other clusters': they give way to the node's own cluster.
    pub yielding: u16,
    pub frozen: u16,
    /// [`Load::BLOCKED`] and [`Load::FULL`].
    pub flags: u16,
}

impl Load {
    /// Takes no guests.
    pub const BLOCKED: u16 = 1;
    /// One process more, and some would be frozen.
    pub const FULL: u16 = 2;
    /// Standard speed of a processor.
    pub const STANDARD_SPEED: u32 = 10_000;

    /// The standardized load of so many running processes (in hundredths).
    pub fn standardized(running: u32, speed: u32, cpus: u16) -> u32 {
        let power = u64::from(speed.max(1)) * u64::from(cpus.max(1));
        let load = u64::from(running) * u64::from(Load::STANDARD_SPEED) / power;
        load.min(u64::from(u32::MAX)) as u32
    }

    /// Processes that run or want to, in hundredths: the load without speed and processors.
    pub fn running(&self) -> u32 {
        let power = u64::from(self.speed) * u64::from(self.cpus);
        let standard = u64::from(Load::STANDARD_SPEED);
        let running = (u64::from(self.load) * power).div_ceil(standard);
        running.min(u64::from(u32::MAX)) as u32
    }

    pub fn blocked(&self) -> bool {
        self.flags & Load::BLOCKED != 0
    }

    pub fn full(&self) -> bool {
        self.flags & Load::FULL != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_in_standard_units() {
        // One process on one standard processor.
        assert_eq!(Load::standardized(100, 10_000, 1), 100);
        // More processors and faster ones lower it; slower ones raise it.
        assert_eq!(Load::standardized(100, 10_000, 4), 25);
        assert_eq!(Load::standardized(100, 20_000, 1), 50);
        assert_eq!(Load::standardized(100, 5_000, 1), 200);
        assert_eq!(Load::standardized(u32::MAX, 1, 1), u32::MAX);
    }

    #[test]
    fn running_processes_come_back_from_the_load() {
        for (running, speed, cpus) in [(300, 10_000, 2), (700, 25_000, 8), (100, 3_000, 1)] {
            let load = Load {
                load: Load::standardized(running, speed, cpus),
                speed,
                cpus,
                ..Load::default()
            };
            let back = load.running();
            assert!(
                back.abs_diff(running) <= 20,
                "{running} came back as {back}"
            );
        }
    }
}
