//! Calls that the guest makes again: what a handler that runs before the repetition makes of them.
//!
//! A call that was interrupted shows one of the kernel's codes (`-ERESTARTSYS`…), and the kernel that starts a handler decides by it
//! between `EINTR` and repetition. Three ways lead there: the host answers a call so; a signal or a stop interrupts a call
//! before the host has heard of it; or the guest has moved in the middle of a call and stands in front of it.

use std::io;
use std::time::Duration;

use crate::guest::host::{Call, Host, Thread};
use crate::guest::sleep::join;
use crate::image::{self, Resume};
use crate::migrate::{sockets, tracee};
use crate::sys::abi::{self, ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS};
use crate::sys::mem;
use crate::sys::regs::{Interrupted, NO_CALL, Regs, SYSCALL_LEN};
use crate::sys::seccomp::Notification;
use crate::syscall::{self, Local, Restart, table};

/// The call in front of which a guest has arrived, and where that is.
#[derive(Clone, Copy, Debug)]
pub struct Repeated {
    nr: u64,
    code: i64,
    rip: u64,
    rsp: u64,
}

impl Repeated {
    /// Of a thread as it came.
    pub fn of(thread: &image::Thread) -> Option<Repeated> {
        let (nr, code) = thread.interrupted?;
        let regs = Regs::from_array(thread.regs.as_slice().try_into().ok()?);
        Some(Repeated {
            nr,
            code,
            rip: regs.rip,
            rsp: regs.rsp,
        })
    }

    fn is_next(&self, regs: &Regs) -> bool {
        regs.orig_rax as i64 == -1
            && (regs.rax, regs.rip, regs.rsp) == (self.nr, self.rip, self.rsp)
    }
}

/// How the kernel would mark a call that was interrupted while it waited.
fn waiting_code(nr: u64) -> i64 {
    match table::find(nr).and_then(|row| row.restart) {
        Some(Restart::Begins) | None => -ERESTARTSYS,
        Some(Restart::NoHandler | Restart::Continues | Restart::Never) => -ERESTARTNOHAND,
    }
}

/// How a call is marked of which nothing was done yet. A handler may run before it; but a call that does nothing but wait for something to
/// happen counts as interrupted: what it waits for may have been that very signal. (Sleeps end by themselves.)
pub fn unheard_code(nr: u64) -> i64 {
    let sleeps = matches!(nr, abi::SYS_NANOSLEEP | abi::SYS_CLOCK_NANOSLEEP);
    if waiting_code(nr) == -ERESTARTNOHAND && !sleeps {
        -ERESTARTNOHAND
    } else {
        -ERESTARTNOINTR
    }
}

/// Whether the guest's own kernel may be what has interrupted the call.
fn is_local(nr: u64) -> bool {
    table::find(nr).is_some_and(|row| row.local != Local::Never)
}

/// Where a sleep that fails with `EINTR` stores what is left of it.
fn remainder_pointer(nr: u64, args: &[u64; 6]) -> Option<u64> {
    let addr = match nr {
        abi::SYS_NANOSLEEP => args[1],
        abi::SYS_CLOCK_NANOSLEEP if args[1] == 0 => args[3],
        _ => 0,
    };
    (addr != 0).then_some(addr)
}

impl Host {
    /// How the kernel marks a call that was interrupted while it waited: on a socket with a time-out of its own, every handler makes it
    /// fail (signal(7)).
    pub fn code_of_wait(&mut self, t: usize, notification: &Notification) -> io::Result<i64> {
        let nr = notification.nr as u64;
        let code = waiting_code(nr);
        // A connect, too, fails after every handler then.
        let option = match nr {
            abi::SYS_CONNECT => Some(abi::SO_SNDTIMEO),
            _ => syscall::socket_wait(nr).map(|wait| wait.option),
        };
        match option {
            Some(option)
                if self
                    .socket_time_out(t, notification.args[0], option)?
                    .is_some() =>
            {
                Ok(-ERESTARTNOHAND)
            }
            _ => Ok(code),
        }
    }

    /// What is left of the time of a call that was interrupted, if it ends by itself.
    pub fn time_left(&mut self, t: usize, call: &Call) -> io::Result<Option<Duration>> {
        let nr = call.notification.nr as u64;
        let whole = match (call.left, syscall::socket_wait(nr)) {
            (None, Some(wait)) => {
                self.socket_time_out(t, call.notification.args[0], wait.option)?
            }
            (left, _) => left,
        };
        Ok(whole.map(|whole| whole.saturating_sub(call.issued.elapsed())))
    }

    fn socket_time_out(&mut self, t: usize, fd: u64, option: u64) -> io::Result<Option<Duration>> {
        let time = sockets::option(&mut self.threads[t].deputy, fd, option)?;
        self.take_queued_signals(t)?;
        Ok(time)
    }
}

impl Thread {
    /// It makes a call: whatever it was to continue, it does so now or no more.
    pub fn call_begins(&mut self, nr: u64) {
        self.repeats = None;
        self.timed = None;
        if self.resume.nr() != Some(nr) {
            self.resume = Resume::Nothing;
        }
    }

    /// Stopped to take a signal, it is about to run a handler.
    pub fn handler_begins(&mut self) -> io::Result<()> {
        let resume = std::mem::take(&mut self.resume);
        let repeats = self.repeats.take();
        let told = std::mem::take(&mut self.told_to_restart);
        let mut regs = tracee::regs(self.tid)?;
        if let Some(call) = repeats.filter(|call| call.is_next(&regs)) {
            regs.rip += SYSCALL_LEN;
            regs.orig_rax = call.nr;
            regs.rax = call.code as u64;
        } else if let Interrupted::Repeat { nr } = regs.interrupted() {
            if regs.rax as i64 == -ERESTARTSYS && !told && !is_local(nr) {
                regs.rax = unheard_code(nr) as u64;
            }
        } else {
            return Ok(());
        }
        let remainder = remainder_pointer(regs.orig_rax, &regs.args());
        if let (Some(left), Some(addr)) = (resume.left(), remainder) {
            // Where nothing can be written the program finds nothing.
            let _ = mem::write_all(self.tid, addr, &join(left));
        }
        if let Resume::Written { bytes, .. } = resume {
            // Natively that part is the call's result.
            (regs.rax, regs.orig_rax) = (bytes, NO_CALL);
        }
        tracee::set_regs(self.tid, &regs)
    }

    /// For the image: the call that it will repeat when it goes on, and its code.
    pub fn interrupted_call(&self, captured: &image::Thread) -> Option<(u64, i64)> {
        match captured.interrupted {
            Some((nr, code)) if code == -ERESTARTSYS && !self.told_to_restart && !is_local(nr) => {
                Some((nr, unheard_code(nr)))
            }
            Some(call) => Some(call),
            None => {
                let regs = Regs::from_array(captured.regs.as_slice().try_into().ok()?);
                let call = self.repeats.filter(|call| call.is_next(&regs))?;
                Some((call.nr, call.code))
            }
        }
    }
}
