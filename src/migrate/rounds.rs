//! When a process that runs on while its memory is sent is stopped for the rest. Pure.

use std::time::Duration;

/// Processes with less memory are moved at once: to look at them twice would take longer.
pub const WORTHWHILE: u64 = 8 << 20;
/// A rest that goes in this time is sent with the process stopped.
const SHORT: Duration = Duration::from_millis(4);
/// So is one of so few bytes, whatever the link.
pub const LITTLE: u64 = 256 << 10;
/// And whatever is left after so many rounds.
const MOST: u32 = 16;
/// A receiver takes no more stages of one move than this.
pub const MOST_STAGES: usize = 64;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Round,
    Stop,
}

/// The rounds of one move so far.
#[derive(Debug)]
pub struct Rounds {
    little: u64,
    done: u32,
    /// What the last one sent, and the time that it took.
    last: (u64, Duration),
    /// Rounds one after the other that left nearly as much as they sent.
    in_vain: u32,
}

impl Rounds {
    /// None yet. `little`: bytes that are sent with the process stopped, whatever the link ([`LITTLE`]).
    pub fn new(little: u64) -> Rounds {
        Rounds {
            little,
            done: 0,
            last: (0, Duration::ZERO),
            in_vain: 0,
        }
    }

    /// A round has sent so many bytes.
    pub fn sent(&mut self, bytes: u64, took: Duration) {
        self.done += 1;
        self.last = (bytes, took);
    }

    /// So many bytes are left, having been written meanwhile.
    pub fn next(&mut self, left: u64) -> Next {
        let (sent, took) = self.last;
        if self.done == 0 {
            return if left <= self.little {
                Next::Stop
            } else {
                Next::Round
            };
        }
        let shrinks = left < sent / 4 * 3;
        self.in_vain = if shrinks { 0 } else { self.in_vain + 1 };
        // As long as the last round, in proportion.
        let needed = took.as_secs_f64() * left as f64 / sent.max(1) as f64;
        let short = left <= self.little || needed <= SHORT.as_secs_f64();
        if short || self.in_vain > 1 || self.done >= MOST {
            Next::Stop
        } else {
            Next::Round
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds until the stop, and what is left then, of so much memory written at a rate (bytes per second) that the link carries.
    fn run(memory: u64, written: u64, link: u64) -> (u32, u64) {
        let mut rounds = Rounds::new(LITTLE);
        let mut left = memory;
        while rounds.next(left) == Next::Round {
            let took = Duration::from_secs_f64(left as f64 / link as f64);
            rounds.sent(left, took);
            left = memory.min((written as f64 * took.as_secs_f64()) as u64);
        }
        (rounds.done, left)
    }

    #[test]
    fn rounds_go_on_while_they_help() {
        const GIB: u64 = 1 << 30;
        let (rounds, left) = run(GIB, 0, GIB);
        assert_eq!((rounds, left), (1, 0));
        assert_eq!(run(LITTLE, 0, GIB).0, 0);
        let (rounds, left) = run(GIB, GIB / 10, GIB);
        assert!(
            (2..=4).contains(&rounds) && left < GIB / 200,
            "{rounds} {left}"
        );
        // Faster than the link: twice in vain, and then the rest.
        let (rounds, left) = run(GIB, 2 * GIB, GIB);
        assert_eq!((rounds, left), (2, GIB));
        // As fast as it can just bear.
        let (rounds, left) = run(GIB, GIB * 7 / 10, GIB);
        assert!(rounds <= MOST && left < GIB / 20, "{rounds} {left}");
    }

    #[test]
    fn there_is_an_end() {
        let mut rounds = Rounds::new(LITTLE);
        let mut left = 1 << 60;
        let mut done = 0;
        while rounds.next(left) == Next::Round {
            rounds.sent(left, Duration::from_secs(1));
            left = left / 4 * 3 - 1;
            done += 1;
        }
        assert_eq!(done, MOST);
    }
}
