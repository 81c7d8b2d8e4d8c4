//! What the deputy says: answers and signals.

use std::io;
use std::time::{Duration, Instant};

use crate::guest::host::{Call, Ending, Host, Phase};
use crate::migrate::deputy::Frame;
use crate::sys::abi::{EINTR, ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS};
use crate::sys::seccomp::Notification;
use crate::syscall::{self, Restart, Step};
use crate::wire::channel::{ABORTABLE, ABORTED, PROGRAM};

impl Host {
    pub fn channel_readable(&mut self) -> io::Result<()> {
        match self.deputy.read_frame() {
            Ok(Frame::Signal(info)) => {
                if let Phase::InCall(call) = &mut self.phase {
                    call.signalled = true;
                }
                self.signal_from_home(info)
            }
            Ok(Frame::Reply { value, out }) => self.answered(value, out),
            Err(error) if gone(&error) => {
                self.ending = Some(Ending::HomeGone);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Handles signals that arrived while an internal request waited for its answer.
    pub fn take_queued_signals(&mut self) -> io::Result<()> {
        while let Some(info) = self.deputy.signals.pop_front() {
            self.signal_from_home(info)?;
        }
        Ok(())
    }

    fn answered(&mut self, value: i64, out: Vec<u8>) -> io::Result<()> {
        let Phase::InCall(call) = std::mem::replace(&mut self.phase, Phase::Running) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to no call"));
        };
        if value == ABORTED || value == -i64::from(EINTR) {
            return self.interrupted(call, value);
        }
        let memory = self.memory();
        match call.forward.finish(&memory, value, &out, call.done) {
            Step::Done(result) => self.complete(&call.notification, result),
            Step::More(forward, done) => {
                let Call { notification, issued, left, signalled, .. } = *call;
                self.issue(Call { notification, forward, issued, left, signalled, done })
            }
        }
    }

    /// The call did not run to its end: a signal, a move, or both.
    fn interrupted(&mut self, call: Box<Call>, value: i64) -> io::Result<()> {
        if call.done > 0 {
            // Part of a divided transfer has been made: that part is the result, as the kernel would have it.
            return self.complete(&call.notification, call.done as i64);
        }
        let by_signal = call.signalled && self.deliverable(&call);
        if by_signal && let Some(mask) = syscall::signal_mask(&call.notification.call(), &self.memory()) {
            return self.interrupted_with_mask(call, mask);
        }
        if by_signal {
            let result = match (value, syscall::restart(call.notification.nr)) {
                (ABORTED, _) => -ERESTARTNOINTR,
                (_, Restart::Restart) => -ERESTARTSYS,
                (_, Restart::NoHand) => -ERESTARTNOHAND,
                (_, Restart::Never) => -i64::from(EINTR),
            };
            return self.complete(&call.notification, result);
        }
        if self.leaving {
            return self.abandon(call);
        }
        if value != ABORTED && !call.signalled {
            // The home kernel itself says EINTR (it does so after a stop, for some calls).
            return self.complete(&call.notification, value);
        }
        self.issue_again(*call)
    }

    /// Whether a signal is there that the guest takes as soon as its call returns.
    fn deliverable(&self, call: &Call) -> bool {
        let mask = syscall::signal_mask(&call.notification.call(), &self.memory()).unwrap_or(self.mask);
        self.pending.iter().any(|info| mask & crate::sys::abi::bit(crate::guest::stop::number_of(&info[..])) == 0)
    }

    fn issue_again(&mut self, mut call: Call) -> io::Result<()> {
        let notification = call.notification;
        call.left = call.left.map(|left| left.saturating_sub(call.issued.elapsed()));
        if let Some(left) = call.left {
            syscall::with_time_left(notification.nr, &mut call.forward, left.as_nanos() as u64);
        }
        call.signalled = false;
        self.issue(call)
    }

    /// Sends a program's call to the deputy.
    pub fn issue(&mut self, mut call: Call) -> io::Result<()> {
        call.issued = Instant::now();
        call.forward.request.flags |= PROGRAM | ABORTABLE;
        let sent = self.deputy.send(&call.forward.request, &call.forward.input);
        match sent {
            Err(error) if gone(&error) => self.ending = Some(Ending::HomeGone),
            other => other?,
        }
        self.phase = Phase::InCall(Box::new(call));
        Ok(())
    }

    /// Gives the guest the result of its call. A guest that is to leave, or to stop, does so on its way out of the kernel.
    pub fn complete(&mut self, notification: &Notification, result: i64) -> io::Result<()> {
        if self.leaving || self.halted {
            self.interrupt()?;
        }
        self.phase = Phase::Running;
        self.listener.answer(notification, result)
    }

    /// The guest's own kernel executes the call.
    pub fn let_through(&mut self, notification: &Notification) -> io::Result<()> {
        if self.leaving || self.halted {
            self.interrupt()?;
        }
        self.phase = Phase::Running;
        self.listener.let_through(notification)
    }

    /// The guest leaves in the middle of a call that has had no effect: it is made again where the guest arrives.
    fn abandon(&mut self, call: Box<Call>) -> io::Result<()> {
        if let Some(left) = call.left {
            let left: Duration = left.saturating_sub(call.issued.elapsed());
            self.resume = crate::image::Resume::TimeLeft { nr: call.notification.nr, ns: left.as_nanos() as u64 };
        }
        self.complete(&call.notification, -ERESTARTNOINTR)
    }
}

/// Whether the other end of a connection is gone.
pub fn gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe | ConnectionAborted | NotConnected | TimedOut)
}
