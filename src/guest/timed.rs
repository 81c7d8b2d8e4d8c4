//! Waits on futexes with a relative time-out. The guest's kernel makes them, and nobody else knows how long they have lasted: so the host is
//! told when one begins, and one that goes on after a move gets the time that is left of it.

use std::io;
use std::time::{Duration, Instant};

use crate::guest::host::{Host, Thread};
use crate::guest::sleep::join;
use crate::image::gadget::TIMES;
use crate::image::{self, Resume};
use crate::migrate::tracee;
use crate::sys::abi::{ERESTARTNOHAND, SYS_FUTEX};
use crate::sys::mem;
use crate::sys::regs::Regs;
use crate::sys::seccomp::Notification;
use crate::syscall;
use crate::wire::channel::STUB_SIZE;

/// For each thread a `timespec` and the pointer that it stands in for.
const ROOM: u64 = 24;
const _: () = assert!(image::MAX_THREADS as u64 * ROOM <= STUB_SIZE - TIMES);

impl Host {
    /// The wait begins, and is the kernel's.
    pub fn futex_waits(&mut self, t: usize, notification: &Notification) -> io::Result<()> {
        let nr = notification.nr as u64;
        let whole = syscall::time_out_ns(nr, &notification.args, &self.memory(t));
        let thread = &mut self.threads[t];
        let left = thread.resume.take_time(nr);
        let left = left.or(whole.map(Duration::from_nanos));
        // Beyond all clocks it has no end.
        thread.timed = left.and_then(|left| Instant::now().checked_add(left));
        self.let_through(t, notification)
    }

    /// A stopped thread that has arrived in front of such a wait will make it with the time that is left.
    pub fn give_time_left(&mut self, t: usize) -> io::Result<()> {
        let thread = &self.threads[t];
        let Resume::TimeLeft { nr: SYS_FUTEX, .. } = thread.resume else {
            return Ok(());
        };
        let mut regs = tracee::regs(thread.tid)?;
        if let (Some(left), true) = (thread.resume.left(), syscall::is_timed_futex(&regs.args())) {
            let ours = self.meta.stub + TIMES + t as u64 * ROOM;
            let bytes = [&join(left)[..], &regs.r10.to_le_bytes()].concat();
            mem::write_all(thread.tid, ours, &bytes)?;
            regs.r10 = ours;
            tracee::set_regs(thread.tid, &regs)?;
        }
        Ok(())
    }
}

impl Thread {
    /// A stopped thread leaves: its own pointers are put back. How it will go on elsewhere.
    pub fn leaves_futex(&self, stub: u64, captured: &mut image::Thread) -> io::Result<Resume> {
        let words = captured.regs.as_slice().try_into();
        let mut regs = Regs::from_array(words.map_err(io::Error::other)?);
        if let Resume::RestartBlock { .. } = captured.resume {
            // Nothing else that the guest's kernel does goes on by itself after it was stopped.
            regs.rax = SYS_FUTEX;
            captured.interrupted = Some((SYS_FUTEX, -ERESTARTNOHAND));
        }
        if (stub + TIMES..stub + STUB_SIZE).contains(&regs.r10) {
            let mut pointer = [0; 8];
            mem::read_exact(self.tid, regs.r10 + 16, &mut pointer)?;
            regs.r10 = u64::from_le_bytes(pointer);
        }
        captured.regs = regs.to_array().to_vec();
        let waits = captured.interrupted.is_some_and(|(nr, _)| nr == SYS_FUTEX)
            && syscall::is_timed_futex(&regs.args());
        Ok(match self.timed.filter(|_| waits) {
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                Resume::until(SYS_FUTEX, left)
            }
            None => self.resume.clone(),
        })
    }
}
