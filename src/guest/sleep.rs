//! Sleeps of the guest, waited out by the host so that they can move with it.

use std::io;
use std::time::{Duration, Instant};

use crate::guest::host::{Host, Phase, Sleep};
use crate::image::Resume;
use crate::sys::abi::{EFAULT, EINVAL, ERESTART_RESTARTBLOCK, ERESTARTNOHAND};
use crate::sys::mem;
use crate::sys::seccomp::Notification;
use crate::sys::tracked::clock_ns;

const TIMER_ABSTIME: u64 = 1;
const CLOCK_MONOTONIC: u64 = 1;
const CLOCK_BOOTTIME: u64 = 7;

impl Host {
    /// Begins a sleep: `nanosleep` is `clock_nanosleep(CLOCK_MONOTONIC, 0, …)`.
    pub fn sleep(
        &mut self,
        t: usize,
        notification: Notification,
        (clock, flags): (u64, u64),
        (request, remainder): (u64, u64),
    ) -> io::Result<()> {
        let mut bytes = [0; 16];
        if mem::read_exact(self.threads[t].tid, request, &mut bytes).is_err() {
            return self.complete(t, &notification, -i64::from(EFAULT));
        }
        let (seconds, nanos) = split(&bytes);
        if seconds < 0 || !(0..1_000_000_000).contains(&nanos) {
            return self.complete(t, &notification, -i64::from(EINVAL));
        }
        let wanted = Duration::new(seconds as u64, nanos as u32);
        let absolute = flags & TIMER_ABSTIME != 0;
        let left = match self.threads[t].resume.take_time(notification.nr as u64) {
            Some(left) => left,
            None if absolute => wanted.saturating_sub(self.guest_clock(clock)?),
            None => wanted,
        };
        let until = Instant::now() + left.min(Duration::from_secs(1 << 32));
        self.threads[t].phase = Phase::Sleeping(Sleep {
            notification,
            until,
            remainder,
            absolute,
        });
        self.wake_sleeper(t)
    }

    /// The guest's view of a clock: its monotonic clocks are those of home.
    fn guest_clock(&self, clock: u64) -> io::Result<Duration> {
        let here = clock_ns(clock as i32)? as i64;
        let offset = match clock {
            CLOCK_MONOTONIC => self.ahead.0,
            CLOCK_BOOTTIME => self.ahead.1,
            _ => 0,
        };
        Ok(Duration::from_nanos((here + offset).max(0) as u64))
    }

    /// Ends a sleep whose time is over.
    pub fn check_sleep(&mut self, t: usize) -> io::Result<()> {
        match &self.threads[t].phase {
            Phase::Sleeping(sleep) if Instant::now() >= sleep.until => {
                let notification = sleep.notification;
                self.complete(t, &notification, 0)
            }
            _ => Ok(()),
        }
    }

    /// Interrupts a sleep if a handler is to run.
    pub fn wake_sleeper(&mut self, t: usize) -> io::Result<()> {
        let Phase::Sleeping(sleep) = &self.threads[t].phase else {
            return Ok(());
        };
        if !self.has_deliverable(t) {
            return Ok(());
        }
        let (notification, absolute, remainder) =
            (sleep.notification, sleep.absolute, sleep.remainder);
        if absolute {
            return self.complete(t, &notification, -ERESTARTNOHAND);
        }
        let left = sleep.until.saturating_duration_since(Instant::now());
        if remainder != 0 && mem::write_all(self.threads[t].tid, remainder, &join(left)).is_err() {
            return self.complete(t, &notification, -i64::from(EFAULT));
        }
        self.complete(t, &notification, -ERESTART_RESTARTBLOCK)
    }

    /// Stops a sleep because the guest leaves; the rest is slept where it arrives.
    pub fn interrupt_sleep(&mut self, t: usize) -> io::Result<()> {
        let Phase::Sleeping(sleep) = &self.threads[t].phase else {
            return Ok(());
        };
        let (notification, left) = (
            sleep.notification,
            sleep.until.saturating_duration_since(Instant::now()),
        );
        self.threads[t].resume = Resume::until(notification.nr as u64, left);
        self.complete(t, &notification, -ERESTARTNOHAND)
    }
}

impl Resume {
    /// The time left of a call that is made again, if this is that call.
    pub fn take_time(&mut self, nr: u64) -> Option<Duration> {
        match *self {
            Resume::TimeLeft { nr: was, .. } if was == nr => std::mem::take(self).left(),
            _ => None,
        }
    }
}

fn split(bytes: &[u8; 16]) -> (i64, i64) {
    let word = |at: usize| i64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    (word(0), word(8))
}

/// A duration as a `timespec`.
pub fn join(left: Duration) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&left.as_secs().to_le_bytes());
    bytes[8..].copy_from_slice(&u64::from(left.subsec_nanos()).to_le_bytes());
    bytes
}
