//! Interrupting a call that a deputy executes, so that the process can move in the middle of it.

use std::io;

use crate::sys::ptrace::Running;
use crate::sys::stub;
use crate::wire::channel::STUB_SIZE;

/// Interrupts whatever the deputy waits in; if it was a program's call, the stub answers that it did not happen. Runs on a
/// thread of its own: the process may be in the kernel for a while.
pub fn interrupt(pid: i32) {
    let spawned = std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            if let Err(error) = try_interrupt(pid) {
                log::debug!("interrupting {pid}: {error}");
            }
        });
    if let Err(error) = spawned {
        log::warn!("interrupting {pid}: {error}");
    }
}

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
