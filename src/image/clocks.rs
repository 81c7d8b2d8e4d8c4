//! Clocks over a move: a process always sees home's monotonic clock, which never goes back, whatever the nodes' clocks say.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::image::{Meta, Resume};
use crate::sys::process;

/// How much later home's clock may be, by the clocks of the two nodes, than it must be for what has come from there; a difference beyond
/// that is one of their times of day, not of the way.
const TRUSTED_NS: i64 = 250_000_000;
/// Clocks that differ by less are left alone.
const SAME_NS: i64 = 1_000_000;
/// Nobody waits longer for a clock.
const LONGEST: Duration = Duration::from_secs(10);

/// When an image was made, all its threads having stopped if it is the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Home's CLOCK_MONOTONIC in nanoseconds, as the process sees it.
    pub home_ns: i64,
    /// The sender's CLOCK_REALTIME.
    pub real_ns: i64,
}

impl Moment {
    /// Now; `ahead`: how much the process's monotonic clock is ahead of this node's.
    pub fn now(ahead: i64) -> Moment {
        Moment {
            home_ns: process::monotonic_ns().saturating_add(ahead),
            real_ns: process::realtime_ns(),
        }
    }
}

/// The clocks of a node, read at one time: monotonic, boot time and time of day in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    pub monotonic: i64,
    pub boottime: i64,
    pub real: i64,
}

impl Clocks {
    /// This node's.
    pub fn here() -> Clocks {
        let read = || {
            let before = process::monotonic_ns();
            let (real, boottime) = (process::realtime_ns(), process::boottime_ns());
            let took = process::monotonic_ns() - before;
            let monotonic = before + took / 2;
            let clocks = Clocks {
                monotonic,
                boottime,
                real,
            };
            (took, clocks)
        };
        // Whoever is interrupted between two clocks has read nothing.
        let mut best = read();
        for _ in 0..2 {
            best = std::cmp::min_by_key(best, read(), |(took, _)| *took);
        }
        best.1
    }
}

impl Meta {
    /// What home's monotonic and boot-time clocks are ahead of those here, in nanoseconds; nothing where it is too little to be seen.
    pub fn ahead(&self, here: &Clocks) -> (i64, i64) {
        let at_least = self.sent.home_ns.saturating_sub(here.monotonic);
        let difference = here.real.saturating_sub(here.monotonic);
        let by_day = self.monotonic_offset_ns.saturating_add(difference);
        // Clocks that agree so well are the same, however long the way was.
        let same = seen(by_day) == 0 && at_least <= 0;
        let trusted = same || (at_least..=at_least.saturating_add(TRUSTED_NS)).contains(&by_day);
        let ahead = seen(if trusted { by_day } else { at_least });
        let slept = |boottime: i64, monotonic: i64| boottime.saturating_sub(monotonic);
        let more = slept(self.boottime_offset_ns, self.monotonic_offset_ns)
            .saturating_sub(slept(here.boottime, here.monotonic));
        (ahead, seen(ahead.saturating_add(more)))
    }

    /// The process is here: times of day that it brings along are by this node's clock from now on. How long it has to wait until its
    /// monotonic clock, which is `now` as it would see it here, is where it was.
    pub fn arrived(&mut self, now: Moment) -> Duration {
        let on_its_way = now.home_ns.saturating_sub(self.sent.home_ns);
        let later = now
            .real_ns
            .saturating_sub(self.sent.real_ns)
            .saturating_sub(on_its_way.max(0));
        for thread in &mut self.threads {
            if let Resume::TimeLeft { until, .. } = &mut thread.resume {
                *until = until.saturating_add_signed(later);
            }
        }
        let behind = u64::try_from(-on_its_way.max(-i64::MAX)).unwrap_or(0);
        Duration::from_nanos(behind).min(LONGEST)
    }
}

