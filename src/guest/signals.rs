//! Signals on their way from the home pid to the guest.

use std::io;

use crate::guest::host::{Call, Host, Order, Phase};
use crate::guest::sleep::join;
use crate::guest::stop::{alive, number_of};
use crate::image::capture::Calls;
use crate::migrate::deputy::SigInfo;
use crate::migrate::tracee;
use crate::sys::abi::{self, DefaultAction, EINTR, SIG_DFL, SIG_IGN};
use crate::sys::mem;
use crate::sys::process::tgkill;
use crate::sys::seccomp::Response;
use crate::sys::status::Status;
use crate::wire::control::Target;

/// Offset in a kernel's `rt_sigframe` of the mask that `rt_sigreturn` restores: return address, `uc_flags`, `uc_link`,
/// `uc_stack` and the machine context come before it.
pub const FRAME_MASK: u64 = 8 + 8 + 8 + 24 + 256;

/// Where a sleep that fails with `EINTR` stores what is left of it.
fn remainder_pointer(nr: u64, args: &[u64; 6]) -> Option<u64> {
    let addr = match nr {
        abi::SYS_NANOSLEEP => args[1],
        abi::SYS_CLOCK_NANOSLEEP if args[1] == 0 => args[3],
        _ => 0,
    };
    (addr != 0).then_some(addr)
}

/// Bytes of a `syscall` instruction.
const SYSCALL_LEN: u64 = 2;

impl Host {
    /// A signal was delivered at home: the home kernel has decided that the program takes it now.
    pub fn signal_from_home(&mut self, info: Box<SigInfo>) -> io::Result<()> {
        let signo = number_of(&info[..]);
        match self.action_of(signo)[0] {
            SIG_IGN => Ok(()),
            SIG_DFL => self.default_action(signo, info),
            _ => self.queue(signo, info),
        }
    }

    fn default_action(&mut self, signo: i32, info: Box<SigInfo>) -> io::Result<()> {
        match abi::default_action(signo) {
            DefaultAction::Ignore | DefaultAction::Continue => Ok(()),
            DefaultAction::Stop => {
                // A handler that was there when home delivered it has been reset since.
                let args = [self.home_pid() as u64, abi::SIGSTOP as u64, 0, 0, 0, 0];
                match self.phase {
                    Phase::InCall(_) => Ok(()),
                    _ => self.deputy.raw_call(abi::SYS_KILL, args).map(drop),
                }
            }
            DefaultAction::Terminate | DefaultAction::Core => {
                // It dies at home, with its memory, as a local process would.
                self.pending.push_back(info);
                self.ordered(Order {
                    id: None,
                    to: Target::Home,
                })
            }
        }
    }

    /// Sends the signal to the guest; its `siginfo` is set when the guest stops to take it.
    fn queue(&mut self, signo: i32, info: Box<SigInfo>) -> io::Result<()> {
        let standard = signo < 32;
        if standard
            && self
                .pending
                .iter()
                .any(|queued| number_of(&queued[..]) == signo)
        {
            return Ok(());
        }
        self.pending.push_back(info);
        alive(tgkill(self.guest, self.guest, signo))?;
        self.wake_sleeper()
    }

    /// Whether the guest takes some queued signal as soon as it can.
    pub fn has_deliverable(&self) -> bool {
        self.pending.iter().any(|info| {
            let signo = number_of(&info[..]);
            self.mask & abi::bit(signo) == 0
                && !matches!(self.action_of(signo)[0], SIG_DFL | SIG_IGN)
        })
    }

