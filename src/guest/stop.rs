//! The guest as a tracee: stops, signals at delivery, its end.

use std::io;

use crate::guest::host::{Ending, Host, Order, Phase};
use crate::image::capture::Calls;
use crate::migrate::deputy::SigInfo;
use crate::migrate::tracee;
use crate::sys::abi::{self, SIG_DFL, SIG_IGN};
use crate::sys::process::tgkill;
use crate::sys::status::Status;
use crate::wire::control::Target;
use crate::wire::ctl::FromHost;

impl Host {
    /// Takes every event of the guest that is there.
    pub fn tracee_events(&mut self) -> io::Result<()> {
        let mut t = 0;
        while self.ending.is_none() && t < self.threads.len() {
            match tracee::wait_nohang(self.threads[t].tid)? {
                None => t += 1,
                Some(status) => self.tracee_event(t, status)?,
            }
        }
        // A first thread that has ended is reported when all have.
        self.departed.retain(
            |tid| !matches!(tracee::wait_nohang(*tid), Ok(Some(status)) if status.is_end()),
        );
        Ok(())
    }

    fn tracee_event(&mut self, t: usize, status: Status) -> io::Result<()> {
        match status {
            Status::Continued | Status::SyscallStop => Ok(()),
            Status::Exited(_) | Status::Signaled(..) => {
                self.ending = Some(Ending::GuestDied);
                Ok(())
            }
            Status::SignalStop(signo) => self.delivery_stop(t, signo),
            Status::Event(..) | Status::GroupStop(_) => self.event_stop(t),
        }
    }

    /// The stop that `interrupt` asked for.
    fn event_stop(&mut self, t: usize) -> io::Result<()> {
        self.threads[t].stopped = true;
        if self.leaving {
            return self.leave_if_stopped();
        }
        if self.halted {
            return Ok(());
        }
        self.go_on(t, 0)
    }

    /// Lets the stopped guest run, delivering `signo` (0: none).
    pub fn go_on(&mut self, t: usize, signo: i32) -> io::Result<()> {
        self.threads[t].stopped = false;
        for passed in std::mem::take(&mut self.threads[t].resend) {
            alive(tgkill(self.group, self.threads[t].tid, passed))?;
        }
        alive(tracee::cont(self.threads[t].tid, signo))
    }

    /// The guest is about to take a signal: one that came from home, or a fault of its own.
    fn delivery_stop(&mut self, t: usize, signo: i32) -> io::Result<()> {
        self.threads[t].stopped = true;
        if let Some(info) = self.threads[t].take_pending(signo) {
            return self.deliver(t, signo, info);
        }
        let info = tracee::siginfo(self.threads[t].tid)?;
        let code = i32::from_le_bytes([info[8], info[9], info[10], info[11]]);
        if code <= 0 {
            // Left over from a signal that was withdrawn: nobody but the host can send here.
            return self.go_on(t, 0);
        }
        self.fault(t, signo, info)
    }

    /// Lets the guest, stopped to take it, have a signal from home.
    fn deliver(&mut self, t: usize, signo: i32, info: Box<SigInfo>) -> io::Result<()> {
        match self.action_of(signo)[0] {
            SIG_IGN => self.go_on(t, 0),
            SIG_DFL => {
                // It had a handler when it was sent.
                self.default_action(t, signo, info)?;
                if self.leaving || self.ending.is_some() {
                    return Ok(());
                }
                self.go_on(t, 0)
            }
            _ => {
                alive(tracee::set_siginfo(self.threads[t].tid, &info))?;
                self.threads[t].handler_begins()?;
                self.note_handler(t, signo);
                self.go_on(t, signo)
            }
        }
    }

    fn fault(&mut self, t: usize, signo: i32, info: [u8; 128]) -> io::Result<()> {
        let [handler, ..] = self.action_of(signo);
        let caught =
            handler != SIG_DFL && handler != SIG_IGN && self.threads[t].mask & abi::bit(signo) == 0;
        // A portable program may have found an instruction that it was not to see, and which home has.
        let saw_more = signo == abi::SIGILL && self.meta.needs.is_portable();
        if saw_more {
            let pid = self.home_pid();
            self.tell(&FromHost::SawMore { pid });
        }
        if caught && !saw_more && !(signo == abi::SIGSEGV && self.grows_at_home(t, &info)?) {
            self.note_handler(t, signo);
            return self.go_on(t, signo);
        }
        // Nobody catches it, or it is none at home. There the same instruction faults again, natively: core, wait status and message are those
        // that a local process gives, and what fails only here (a page that home has) works there.
        if signo == abi::SIGTRAP {
            self.threads[t].pending.push_back(Box::new(info));
        }
        self.order = Some(Order {
            id: None,
            to: Target::Home,
        });
        self.stop_all(Some(t))
    }

    /// Whether a fault is none at home, where a mapping may grow to the place that was touched. What the deputy's kernel reads for it
    /// grows it, too; the call is one that fails when it has been read.
    fn grows_at_home(&mut self, t: usize, info: &[u8; 128]) -> io::Result<bool> {
        const NO_RESOURCE: u64 = 1 << 20;
        let code = i32::from_le_bytes([info[8], info[9], info[10], info[11]]);
        if code != abi::SEGV_MAPERR {
            return Ok(false);
        }
        let place = u64::from_le_bytes(info[16..24].try_into().expect("eight bytes"));
        let args = [NO_RESOURCE, place & !15, 0, 0, 0, 0];
        let value = self.threads[t].deputy.raw_call(abi::SYS_SETRLIMIT, args)?;
        self.take_queued_signals(t)?;
        Ok(value == -i64::from(abi::EINVAL))
    }

    pub fn action_of(&self, signo: i32) -> [u64; 4] {
        self.actions
            .get((signo - 1) as usize)
            .copied()
            .unwrap_or_default()
    }

    /// Follows what the guest's kernel does when it starts a handler.
    pub fn note_handler(&mut self, t: usize, signo: i32) {
        let [_, flags, _, mask] = self.action_of(signo);
        self.threads[t].mask |= mask;
        if flags & abi::SA_NODEFER == 0 {
            self.threads[t].mask |= abi::bit(signo);
        }
        if flags & abi::SA_RESETHAND != 0 {
            self.actions[(signo - 1) as usize][0] = SIG_DFL;
        }
    }

    /// Asks the guest to stop; the stop arrives as an event (at once, or when its call is answered).
    pub fn interrupt(&mut self, t: usize) -> io::Result<()> {
        if self.threads[t].stopped {
            Ok(())
        } else {
            alive(tracee::interrupt(self.threads[t].tid))
        }
    }

    pub fn halt(&mut self) -> io::Result<()> {
        self.halted = true;
        for t in 0..self.threads.len() {
            match &mut self.threads[t].phase {
                Phase::Running => self.interrupt(t)?,
                Phase::InCall(call) => call.halted = true,
                Phase::Sleeping(_) | Phase::Asking(_) | Phase::Ending(_) => {}
            }
        }
        Ok(())
    }

    pub fn unhalt(&mut self) -> io::Result<()> {
        self.halted = false;
        for t in 0..self.threads.len() {
            if self.threads[t].stopped && !self.leaving {
                self.go_on(t, 0)?;
            }
        }
        Ok(())
    }
}

/// The signal that a `siginfo_t` is of.
pub fn number_of(info: &[u8]) -> i32 {
    i32::from_le_bytes([info[0], info[1], info[2], info[3]])
}

/// A guest that died is learnt from its wait status, not from a failed request.
pub fn alive(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(abi::ESRCH) => Ok(()),
        other => other,
    }
}
