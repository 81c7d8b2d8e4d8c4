//! Shutting a process off from the rest of the machine.

use std::fs;
use std::io;

use super::errno::check;
use super::process::{effective_uid, exit_now, gid, uid};

/// Kinds of namespaces for [`unshare`].
pub const NEW_USER: i32 = libc::CLONE_NEWUSER;
pub const NEW_NET: i32 = libc::CLONE_NEWNET;
pub const NEW_MOUNT: i32 = libc::CLONE_NEWNS;
pub const NEW_IPC: i32 = libc::CLONE_NEWIPC;
pub const NEW_UTS: i32 = libc::CLONE_NEWUTS;
/// Takes effect for children only.
pub const NEW_PID: i32 = libc::CLONE_NEWPID;
/// Takes effect for children only, as does the offset of its clocks.
pub const NEW_TIME: i32 = 0x80;

/// Puts the calling process into new namespaces.
pub fn unshare(kinds: i32) -> io::Result<()> {
    // SAFETY: no pointers; descriptors and memory are not unshared.
    check(i64::from(unsafe { libc::unshare(kinds) })).map(drop)
}

/// A new user namespace in which only the present user and group exist, with all capabilities in it.
pub fn unshare_user() -> io::Result<()> {
    let (uid, gid) = (uid(), gid());
    unshare(NEW_USER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Sets what the clocks of a new time namespace show beyond this one's, in nanoseconds. Before its first process is made.
pub fn set_time_offsets(monotonic_ns: i64, boottime_ns: i64) -> io::Result<()> {
    const SECOND: i64 = 1_000_000_000;
    let line = |name: &str, ns: i64| {
        format!(
            "{name} {} {}\n",
            ns.div_euclid(SECOND),
            ns.rem_euclid(SECOND)
        )
    };
    let text = line("monotonic", monotonic_ns) + &line("boottime", boottime_ns);
    fs::write("/proc/self/timens_offsets", text)
}

/// Makes the root and the working directory an empty file system that cannot be written.
pub fn empty_root() -> io::Result<()> {
    const FSCONFIG_CMD_CREATE: i32 = 6;
    const MOUNT_ATTRS: i32 = 1 | 2 | 4 | 8;
    // SAFETY: the strings are live; all other arguments are numbers or null where that is allowed.
    let fs = check(unsafe { libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 1) })?;
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0) })?;
    // SAFETY: as above.
    let root = check(unsafe { libc::syscall(libc::SYS_fsmount, fs, 1, MOUNT_ATTRS) })?;
    // SAFETY: no pointers.
    check(i64::from(unsafe { libc::fchdir(root as i32) }))?;
    // SAFETY: the string is live.
    check(i64::from(unsafe { libc::chroot(c".".as_ptr()) }))?;
    for fd in [fs, root] {
        // SAFETY: both were made above and are known to nobody else.
        unsafe { libc::close(fd as i32) };
    }
    Ok(())
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    effective_uid() == 0
}

/// Forks a sibling: a child of this process's parent. It runs `child` and ends with its result. For processes with one thread.
pub fn fork_sibling(child: impl FnOnce() -> i32) -> io::Result<i32> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM the child has its own copy of everything, as after `fork`.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })? as i32;
    if pid > 0 {
        return Ok(pid);
    }
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
    exit_now(code)
}
