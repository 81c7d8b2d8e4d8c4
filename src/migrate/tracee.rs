//! A process as its tracer deals with it, by pid. The caller knows whether it is stopped; the kernel answers `ESRCH` when that
//! is wrong because it was killed, which its next wait reports.

use std::io;
use std::time::Instant;

use crate::sys::errno::is_gone;
use crate::sys::ptrace::{self, Running, SigInfo, Stopped};
use crate::sys::regs::Regs;
use crate::sys::status::Status;

pub fn interrupt(pid: i32) -> io::Result<()> {
    Running::inherited(pid).interrupt()
}

pub fn cont(pid: i32, signo: i32) -> io::Result<()> {
    Stopped::known(pid).cont(signo).map(drop)
}

pub fn step(pid: i32, signo: i32) -> io::Result<()> {
    Stopped::known(pid).step_with(signo).map(drop)
}

/// Leaves it stopped as job control has it.
pub fn listen(pid: i32) -> io::Result<()> {
    Stopped::known(pid).listen().map(drop)
}

pub fn detach(pid: i32) -> io::Result<()> {
    Stopped::known(pid).detach(0)
}

pub fn regs(pid: i32) -> io::Result<Regs> {
    Stopped::known(pid).regs()
}

pub fn set_regs(pid: i32, regs: &Regs) -> io::Result<()> {
    Stopped::known(pid).set_regs(regs)
}

pub fn set_sigmask(pid: i32, mask: u64) -> io::Result<()> {
    Stopped::known(pid).set_sigmask(mask)
}

pub fn siginfo(pid: i32) -> io::Result<SigInfo> {
    Stopped::known(pid).siginfo()
}

pub fn set_siginfo(pid: i32, info: &SigInfo) -> io::Result<()> {
    Stopped::known(pid).set_siginfo(info)
}

/// The next report about the guest, if there is one.
pub fn wait_nohang(pid: i32) -> io::Result<Option<Status>> {
    ptrace::try_wait_for(pid)
}

pub fn wait(pid: i32) -> io::Result<Status> {
    ptrace::wait_for(pid)
}

/// Kills the guest and takes its end.
pub fn kill(pid: i32) -> io::Result<()> {
    match crate::sys::process::kill(pid, crate::sys::abi::SIGKILL) {
        Err(error) if is_gone(&error) => Ok(()),
        other => other,
    }
}

/// Waits for a report, but not longer than until `deadline`.
pub fn wait_until(pid: i32, deadline: Instant) -> io::Result<Option<Status>> {
    let mut pause = std::time::Duration::from_micros(20);
    loop {
        if let Some(status) = ptrace::try_wait_for(pid)? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(std::time::Duration::from_millis(5));
    }
}
