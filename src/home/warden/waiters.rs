//! Threads in native waits for children: one of which a child uses time elsewhere from now on has to be observed.

use std::io;

use crate::home::mover::seize;
use crate::home::warden::state::{Proc, Warden};
use crate::sys::abi::{self, EINTR, ERESTARTNOINTR};
use crate::sys::ptrace::Running;
use crate::sys::{procfs, tracked};
use crate::wire::control::Place;

impl Warden {
    /// A child of `parent` uses time elsewhere from now on: a native wait for children is begun anew, and is then observed (or held
    /// for the mover).
    pub fn wake_waiter(&mut self, parent: i32) {
        let here = |proc: &Proc| proc.place == Place::Home;
        // A mover stops it by itself, and only one can trace it: it is woken when the mover has ended.
        let at_work = self.movers.values().any(|mover| mover.pid == parent);
        if self.waiters.is_empty() || at_work || !self.procs.get(&parent).is_none_or(here) {
            return;
        }
        for tid in procfs::threads(parent).unwrap_or_default() {
            let waits =
                self.waiters.remove(&tid) && !self.observed.contains_key(&tid) && may_wait(tid);
            if waits && let Err(error) = wake(tid) {
                log::debug!("waking {tid}: {error}");
            }
        }
    }

    /// Forgets those that wait no longer.
    pub fn forget_waiters(&mut self) {
        self.waiters.retain(|tid| may_wait(*tid));
    }

    /// Those that wait natively for children, of whom this warden has not heard.
    pub fn find_waiters(&mut self) {
        let here = |pid: &i32| !seize::is_deputy(*pid).unwrap_or(true);
        let threads = |pid: i32| procfs::threads(pid).unwrap_or_default();
        let waiting = self.procs.keys().copied().filter(here);
        let waiting = waiting.flat_map(threads).filter(|tid| may_wait(*tid));
        self.waiters.extend(waiting);
    }
}

fn is_wait(nr: u64) -> bool {
    matches!(nr, abi::SYS_WAIT4 | abi::SYS_WAITID)
}

/// Whether the thread waits for children, or does not wait (it may be about to).
fn may_wait(tid: i32) -> bool {
    tracked::current_call(tid).is_ok_and(|call| call.is_none_or(is_wait))
}

/// A stop is enough to have the wait repeated. A thread that has gone on to another call meanwhile repeats that.
fn wake(tid: i32) -> io::Result<()> {
    let Some(task) = Running::seize(tid, 0)?.stop_past_signals()? else {
        return Ok(());
    };
    let mut regs = task.regs()?;
    if (regs.orig_rax as i64) >= 0 && regs.rax as i64 == -i64::from(EINTR) {
        regs.rax = (-ERESTARTNOINTR) as u64;
        task.set_regs(&regs)?;
    }
    task.detach(0)
}
