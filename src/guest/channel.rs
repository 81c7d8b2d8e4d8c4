//! What the deputy says: answers and signals.

use std::io;
use std::time::Instant;

use crate::guest::calls::Carried;
use crate::guest::host::{Call, Ending, Host, Phase, Thread};
use crate::guest::repeat::unheard_code;
use crate::image::Resume;
use crate::migrate::deputy::Frame;
use crate::sys::abi::{self, EINTR, ERESTARTNOINTR, ERESTARTSYS};
use crate::sys::seccomp::{Notification, Response};
use crate::syscall::{self, After, Step};
use crate::wire::channel::{ABORTABLE, ABORTED, INTERRUPTED, PROGRAM};

impl Host {
    pub fn channel_readable(&mut self, t: usize) -> io::Result<()> {
        match self.threads[t].deputy.read_frame() {
            Ok(Frame::Signal(info)) => {
                if let Phase::InCall(call) = &mut self.threads[t].phase {
                    call.signalled = true;
                }
                self.signal_from_home(t, info)
            }
            Ok(Frame::Reply { value, out }) => {
                self.weight.bytes += out.len() as u64;
                self.answered(t, value, &out)?;
                if let Some(thread) = self.threads.get_mut(t) {
                    thread.deputy.reuse(out);
                }
                Ok(())
            }
            Err(error) if gone(&error) && matches!(self.threads[t].phase, Phase::Ending(_)) => {
                self.thread_ended(t)
            }
            Err(error) if gone(&error) => {
                self.ending = Some(Ending::HomeGone);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Handles signals that arrived while an internal request waited for its answer.
    pub fn take_queued_signals(&mut self, t: usize) -> io::Result<()> {
        while let Some(info) = self.threads[t].deputy.signals.pop_front() {
            self.signal_from_home(t, info)?;
        }
        Ok(())
    }

    /// Those of all threads.
    pub fn take_all_queued_signals(&mut self) -> io::Result<()> {
        let queued = |thread: &Thread| !thread.deputy.signals.is_empty();
        while self.ending.is_none()
            && let Some(t) = self.threads.iter().position(queued)
        {
            self.take_queued_signals(t)?;
        }
        Ok(())
    }

    fn answered(&mut self, t: usize, value: i64, out: &[u8]) -> io::Result<()> {
        let Phase::InCall(call) = std::mem::replace(&mut self.threads[t].phase, Phase::Running)
        else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "an answer to no call",
            ));
        };
        if matches!(value, ABORTED | INTERRUPTED) || value == -i64::from(EINTR) {
            return self.interrupted(t, call, value);
        }
        let memory = self.memory(t);
        let value = call.forward.unpack.finish(&memory, value, out);
        let (nr, args) = (call.notification.nr as u64, call.notification.args);
        match syscall::after(&call.forward, nr, args, &memory, &self.home_view(t), value) {
            After::Done(result) => self.complete_call(t, &call, result),
            After::More(plan) => {
                let moved = matches!(call.forward.step, Step::Piece { .. });
                let done = call.done + if moved { value.max(0) as u64 } else { 0 };
                let steady = call.steady || moved && self.is_file(t, args[0])?;
                let left = call.left;
                let left = left.map(|left| left.saturating_sub(call.issued.elapsed()));
                let Call {
                    notification,
                    signalled,
                    disturbed,
                    ..
                } = *call;
                self.follow(
                    t,
                    notification,
                    *plan,
                    Carried {
                        done,
                        left,
                        signalled,
                        disturbed,
                        steady,
                    },
                )
            }
        }
    }

    /// The value of a whole call: a transfer that a signal or a stop cut short goes on if the program is not to notice.
    fn complete_call(&mut self, t: usize, call: &Call, result: i64) -> io::Result<()> {
        if let Some(rest) = self.rest_of_transfer(t, call, result) {
            return rest;
        }
        if result >= 0 {
            self.add_cpu_time(t, call, result)?;
        }
        self.complete(t, &call.notification, result)
    }

    /// A blocking write that was interrupted by a move (no signal was caught) and wrote a part: the rest is written now, or where
    /// the guest arrives.
    fn rest_of_transfer(&mut self, t: usize, call: &Call, result: i64) -> Option<io::Result<()>> {
        if call.signalled || !call.disturbed || result <= 0 {
            return None;
        }
        let wanted = transfer_len(&call.notification)?;
        if result as u64 >= wanted {
            return None;
        }
        if self.leaving {
            self.threads[t].resume = Resume::Written {
                nr: call.notification.nr as u64,
                bytes: result as u64,
            };
            return Some(self.complete(t, &call.notification, -ERESTARTNOINTR));
        }
        None
    }

