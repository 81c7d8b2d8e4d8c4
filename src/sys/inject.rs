//! Calls made inside a stopped process, as a scope: what the process was doing is restored when the scope ends.

use std::io;

use super::errno::{from_raw, gone};
use super::mem;
use super::ptrace::{self, Running, Stopped};
use super::regs::Regs;
use super::seccomp::{Listener, NATIVE, Notification, Response};
use super::status::{EVENT_CLONE, EVENT_FORK, EVENT_VFORK, Status};

/// How long a call that turns out not to be notified is waited for at first, in milliseconds.
const NOTIFIED_MS: i32 = 1;

/// The instruction `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// A scope in which calls can be made inside a stopped thread.
///
/// The thread must be in a signal-delivery, group or event stop outside of a call's entry. Its filter must allow the calls: one that
/// notifies would wait for a listener that the caller does not serve meanwhile. All signals are blocked until the scope ends. If
/// the thread was stopped inside a call that wants to be repeated, its registers are left so that it repeats it.
pub struct Injector {
    task: Option<Stopped>,
    gadget: u64,
    saved: Regs,
    mask: u64,
    /// Set when the process has a stop signal that came meanwhile.
    stop_signal: i32,
    child: Option<i32>,
}

impl Injector {
    /// `gadget` is the address of a `syscall` instruction in the process.
    ///
    /// # Errors
    ///
    /// `InvalidData` when there is no such instruction: the process has changed its memory, and would run whatever stands there.
    pub fn new(task: Stopped, gadget: u64) -> io::Result<Injector> {
        let mut there = [0; SYSCALL.len()];
        if mem::read_exact(task.pid(), gadget, &mut there).is_err() || there != SYSCALL {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the code by which calls are made in it was changed",
            ));
        }
        let saved = task.regs()?;
        let mask = task.sigmask()?;
        task.set_sigmask(!0)?;
        Ok(Injector {
            task: Some(task),
            gadget,
            saved,
            mask,
            stop_signal: 0,
            child: None,
        })
    }

    fn task(&self) -> io::Result<&Stopped> {
        self.task.as_ref().ok_or_else(gone)
    }

    /// Pid of the process, as long as it lives.
    pub fn pid(&self) -> io::Result<i32> {
        Ok(self.task()?.pid())
    }

    /// Uses another `syscall` instruction from now on.
    pub fn set_gadget(&mut self, gadget: u64) {
        self.gadget = gadget;
    }

    /// The registers that will be restored.
    pub fn saved_mut(&mut self) -> &mut Regs {
        &mut self.saved
    }

    /// The signal mask that will be restored.
    pub fn set_mask(&mut self, mask: u64) {
        self.mask = mask;
    }

    /// The thread, for what can be read and written while it is stopped.
    pub fn stopped(&self) -> io::Result<&Stopped> {
        self.task()
    }

    /// The process that the last fork-like call made (as seen from here; the call's result is the pid that it sees itself). It
    /// is traced and about to stop.
    pub fn take_child(&mut self) -> Option<i32> {
        self.child.take()
    }

    /// Makes a call; a failure of the call is an error, and so is the end of the process (`ESRCH`), which is left to be
    /// reported by a later wait.
    pub fn call(&mut self, nr: u64, args: [u64; 6]) -> io::Result<u64> {
        from_raw(self.raw_call(nr, args)?)
    }

    /// Makes a call and gives its raw result.
    pub fn raw_call(&mut self, nr: u64, args: [u64; 6]) -> io::Result<u64> {
        self.task()?
            .set_regs(&self.saved.with_call(self.gadget, nr, args))?;
        self.run_to_syscall()?;
        self.run_to_syscall()?;
        Ok(self.task()?.regs()?.rax)
    }

    /// Makes a call that the process's filter may notify to `listener`, and lets it through if it does. Notifications of other
    /// processes that come first are put into `others`, unanswered.
    pub fn call_through(
        &mut self,
        nr: u64,
        args: [u64; 6],
        listener: &Listener,
        others: &mut Vec<Notification>,
    ) -> io::Result<u64> {
        self.task()?
            .set_regs(&self.saved.with_call(self.gadget, nr, args))?;
        self.run_to_syscall()?;
        let pid = self.task.take().ok_or_else(gone)?.cont_to_syscall()?.pid();
        let status = loop {
            if listener.wait_readable(NOTIFIED_MS)? {
                match listener.recv()? {
                    Some(own) if own.pid == pid => {
                        let meant = own.arch == NATIVE && own.nr as u64 == nr && own.args == args;
                        let answer = if meant {
                            Response::Continue
                        } else {
                            Response::Error(libc::EPERM)
                        };
                        listener.send(own.id, answer)?;
                        break self.stopped_by(pid)?;
                    }
                    other => others.extend(other),
                }
            } else if ptrace::stop_is_there(pid)? {
                break self.stopped_by(pid)?;
            }
        };
        if status != Status::SyscallStop {
            self.run_to_syscall()?;
        }
        from_raw(self.task()?.regs()?.rax)
    }

    fn run_to_syscall(&mut self) -> io::Result<()> {
        while self.resume(Stopped::cont_to_syscall)? != Status::SyscallStop {}
        Ok(())
    }

    /// Runs code in the process from `regs` until it traps by an `int3`; gives the registers there. The code must not return
    /// anywhere else. (A process that ignores `SIGTRAP` gets its default action by this.)
    pub fn run(&mut self, regs: &Regs) -> io::Result<Regs> {
        self.task()?.set_regs(regs)?;
        self.task()?.set_sigmask(!(1 << (libc::SIGTRAP - 1)))?;
        while self.resume(|task| task.cont(0))? != Status::SignalStop(libc::SIGTRAP) {}
        self.task()?.set_sigmask(!0)?;
        self.task()?.regs()
    }

    /// Lets it go on in some way and waits for the next stop, whatever it is.
    fn resume(&mut self, how: impl FnOnce(Stopped) -> io::Result<Running>) -> io::Result<Status> {
        let pid = how(self.task.take().ok_or_else(gone)?)?.pid();
        self.stopped_by(pid)
    }

    /// Waits for the next stop.
    fn stopped_by(&mut self, pid: i32) -> io::Result<Status> {
        let status = ptrace::wait_stop(pid)?;
        let task = self.task.insert(Stopped::known(pid));
        match status {
            Status::Event(EVENT_FORK | EVENT_VFORK | EVENT_CLONE, _) => {
                self.child = Some(task.event_message()? as i32)
            }
            // Signals are blocked, but SIGSTOP cannot be: it is sent again when the scope ends.
            Status::SignalStop(libc::SIGSTOP) => self.stop_signal = libc::SIGSTOP,
            Status::SignalStop(libc::SIGTRAP) => {}
            // Only a fault of the injected code itself gets through.
            Status::SignalStop(_) => return Err(io::Error::from_raw_os_error(libc::EFAULT)),
            _ => {}
        }
        Ok(status)
    }

    /// Restores registers and mask and gives the thread back, still stopped.
    pub fn finish(mut self) -> io::Result<Stopped> {
        self.restore()
    }

    fn restore(&mut self) -> io::Result<Stopped> {
        let task = self.task.take().ok_or_else(gone)?;
        task.set_regs(&self.saved.restarted())?;
        task.set_sigmask(self.mask)?;
        if self.stop_signal != 0 {
            super::process::kill(task.pid(), self.stop_signal)?;
        }
        Ok(task)
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        if self.task.is_some() {
            // Only the end of the process can make this fail, and then there is nothing left to restore.
            let _ = self.restore();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::errno::is_gone;
    use crate::sys::process::{self, fork, kill};
    use crate::sys::ptrace::{EXITKILL, Now, wait_for};
    use crate::sys::{mem, procfs};

    fn gadget(pid: i32) -> u64 {
        let maps = procfs::maps(pid).unwrap();
        let vdso = maps.iter().find(|map| map.name == "[vdso]").unwrap();
        let mut code = vec![0; (vdso.end - vdso.start) as usize];
        mem::read_exact(pid, vdso.start, &mut code).unwrap();
        vdso.start + code.windows(2).position(|two| two == [0x0f, 0x05]).unwrap() as u64
    }

    fn sleeping_child() -> Injector {
        let pid = fork(|| {
            loop {
                process::pause();
            }
        })
        .unwrap();
        let Now::Stopped(task, _) = Running::seize(pid, EXITKILL).unwrap().stop().unwrap() else {
            panic!("it ended")
        };
        Injector::new(task, gadget(pid)).unwrap()
    }

    #[test]
    fn calls_are_made_inside_and_leave_no_trace() {
        let mut injector = sleeping_child();
        let pid = injector.pid().unwrap();
        let before = injector.stopped().unwrap().regs().unwrap();
        assert_eq!(
            injector.call(libc::SYS_getpid as u64, [0; 6]).unwrap(),
            pid as u64
        );
        let error = injector
            .call(libc::SYS_close as u64, [1000, 0, 0, 0, 0, 0])
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        kill(pid, libc::SIGSTOP).unwrap();
        assert_eq!(
            injector.call(libc::SYS_getpid as u64, [0; 6]).unwrap(),
            pid as u64
        );
        let task = injector.finish().unwrap();
        assert_eq!(task.regs().unwrap(), before.restarted());
        assert_eq!(task.sigmask().unwrap() & 1, 0);
        let Now::Stopped(_, status) = task.cont(0).unwrap().wait().unwrap() else {
            panic!("it ended")
        };
        assert_eq!(status, Status::SignalStop(libc::SIGSTOP));
        kill(pid, libc::SIGKILL).unwrap();
        assert_eq!(
            wait_for(pid).unwrap(),
            Status::Signaled(libc::SIGKILL, false)
        );
    }

    #[test]
    fn the_end_of_the_process_is_an_answer() {
        let mut injector = sleeping_child();
        let pid = injector.pid().unwrap();
        let error = injector
            .call(libc::SYS_exit_group as u64, [7, 0, 0, 0, 0, 0])
            .unwrap_err();
        assert!(is_gone(&error));
        assert!(is_gone(
            &injector.call(libc::SYS_getpid as u64, [0; 6]).unwrap_err()
        ));
        drop(injector);
        assert_eq!(wait_for(pid).unwrap(), Status::Exited(7));
    }
}
