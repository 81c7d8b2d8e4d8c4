//! Signals on their way from the home pid to the guest.

use std::io;

use crate::guest::host::{Ending, Host, Order, Phase, Thread};
use crate::guest::repeat::unheard_code;
use crate::guest::stop::{alive, number_of};
use crate::image::capture::Calls;
use crate::migrate::deputy::SigInfo;
use crate::migrate::tracee;
use crate::sys::abi::{self, DefaultAction, EINTR, SIG_DFL, SIG_IGN};
use crate::sys::mem;
use crate::sys::process::tgkill;
use crate::sys::seccomp::{Notification, Response};
use crate::sys::status::Status;
use crate::syscall;
use crate::wire::control::Target;

/// Offset in a kernel's `rt_sigframe` of the mask that `rt_sigreturn` restores: return address, `uc_flags`, `uc_link`,
/// `uc_stack` and the machine context come before it.
pub const FRAME_MASK: u64 = 8 + 8 + 8 + 24 + 256;

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

    pub fn default_action(&mut self, t: usize, signo: i32, info: Box<SigInfo>) -> io::Result<()> {
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
                if self.leaving {
                    return Ok(());
                }
                // At once: it must not run on, as it would while its memory goes, and a move that has begun so is given up.
                self.order = Some(Order {
                    id: None,
                    to: Target::Home,
                });
                self.stop_all(None)
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
        alive(tgkill(self.group, self.threads[t].tid, signo))?;
        self.wake_sleeper(t)
    }

    /// Whether the guest takes some queued signal as soon as it can.
    pub fn has_deliverable(&self, t: usize) -> bool {
        self.deliverable_under(t, self.threads[t].mask)
    }

    /// Whether it would with this mask.
    pub fn deliverable_under(&self, t: usize, mask: u64) -> bool {
        self.threads[t].pending.iter().any(|info| {
            let signo = number_of(&info[..]);
            mask & abi::bit(signo) == 0 && !matches!(self.action_of(signo)[0], SIG_DFL | SIG_IGN)
        })
    }

    /// Sends the guest what it has been sent and not taken: it takes nothing twice, as a delivery that nobody knows of is passed over.
    pub fn send_pending(&self, t: usize) -> io::Result<()> {
        let thread = &self.threads[t];
        for info in &thread.pending {
            alive(tgkill(self.group, thread.tid, number_of(&info[..])))?;
        }
        Ok(())
    }

    /// Signals that were sent to the guest come before its call, of which the host may have heard first. True: the call has its answer.
    pub fn signals_first(&mut self, t: usize, notification: &Notification) -> io::Result<bool> {
        let nr = notification.nr as u64;
        while !self.threads[t].pending.is_empty() {
            if self.leaving || self.has_deliverable(t) {
                self.send_pending(t)?;
                self.complete(t, notification, unheard_code(nr))?;
                return Ok(true);
            }
            let mask = syscall::temporary_mask(nr, &notification.args, &self.memory(t));
            if let Some(mask) = mask.filter(|mask| self.deliverable_under(t, *mask)) {
                self.interrupted_with_mask(t, notification, mask)?;
                return Ok(true);
            }
            self.give_back(t)?;
        }
        Ok(false)
    }

    /// Signals that the guest blocks wait at home, where calls can find them.
    fn give_back(&mut self, t: usize) -> io::Result<()> {
        self.sync_mask(t)?;
        let (pid, thread) = (self.home_pid(), &mut self.threads[t]);
        for info in std::mem::take(&mut thread.pending) {
            thread
                .deputy
                .queue_signal(pid, thread.home_tid, &info[..])?;
        }
        self.take_queued_signals(t)
    }

    /// A call that waited with a signal mask of its own (`sigsuspend`, `ppoll`…) was interrupted. The handler must run with
    /// that mask, and the mask from before comes back when it returns. The guest's kernel knows nothing of the temporary
    /// mask, so the host sets it, lets the guest step into the handler, and writes the old mask into the signal frame.
    pub fn interrupted_with_mask(
        &mut self,
        t: usize,
        notification: &Notification,
        temporary: u64,
    ) -> io::Result<()> {
        let before = self.threads[t].mask;
        self.threads[t].phase = Phase::Running;
        let tid = self.threads[t].tid;
        alive(tracee::interrupt(tid))?;
        self.listener
            .send(notification.id, Response::Error(EINTR))?;
        if !self.await_event_stop(t)? {
            return Ok(());
        }
        alive(tracee::set_sigmask(tid, temporary))?;
        self.threads[t].mask = temporary;
        self.threads[t].resend.clear();
        self.send_pending(t)?;
        loop {
            alive(tracee::cont(tid, 0))?;
            match tracee::wait(tid)? {
                Status::SignalStop(signo) => {
                    if let Some(info) = self.threads[t].take_pending(signo) {
                        alive(tracee::set_siginfo(tid, &info))?;
                        return self.step_into_handler(t, signo, before);
                    }
                }
                Status::Exited(_) | Status::Signaled(..) => {
                    self.ending = Some(Ending::GuestDied);
                    return Ok(());
                }
                // A second interruption that was asked for meanwhile.
                _ => {}
            }
        }
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
                    self.ending = Some(Ending::GuestDied);
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
            stack_pointer.wrapping_sub(8) + FRAME_MASK,
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
        self.set_home_mask(t, self.threads[t].mask)
    }

    /// Gives the deputy this mask.
    pub fn set_home_mask(&mut self, t: usize, mask: u64) -> io::Result<()> {
        let thread = &mut self.threads[t];
        if thread.home_mask != mask {
            thread.deputy.set_mask(mask)?;
            thread.home_mask = mask;
        }
        Ok(())
    }
}

impl Thread {
    /// The first of its signals with this number.
    pub fn take_pending(&mut self, signo: i32) -> Option<Box<SigInfo>> {
        let mut pending = self.pending.iter();
        let at = pending.position(|info| number_of(&info[..]) == signo)?;
        self.pending.remove(at)
    }
}
