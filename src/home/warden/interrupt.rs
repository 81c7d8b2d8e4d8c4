//! Interrupting a call that a deputy executes, so that the process can move in the middle of it.
//!
//! The host that asked waits for the end of it before the process leaves: an interruption that comes late would hit the program at
//! home, or keep a mover from it.

use std::io;
use std::os::unix::net::UnixStream;

use crate::home::warden::state::{Interruption, Warden};
use crate::sys::ptrace::Running;
use crate::sys::stub;
use crate::wire::channel::STUB_SIZE;
use crate::wire::ctl::ToHost;

impl Warden {
    /// A host asks for an interruption. It runs on a thread of its own: the process may be in the kernel for a while.
    pub fn interrupt(&mut self, ctl: u64, pid: i32) {
        match start(pid) {
            Ok(done) => {
                let id = self.number();
                self.interruptions
                    .insert(id, Interruption { done, ctl, pid });
            }
            Err(error) => {
                log::warn!("interrupting {pid}: {error}");
                self.to_host(ctl, &ToHost::Interrupted { pid });
            }
        }
    }

    /// An interruption is over.
    pub fn interrupted(&mut self, id: u64) {
        if let Some(Interruption { ctl, pid, .. }) = self.interruptions.remove(&id) {
            self.to_host(ctl, &ToHost::Interrupted { pid });
        }
    }
}

/// The stream ends when it is over.
fn start(pid: i32) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let thread = std::thread::Builder::new().name("interrupt".to_owned());
    thread.spawn(move || {
        if let Err(error) = try_interrupt(pid) {
            log::debug!("interrupting {pid}: {error}");
        }
        drop(theirs);
    })?;
    Ok(ours)
}

/// Interrupts whatever the deputy waits in; if it was a program's call, the stub answers that it did not happen.
fn try_interrupt(pid: i32) -> io::Result<()> {
    let Some(task) = Running::seize(pid, 0)?.stop_past_signals()? else {
        return Ok(());
    };
    let mut regs = task.regs()?;
    let base = regs.rip & !(STUB_SIZE - 1);
    if let Some((rax, orig_rax)) = stub::after_interrupt(regs.rip, regs.rax, regs.orig_rax, base) {
        (regs.rax, regs.orig_rax) = (rax, orig_rax);
        task.set_regs(&regs)?;
    }
    task.detach(0)
}