fn seen(ns: i64) -> i64 {
    if ns.saturating_abs() < SAME_NS { 0 } else { ns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Thread;

    const SECOND: i64 = 1_000_000_000;

    /// Sent by a node whose monotonic clock was at 5000 s, its boot time 10 s more, at 1 000 000 s of its day.
    fn meta() -> Meta {
        let sent = Moment {
            home_ns: 5_000 * SECOND,
            real_ns: 1_000_000 * SECOND,
        };
        let offset = sent.home_ns - sent.real_ns;
        Meta {
            sent,
            monotonic_offset_ns: offset,
            boottime_offset_ns: offset + 10 * SECOND,
            threads: vec![Thread {
                resume: Resume::TimeLeft {
                    nr: 35,
                    until: (1_000_003 * SECOND) as u64,
                },
                ..Thread::default()
            }],
            ..Meta::default()
        }
    }

    /// A node whose monotonic clock is 3000 s behind, and `late` after the image was sent; its time of day is wrong by `wrong`.
    fn node(late: i64, wrong: i64) -> Clocks {
        Clocks {
            monotonic: 2_000 * SECOND + late,
            boottime: 2_001 * SECOND + late,
            real: 1_000_000 * SECOND + late + wrong,
        }
    }

    #[test]
    fn homes_clock_is_found_and_never_guessed_too_low() {
        let ms = SECOND / 1000;
        // Times of day agree: the way does not count.
        let (mono, boot) = meta().ahead(&node(20 * ms, 0));
        assert_eq!((mono, boot), (3_000 * SECOND, 3_009 * SECOND));
        // They do not: then the process is behind by the way.
        for wrong in [SECOND, -SECOND, 3600 * SECOND, -50 * ms] {
            let (mono, _) = meta().ahead(&node(20 * ms, wrong));
            assert_eq!(mono, 3_000 * SECOND - 20 * ms, "{wrong}");
        }
        // The same machine.
        for late in [ms / 10, 3 * SECOND] {
            let same = Clocks {
                monotonic: 5_000 * SECOND + late,
                boottime: 5_010 * SECOND + late,
                real: 1_000_000 * SECOND + late,
            };
            assert_eq!(meta().ahead(&same), (0, 0));
        }
        assert_eq!(
            Meta::default()
                .ahead(&Clocks {
                    monotonic: i64::MIN,
                    boottime: i64::MAX,
                    real: i64::MAX
                })
                .0,
            i64::MAX
        );
    }

    #[test]
    fn what_is_left_of_a_time_does_not_depend_on_the_time_of_day() {
        let left = |meta: &Meta, real: i64| match meta.threads[0].resume {
            Resume::TimeLeft { until, .. } => until as i64 - real,
            _ => panic!("no time is left"),
        };
        for wrong in [0, 7 * SECOND, -7 * SECOND] {
            let mut meta = meta();
            let real = 1_000_001 * SECOND + wrong;
            let now = Moment {
                home_ns: 5_001 * SECOND,
                real_ns: real,
            };
            assert_eq!(meta.arrived(now), Duration::ZERO);
            assert_eq!(left(&meta, real), 2 * SECOND, "{wrong}");
        }
    }

    #[test]
    fn nobody_runs_before_its_clock_is_where_it_was() {
        let now = |home_ns: i64| Moment {
            home_ns,
            real_ns: 1_000_000 * SECOND,
        };
        let wait = |at: i64| meta().arrived(now(at));
        assert_eq!(wait(5_000 * SECOND), Duration::ZERO);
        assert_eq!(wait(4_999 * SECOND), Duration::from_secs(1));
        assert_eq!(wait(0), LONGEST);
        assert_eq!(wait(i64::MIN), LONGEST);
    }

    #[test]
    fn a_nodes_clocks_are_read_together() {
        let (first, then) = (Clocks::here(), Clocks::here());
        let day = |clocks: Clocks| clocks.real - clocks.monotonic;
        assert!((day(then) - day(first)).abs() < SECOND / 10);
        assert!(then.monotonic > first.monotonic);
    }
}
