//! The guest as a tracee: stops, signals at delivery, its end.

use std::io;

use crate::guest::host::{Ending, Host, Order, Phase};
use crate::migrate::tracee;
use crate::sys::abi::{self, SIG_DFL, SIG_IGN};
use crate::sys::process::tgkill;
use crate::sys::status::Status;
use crate::wire::control::Target;

impl Host {
    /// Takes every event of the guest that is there.
    pub fn tracee_events(&mut self) -> io::Result<()> {
        while self.ending.is_none() {
            match tracee::wait_nohang(self.guest)? {
                None => break,
                Some(status) => self.tracee_event(status)?,
            }
        }
        Ok(())
    }

    fn tracee_event(&mut self, status: Status) -> io::Result<()> {
        match status {
            Status::Continued | Status::SyscallStop => Ok(()),
            Status::Exited(_) | Status::Signaled(..) => {
                self.ending = Some(Ending::GuestDied);
                Ok(())
            }
            Status::SignalStop(signo) => self.delivery_stop(signo),
            Status::Event(..) | Status::GroupStop(_) => self.event_stop(),
        }
    }

    /// The stop that `interrupt` asked for.
    fn event_stop(&mut self) -> io::Result<()> {
        self.stopped = true;
        if self.leaving {
            return self.leave();
        }
        if self.halted {
            return Ok(());
        }
        self.go_on(0)
    }

    /// Lets the stopped guest run, delivering `signo` (0: none).
    pub fn go_on(&mut self, signo: i32) -> io::Result<()> {
        self.stopped = false;
        for passed in std::mem::take(&mut self.resend) {
            alive(tgkill(self.guest, self.guest, passed))?;
        }
        alive(tracee::cont(self.guest, signo))
    }

    /// The guest is about to take a signal: one that came from home, or a fault of its own.
    fn delivery_stop(&mut self, signo: i32) -> io::Result<()> {
        self.stopped = true;
        self.repeat_unheard_call()?;
        if let Some(at) = self
            .pending
            .iter()
            .position(|info| number_of(&info[..]) == signo)
        {
            let info = self.pending.remove(at).expect("just found");
            if self.action_of(signo)[0] == SIG_IGN {
                return self.go_on(0);
            }
            alive(tracee::set_siginfo(self.guest, &info))?;
            self.note_handler(signo);
            return self.go_on(signo);
        }
        let info = tracee::siginfo(self.guest)?;
        let code = i32::from_le_bytes([info[8], info[9], info[10], info[11]]);
        if code <= 0 {
            // Left over from a signal that was withdrawn: nobody but the host can send here.
            return self.go_on(0);
        }
        self.fault(signo, info)
    }

    /// A call that a signal interrupted before the host had received its notification shows as -ERESTARTSYS, which a handler may turn
    /// into `EINTR`. Nothing has been done of it, so it is repeated whatever the handler says.
    fn repeat_unheard_call(&mut self) -> io::Result<()> {
        let mut regs = tracee::regs(self.guest)?;
        let interrupted = regs.rax as i64 == -abi::ERESTARTSYS && regs.orig_rax as i64 >= 0;
        if interrupted && !std::mem::take(&mut self.told_to_restart) {
            regs.rax = -abi::ERESTARTNOINTR as u64;
            tracee::set_regs(self.guest, &regs)?;
        }
        Ok(())
    }

    fn fault(&mut self, signo: i32, info: [u8; 128]) -> io::Result<()> {
        let [handler, ..] = self.action_of(signo);
        if handler != SIG_DFL && handler != SIG_IGN && self.mask & abi::bit(signo) == 0 {
            self.note_handler(signo);
            return self.go_on(signo);
        }
        // Nobody catches it. At home the same instruction faults again, natively: core, wait status and message are those
        // that a local process gives, and what fails only here (a page that home has) works there.
        if signo == abi::SIGTRAP {
            self.pending.push_back(Box::new(info));
        }
        self.order = Some(Order {
            id: None,
            to: Target::Home,
        });
        self.leaving = true;
        self.leave()
    }

    pub fn action_of(&self, signo: i32) -> [u64; 4] {
        self.actions
            .get((signo - 1) as usize)
            .copied()
            .unwrap_or_default()
    }

    /// Follows what the guest's kernel does when it starts a handler.
    pub fn note_handler(&mut self, signo: i32) {
        let [_, flags, _, mask] = self.action_of(signo);
        self.mask |= mask;
        if flags & abi::SA_NODEFER == 0 {
            self.mask |= abi::bit(signo);
        }
        if flags & abi::SA_RESETHAND != 0 {
            self.actions[(signo - 1) as usize][0] = SIG_DFL;
        }
    }

    /// Asks the guest to stop; the stop arrives as an event (at once, or when its call is answered).
    pub fn interrupt(&mut self) -> io::Result<()> {
        if self.stopped {
            Ok(())
        } else {
            alive(tracee::interrupt(self.guest))
        }
    }

    pub fn halt(&mut self) -> io::Result<()> {
        self.halted = true;
        match self.phase {
            Phase::Running => self.interrupt(),
            _ => Ok(()),
        }
    }

    pub fn unhalt(&mut self) -> io::Result<()> {
        self.halted = false;
        if self.stopped && !self.leaving {
            self.go_on(0)
        } else {
            Ok(())
        }
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
