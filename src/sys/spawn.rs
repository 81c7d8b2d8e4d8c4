//! Starting helper processes of the same binary with given descriptors.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use super::unix::{SignalMask, check};

/// Adds to `command`: `fds` become descriptors 3, 4, … of the child, in this order.
pub fn pass_fds(command: &mut Command, fds: Vec<OwnedFd>) {
    let hook = move || {
        // First out of the way of their new numbers, then there; `dup2` clears close-on-exec.
        let mut safe: [RawFd; 8] = [-1; 8];
        for (slot, fd) in safe.iter_mut().zip(&fds) {
            // SAFETY: takes no pointers.
            *slot = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 32) })?;
        }
        for (number, &fd) in (3..).zip(safe.iter().take(fds.len())) {
            // SAFETY: takes no pointers; runs in the child, where nobody uses the old descriptor of that number any more.
            check(unsafe { libc::dup2(fd, number) })?;
        }
        Ok(())
    };
    // SAFETY: the hook makes system calls only (no memory is taken, no lock held).
    unsafe { command.pre_exec(hook) };
}

/// Adds to `command`: the child blocks just these signals (otherwise it inherits what this thread blocks).
pub fn with_signal_mask(command: &mut Command, mask: SignalMask) {
    // SAFETY: one system call on a set of its own.
    unsafe { command.pre_exec(move || mask.apply()) };
}

/// Adds to `command`: the child leads a session of its own.
pub fn in_new_session(command: &mut Command) {
    // SAFETY: one system call without pointers.
    unsafe { command.pre_exec(|| check(libc::setsid()).map(|_| ())) };
}

/// Adds to `command`: the child gets `signal` when this thread ends.
pub fn dies_with_us(command: &mut Command, signal: i32) {
    let parent = std::process::id() as i32;
    let hook = move || {
        // SAFETY: takes no pointers.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })?;
        // SAFETY: takes no pointers and cannot fail.
        if unsafe { libc::getppid() } == parent {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        }
    };
    // SAFETY: the hook makes system calls only.
    unsafe { command.pre_exec(hook) };
}

/// Starts this very binary (also when its file was replaced meanwhile) under the name `applet`.
///
/// # Errors
///
/// When processes or descriptors have run out.
pub fn same_binary(applet: &str, args: &[&str], fds: Vec<OwnedFd>) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(applet).args(args);
    pass_fds(&mut command, fds);
    in_new_session(&mut command);
    with_signal_mask(&mut command, SignalMask::empty());
    command.spawn()
}

/// As [`same_binary`], but as a daemon: it forks once more when it starts ([`crate::sys::unix::fork`]), so that it is nobody's
/// child; it stands in the root directory and has no standard descriptors.
///
/// # Errors
///
/// When processes or descriptors have run out.
pub fn detached(applet: &str, args: &[&str], fds: Vec<OwnedFd>) -> io::Result<()> {
    use std::process::Stdio;
    let mut command = Command::new("/proc/self/exe");
    command.arg0(applet).args(args).current_dir("/");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    pass_fds(&mut command, fds);
    in_new_session(&mut command);
    with_signal_mask(&mut command, SignalMask::empty());
    command.spawn()?.wait().map(drop)
}
