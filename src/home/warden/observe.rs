//! Threads that make a call which tells CPU time under the warden's eyes: stopped on the way out of it, so that what was used elsewhere
//! can be added to what the kernel has stored.
//!
//! A wait for a child may last; while it does, the caller is traced by the warden, so that it is stopped on its way out too. Whatever
//! else stops it (a signal, a mover that wants it) ends the tracing: the wait is then repeated and notified again.

use std::io;
use std::time::Instant;

use crate::home::warden::state::Warden;
use crate::home::warden::usage::LAST_WORD;
use crate::migrate::tracee;
use crate::sys::ptrace::{Running, Stopped};
use crate::sys::seccomp::Notification;
use crate::sys::status::Status;
use crate::syscall::ProcessMemory;
use crate::syscall::usage::{self, Whose};

/// A thread that makes such a call under the warden's eyes.
pub struct Observed {
    notification: Notification,
    pid: i32,
    whose: Whose,
    state: State,
    /// Somebody else is to trace it: it does not go on waiting under the warden's eyes.
    wanted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was told to stop on its way out of the call.
    Ending,
    /// It waits in the call; inside: its entry was reported.
    Waiting { inside: bool },
    /// Its call has ended; it is stopped until all is known, or until then.
    Stopped { until: Instant },
}

enum Next {
    Wait { inside: bool },
    Finish,
    LetGo(i32),
}

impl Warden {
    /// Lets the call be made, and stops its thread on the way out of it.
    pub fn observe(
        &mut self,
        notification: Notification,
        pid: i32,
        whose: Whose,
    ) -> io::Result<()> {
        let tid = notification.pid;
        // Who cannot be traced (a debugger has it, or it has changed its user) is told what its kernel knows.
        if let Ok(thread) = Running::seize(tid, 0) {
            let _ = thread.interrupt();
            self.observed.insert(
                tid,
                Observed {
                    notification,
                    pid,
                    whose,
                    state: State::Ending,
                    wanted: false,
                },
            );
        }
        self.go_on(&notification)
    }

    /// Something happened to threads under observation.
    pub fn observed_events(&mut self) {
        let process = |(tid, observed): (&i32, &Observed)| (*tid, observed.pid);
        let threads: Vec<(i32, i32)> = self.observed.iter().map(process).collect();
        for (tid, pid) in threads {
            while self.observed.contains_key(&tid) {
                match tracee::wait_nohang(tid) {
                    Ok(Some(status)) => self.observed_event(tid, status),
                    Ok(None) => break,
                    Err(_) => drop(self.observed.remove(&tid)),
                }
            }
            self.order_if_free(tid, pid);
        }
    }

    fn observed_event(&mut self, tid: i32, status: Status) {
        let Some(observed) = self.observed.get_mut(&tid) else {
            return;
        };
        let next = match (observed.state, status) {
            (_, Status::Exited(_) | Status::Signaled(..)) => {
                self.observed.remove(&tid);
                return;
            }
            (State::Waiting { inside: false }, Status::SyscallStop) => Next::Wait { inside: true },
            (State::Waiting { inside: true }, Status::SyscallStop) => observed.way_out(true),
            (State::Ending, Status::Event(..) | Status::GroupStop(_)) => {
                observed.way_out(matches!(status, Status::Event(..)))
            }
            (_, Status::SignalStop(signo)) => Next::LetGo(signo),
            _ => Next::LetGo(0),
        };
        match next {
            Next::Wait { .. } if observed.wanted => self.detach(tid, 0),
            Next::Wait { inside } => {
                observed.state = State::Waiting { inside };
                // Its end, if it was killed, is reported by the next wait.
                let _ = Stopped::known(tid).cont_to_syscall();
            }
            Next::Finish => {
                observed.state = State::Stopped {
                    until: Instant::now() + LAST_WORD,
                };
                self.finish(tid, false);
            }
            Next::LetGo(signo) => self.detach(tid, signo),
        }
    }

    fn detach(&mut self, tid: i32, signo: i32) {
        self.observed.remove(&tid);
        if let Err(error) = Stopped::known(tid).detach(signo) {
            log::debug!("letting go of {tid}: {error}");
        }
    }

    /// The call has its answer: what was used elsewhere is added, when it is known (or now at the latest).
    fn finish(&mut self, tid: i32, now: bool) {
        self.settle();
        let Some(observed) = self.observed.get(&tid) else {
            return;
        };
        let Observed {
            notification,
            pid,
            whose,
            ..
        } = *observed;
        let (nr, args, memory) = (
            notification.nr as u64,
            notification.args,
            ProcessMemory(tid),
        );
        let Ok(result) = tracee::regs(tid).map(|regs| regs.rax as i64) else {
            return self.detach(tid, 0);
        };
        let child = usage::waited_child(nr, &args, result, &memory);
        if !self.is_known(pid, whose, child) {
            if !now {
                return;
            }
            log::debug!(
                "the last host of {pid} or of a child of it has not told how much CPU time was used there"
            );
            self.forget_last_words(pid);
        }
        // Nobody waits for this any more, if it is not there.
        let _ = usage::add(nr, &args, self.elsewhere(pid, whose, child), &memory);
        self.detach(tid, 0);
    }

    /// A host has said something, or time has passed: threads that are stopped until all is known.
    pub fn retry_stopped(&mut self, now: Instant) {
        let until =
            |(tid, observed): (&i32, &Observed)| Some((*tid, observed.pid, observed.until()?));
        let stopped: Vec<(i32, i32, Instant)> = self.observed.iter().filter_map(until).collect();
        for (tid, pid, until) in stopped {
            self.finish(tid, now >= until);
            self.order_if_free(tid, pid);
        }
    }

    /// A mover is to trace `pid`: nobody else may. False while somebody does: the order is given again when that is over.
    pub fn stop_observing(&mut self, pid: i32) -> bool {
        let threads = self.observed.iter_mut();
        let mut free = true;
        for (tid, observed) in threads.filter(|(_, observed)| observed.pid == pid) {
            observed.wanted = true;
            free = false;
            if matches!(observed.state, State::Waiting { .. }) {
                // Its end, if it was killed, is reported by the next wait.
                let _ = tracee::interrupt(*tid);
            }
        }
        free
    }

    /// A thread is not observed any more, perhaps: its process may have been ordered away meanwhile.
    fn order_if_free(&mut self, tid: i32, pid: i32) {
        if !self.observed.contains_key(&tid) {
            self.order_again(pid);
        }
    }
}

impl Observed {
    /// What to do with it at a stop on the way out of the call. `may_wait`: it may go on waiting.
    fn way_out(&self, may_wait: bool) -> Next {
        let Ok(regs) = tracee::regs(self.notification.pid) else {
            return Next::LetGo(0);
        };
        let here = regs.orig_rax == self.notification.nr as u64 && regs.rip == self.notification.ip;
        match regs.rax as i64 {
            _ if !here => Next::LetGo(0),
            -516..=-512 if may_wait => Next::Wait { inside: false },
            result if result < 0 => Next::LetGo(0),
            _ => Next::Finish,
        }
    }

    /// Until when it stays stopped at most, if it is.
    pub fn until(&self) -> Option<Instant> {
        match self.state {
            State::Stopped { until } => Some(until),
            State::Ending | State::Waiting { .. } => None,
        }
    }
}
