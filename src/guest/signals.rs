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
    pub fn signal_from_home(&mut self, t: usize, info: Box<SigInfo>) -> io::Result<()> {
        let signo = number_of(&info[..]);
        match self.action_of(signo)[0] {
            SIG_IGN => Ok(()),
            SIG_DFL => self.default_action(t, signo, info),
            _ => self.queue(t, signo, info),
        }
    }

    fn default_action(&mut self, t: usize, signo: i32, info: Box<SigInfo>) -> io::Result<()> {
        match abi::default_action(signo) {
            DefaultAction::Ignore | DefaultAction::Continue => Ok(()),
            DefaultAction::Stop => {
                // A handler that was there when home delivered it has been reset since.
                let args = [self.home_pid() as u64, abi::SIGSTOP as u64, 0, 0, 0, 0];
                match self.threads[t].phase {
                    Phase::InCall(_) => Ok(()),
                    _ => self.threads[t]
                        .deputy
                        .raw_call(abi::SYS_KILL, args)
                        .map(drop),
                }
            }
            DefaultAction::Terminate | DefaultAction::Core => {
                // It dies at home, with its memory, as a local process would.
                self.threads[t].pending.push_back(info);
                self.ordered(Order {
                    id: None,
                    to: Target::Home,
                })
            }
        }
    }

    /// Sends the signal to the guest; its `siginfo` is set when the guest stops to take it.
    fn queue(&mut self, t: usize, signo: i32, info: Box<SigInfo>) -> io::Result<()> {
        let standard = signo < 32;
        if standard
            && self.threads[t]
                .pending
                .iter()
                .any(|queued| number_of(&queued[..]) == signo)
        {
            return Ok(());
        }
        self.threads[t].pending.push_back(info);
        alive(tgkill(self.guest(), self.threads[t].tid, signo))?;
        self.wake_sleeper(t)
    }

    /// Whether the guest takes some queued signal as soon as it can.
    pub fn has_deliverable(&self, t: usize) -> bool {
        self.threads[t].pending.iter().any(|info| {
            let signo = number_of(&info[..]);
            self.threads[t].mask & abi::bit(signo) == 0
                && !matches!(self.action_of(signo)[0], SIG_DFL | SIG_IGN)
        })
    }

    /// A call that waited with a signal mask of its own (`sigsuspend`, `ppoll`…) was interrupted. The handler must run with
    /// that mask, and the mask from before comes back when it returns. The guest's kernel knows nothing of the temporary
    /// mask, so the host sets it, lets the guest step into the handler, and writes the old mask into the signal frame.
    pub fn interrupted_with_mask(
        &mut self,
        t: usize,
        call: &Call,
        temporary: u64,
    ) -> io::Result<()> {
        let before = self.threads[t].mask;
        self.threads[t].phase = Phase::Running;
        alive(tracee::interrupt(self.threads[t].tid))?;
        self.listener
            .send(call.notification.id, Response::Error(EINTR))?;
        if !self.await_event_stop(t)? {
            return Ok(());
        }
        alive(tracee::set_sigmask(self.threads[t].tid, temporary))?;
        self.threads[t].mask = temporary;
        let signo = loop {
            alive(tracee::cont(self.threads[t].tid, 0))?;
            match tracee::wait(self.threads[t].tid)? {
                Status::SignalStop(signo) => break signo,
                Status::Exited(_) | Status::Signaled(..) => {
                    self.ending = Some(crate::guest::host::Ending::GuestDied);
                    return Ok(());
                }
                // A second interruption that was asked for meanwhile.
                _ => {}
            }
        };
        if let Some(at) = self.threads[t]
            .pending
            .iter()
            .position(|info| number_of(&info[..]) == signo)
        {
            let info = self.threads[t].pending.remove(at).expect("just found");
            alive(tracee::set_siginfo(self.threads[t].tid, &info))?;
        }
        self.step_into_handler(t, signo, before)
    }

    fn step_into_handler(&mut self, t: usize, signo: i32, before: u64) -> io::Result<()> {
        self.note_handler(t, signo);
        alive(tracee::step(self.threads[t].tid, signo))?;
        match tracee::wait(self.threads[t].tid)? {
            Status::SignalStop(_) | Status::Event(..) => {}
            _ => return self.tracee_events(),
        }
        self.threads[t].stopped = true;
        let frame = tracee::regs(self.threads[t].tid)?.rsp;
        mem::write_all(
            self.threads[t].tid,
            frame + FRAME_MASK,
            &before.to_le_bytes(),
        )?;
        if self.leaving {
            self.leave_if_stopped()
        } else {
            self.go_on(t, 0)
        }
    }

    /// The guest was moved in the middle of a call, and a handler is to run: the guest's kernel is shown the interrupted call, so that
    /// it decides between `EINTR` and repetition. (Without a signal the registers are set up for the repetition.)
    pub fn interrupt_repeated_call(&mut self, t: usize) -> io::Result<()> {
        let Some((nr, code)) = self.threads[t].interrupted else {
            return Ok(());
        };
        if !self.has_deliverable(t) {
            return Ok(());
        }
        let mut regs = tracee::regs(self.threads[t].tid)?;
        if let (Some(left), Some(addr)) = (
            self.threads[t].resume.left(),
            remainder_pointer(nr, &regs.args()),
        ) {
            mem::write_all(self.threads[t].tid, addr, &join(left))?;
        }
        regs.rip += SYSCALL_LEN;
        regs.orig_rax = nr;
        regs.rax = code as u64;
        self.threads[t].told_to_restart = code == -abi::ERESTARTSYS;
        tracee::set_regs(self.threads[t].tid, &regs)
    }

    /// Waits for the stop that an interrupt causes; signals that come first are put back. False when the guest ended.
    pub fn await_event_stop(&mut self, t: usize) -> io::Result<bool> {
        loop {
            match tracee::wait(self.threads[t].tid)? {
                Status::Event(..) | Status::GroupStop(_) => {
                    self.threads[t].stopped = true;
                    return Ok(true);
                }
                // Not now: it is sent again when the guest may take it.
                Status::SignalStop(signo) => {
                    alive(tracee::cont(self.threads[t].tid, 0))?;
                    self.threads[t].resend.push(signo);
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
    pub fn sigreturn(&mut self, t: usize, stack_pointer: u64) -> io::Result<()> {
        let mut bytes = [0; 8];
        // The return address has been popped by the handler's `ret`.
        if mem::read_exact(
            self.threads[t].tid,
            stack_pointer - 8 + FRAME_MASK,
            &mut bytes,
        )
        .is_ok()
        {
            self.threads[t].mask = u64::from_le_bytes(bytes);
            self.sync_mask(t)?;
        }
        Ok(())
    }

    /// Gives the deputy the guest's mask if it has another one.
    pub fn sync_mask(&mut self, t: usize) -> io::Result<()> {
        let thread = &mut self.threads[t];
        if thread.home_mask != thread.mask {
            thread.deputy.set_mask(thread.mask)?;
            thread.home_mask = thread.mask;
        }
        Ok(())
    }
}