    /// A call that waited with a signal mask of its own (`sigsuspend`, `ppoll`…) was interrupted. The handler must run with
    /// that mask, and the mask from before comes back when it returns. The guest's kernel knows nothing of the temporary
    /// mask, so the host sets it, lets the guest step into the handler, and writes the old mask into the signal frame.
    pub fn interrupted_with_mask(&mut self, call: &Call, temporary: u64) -> io::Result<()> {
        let before = self.mask;
        self.phase = Phase::Running;
        alive(tracee::interrupt(self.guest))?;
        self.listener
            .send(call.notification.id, Response::Error(EINTR))?;
        if !self.await_event_stop()? {
            return Ok(());
        }
        alive(tracee::set_sigmask(self.guest, temporary))?;
        self.mask = temporary;
        let signo = loop {
            alive(tracee::cont(self.guest, 0))?;
            match tracee::wait(self.guest)? {
                Status::SignalStop(signo) => break signo,
                Status::Exited(_) | Status::Signaled(..) => {
                    self.ending = Some(crate::guest::host::Ending::GuestDied);
                    return Ok(());
                }
                // A second interruption that was asked for meanwhile.
                _ => {}
            }
        };
        if let Some(at) = self
            .pending
            .iter()
            .position(|info| number_of(&info[..]) == signo)
        {
            let info = self.pending.remove(at).expect("just found");
            alive(tracee::set_siginfo(self.guest, &info))?;
        }
        self.step_into_handler(signo, before)
    }

    fn step_into_handler(&mut self, signo: i32, before: u64) -> io::Result<()> {
        self.note_handler(signo);
        alive(tracee::step(self.guest, signo))?;
        match tracee::wait(self.guest)? {
            Status::SignalStop(_) | Status::Event(..) => {}
            _ => return self.tracee_events(),
        }
        self.stopped = true;
        let frame = tracee::regs(self.guest)?.rsp;
        mem::write_all(self.guest, frame + FRAME_MASK, &before.to_le_bytes())?;
        if self.leaving {
            self.leave()
        } else {
            self.go_on(0)
        }
    }

    /// The guest was moved in the middle of a call, and a handler is to run: the guest's kernel is shown the interrupted call, so that
    /// it decides between `EINTR` and repetition. (Without a signal the registers are set up for the repetition.)
    pub fn interrupt_repeated_call(&mut self) -> io::Result<()> {
        let Some((nr, code)) = self.meta.threads[0].interrupted else {
            return Ok(());
        };
        if !self.has_deliverable() {
            return Ok(());
        }
        let mut regs = tracee::regs(self.guest)?;
        if let (Some(left), Some(addr)) = (self.resume.left(), remainder_pointer(nr, &regs.args()))
        {
            mem::write_all(self.guest, addr, &join(left))?;
        }
        regs.rip += SYSCALL_LEN;
        regs.orig_rax = nr;
        regs.rax = code as u64;
        self.told_to_restart = code == -abi::ERESTARTSYS;
        tracee::set_regs(self.guest, &regs)
    }

    /// Waits for the stop that an interrupt causes; signals that come first are put back. False when the guest ended.
    pub fn await_event_stop(&mut self) -> io::Result<bool> {
        loop {
            match tracee::wait(self.guest)? {
                Status::Event(..) | Status::GroupStop(_) => {
                    self.stopped = true;
                    return Ok(true);
                }
                // Not now: it is sent again when the guest may take it.
                Status::SignalStop(signo) => {
                    alive(tracee::cont(self.guest, 0))?;
                    self.resend.push(signo);
                }
                Status::Exited(_) | Status::Signaled(..) => {
                    self.ending = Some(crate::guest::host::Ending::GuestDied);
                    return Ok(false);
                }
                _ => {}
            }
        }
    }

    /// `rt_sigreturn`: the mask in the frame becomes the guest's mask. The home mask follows if it differs.
    pub fn sigreturn(&mut self, stack_pointer: u64) -> io::Result<()> {
        let mut bytes = [0; 8];
        // The return address has been popped by the handler's `ret`.
        if mem::read_exact(self.guest, stack_pointer - 8 + FRAME_MASK, &mut bytes).is_ok() {
            self.mask = u64::from_le_bytes(bytes);
            self.sync_mask()?;
        }
        Ok(())
    }

    /// Gives the deputy the guest's mask if it has another one.
    pub fn sync_mask(&mut self) -> io::Result<()> {
        if self.home_mask != self.mask {
            self.deputy.set_mask(self.mask)?;
            self.home_mask = self.mask;
        }
        Ok(())
    }
}