    /// The call did not run to its end: a signal, a move, or both.
    fn interrupted(&mut self, t: usize, call: Box<Call>, value: i64) -> io::Result<()> {
        let (nr, mask) = (call.notification.nr as u64, self.temporary_mask(t, &call));
        let in_force = mask.unwrap_or(self.threads[t].mask);
        let by_signal = call.signalled && self.deliverable_under(t, in_force);
        if by_signal && call.done > 0 {
            // Part of a divided transfer has been made: that part is the result, as the kernel would have it.
            return self.complete(t, &call.notification, call.done as i64);
        }
        if by_signal && let Some(mask) = mask {
            return self.interrupted_with_mask(t, &call.notification, mask);
        }
        if by_signal {
            let code = if value == ABORTED {
                unheard_code(nr)
            } else {
                self.code_of_wait(t, &call.notification)?
            };
            return self.complete(t, &call.notification, code);
        }
        if self.leaving {
            return self.abandon(t, &call);
        }
        if value == -i64::from(EINTR) && !call.signalled && call.halted {
            // The home kernel itself says EINTR, as it does after a stop for some calls.
            return self.complete(t, &call.notification, value);
        }
        self.issue_again(t, *call)
    }

    fn temporary_mask(&self, t: usize, call: &Call) -> Option<u64> {
        syscall::temporary_mask(
            call.notification.nr as u64,
            &call.notification.args,
            &self.memory(t),
        )
    }

    fn issue_again(&mut self, t: usize, mut call: Call) -> io::Result<()> {
        let nr = call.notification.nr as u64;
        call.left = self.time_left(t, &call)?;
        if let (Some(wait), Some(left), 0) = (syscall::socket_wait(nr), call.left, call.done) {
            return self.await_socket(t, call.notification, wait, left);
        }
        if let Some(left) = call.left {
            syscall::with_time_left(nr, &mut call.forward, left.as_nanos() as u64);
        }
        call.signalled = false;
        call.halted = false;
        self.issue(t, call)
    }

    /// Sends a program's call to the deputy.
    pub fn issue(&mut self, t: usize, mut call: Call) -> io::Result<()> {
        call.issued = Instant::now();
        let abortable = if call.steady { 0 } else { ABORTABLE };
        call.forward.request.flags |= PROGRAM | abortable;
        self.weight.bytes += call.forward.input.len() as u64;
        match self.threads[t]
            .deputy
            .send(&call.forward.request, &call.forward.input)
        {
            Err(error) if gone(&error) => self.ending = Some(Ending::HomeGone),
            other => other?,
        }
        self.threads[t].phase = Phase::InCall(Box::new(call));
        Ok(())
    }

    /// Gives the guest the result of its call. A guest that is to leave, or to stop, does so on its way out of the kernel.
    pub fn complete(
        &mut self,
        t: usize,
        notification: &Notification,
        result: i64,
    ) -> io::Result<()> {
        self.threads[t].told_to_restart = result == -ERESTARTSYS;
        let response = match result {
            -4095..0 => Response::Error((-result) as i32),
            value => Response::Value(value),
        };
        self.respond(t, notification, response)
    }

    /// The guest's own kernel executes the call.
    pub fn let_through(&mut self, t: usize, notification: &Notification) -> io::Result<()> {
        self.threads[t].told_to_restart = false;
        self.respond(t, notification, Response::Continue)
    }

    fn respond(
        &mut self,
        t: usize,
        notification: &Notification,
        response: Response,
    ) -> io::Result<()> {
        if self.leaving || self.halted {
            self.interrupt(t)?;
        }
        self.threads[t].phase = Phase::Running;
        // False: the guest is gone, which its wait status tells.
        self.listener.send(notification.id, response).map(drop)
    }

    /// The guest leaves in the middle of a call that has had no effect: it is made again where the guest arrives.
    fn abandon(&mut self, t: usize, call: &Call) -> io::Result<()> {
        let nr = call.notification.nr as u64;
        if call.done > 0 {
            self.threads[t].resume = Resume::Written {
                nr,
                bytes: call.done,
            };
        } else if call.forward.request.nr == abi::SYS_RESTART_SYSCALL {
            // It is still in the home kernel's restart block.
            self.threads[t].resume = Resume::RestartBlock { nr };
        } else if let Some(left) = self.time_left(t, call)? {
            self.threads[t].resume = Resume::until(nr, left);
        }
        let code = self.code_of_wait(t, &call.notification)?;
        self.complete(t, &call.notification, code)
    }
}

/// Bytes that a blocking write is to transfer, if the call is one.
fn transfer_len(notification: &Notification) -> Option<u64> {
    match notification.nr as u64 {
        abi::SYS_WRITE | abi::SYS_SENDTO => Some(notification.args[2]),
        _ => None,
    }
}

/// Whether the other end of a connection is gone.
pub fn gone(error: &io::Error) -> bool {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof,
    };
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted | NotConnected | TimedOut
    )
}
