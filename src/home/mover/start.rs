//! A program that starts on another node (`mosrun -r`): its mover waits until mosrun becomes it, and takes it before its first
//! instruction. Where it may not run at home instead, it never runs there.

use std::os::unix::net::UnixStream;

use crate::home::mover::FromMover;
use crate::migrate::source::Stayed;
use crate::migrate::tracee;
use crate::sys::process::kill;
use crate::sys::ptrace::{Running, TRACEEXEC};
use crate::sys::status::{EVENT_EXEC, EVENT_STOP, Status};
use crate::sys::{abi, tracked};
use crate::wire::frame::write_frame;

/// Attaches to mosrun, tells the warden, and waits until it has executed the program. The process is then stopped, traced by this
/// mover, before its first instruction.
pub fn wait_for_program(pid: i32, warden: &mut UnixStream) -> Result<(), Stayed> {
    Running::seize(pid, TRACEEXEC)?;
    write_frame(warden, &FromMover::Attached)?;
    let mut executed = false;
    loop {
        match tracee::wait(pid)? {
            Status::Event(EVENT_STOP, _) if executed => return Ok(()),
            Status::Exited(_) | Status::Signaled(..) => {
                return Err(Stayed("it has ended".to_owned()));
            }
            Status::GroupStop(_) => tracee::listen(pid)?,
            status => {
                executed |= matches!(status, Status::Event(EVENT_EXEC, _));
                if executed {
                    // At the end of the call it stops once more, with registers that are the program's own.
                    tracee::interrupt(pid)?;
                }
                let signo = match status {
                    Status::SignalStop(signo) => signo,
                    _ => 0,
                };
                tracee::cont(pid, signo)?;
            }
        }
    }
}

/// The program must not run here (`mosrun -r` without `-F`) and cannot run there.
pub fn refuse(pid: i32, node: std::net::Ipv4Addr, why: &str) {
    tracked::say(pid, &format!("mosrun: failed migrating to {node}: {why}\n"));
    if let Err(error) = kill(pid, abi::SIGKILL) {
        log::warn!("{pid}: {error}");
    }
}
