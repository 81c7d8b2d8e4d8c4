//! Processes, their limits and descriptors, clocks.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use super::errno::check;

/// The signal that cannot be caught.
pub const SIGKILL: i32 = libc::SIGKILL;

/// A descriptor that the kernel has just made for us.
fn owned(fd: i64) -> OwnedFd {
    // SAFETY: callers pass the fresh result of a call that makes a descriptor.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// A descriptor that becomes readable when the process ends.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).map(owned)
}

/// A copy of descriptor `fd` of another process.
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) }).map(owned)
}

/// Signals a process (or, negative, a process group); signal 0 only checks.
pub fn kill(pid: i32, signo: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(i64::from(unsafe { libc::kill(pid, signo) })).map(drop)
}

/// Signals one thread.
pub fn tgkill(pid: i32, tid: i32, signo: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signo) }).map(drop)
}

/// `get_robust_list` of a thread: head and length; (0, 0) when it has none.
pub fn robust_list(tid: i32) -> io::Result<(u64, u64)> {
    let (mut head, mut len) = (0u64, 0u64);
    // SAFETY: the kernel writes one word to each pointer.
    check(unsafe { libc::syscall(libc::SYS_get_robust_list, tid, &raw mut head, &raw mut len) })?;
    Ok(if head == 0 { (0, 0) } else { (head, len) })
}

/// Whether two processes share their memory (as between `vfork` and `exec`). `None` when the kernel does not tell.
pub fn same_memory(a: i32, b: i32) -> Option<bool> {
    const KCMP_VM: i32 = 1;
    same(a, b, KCMP_VM)
}

/// Whether two threads share their descriptors. `None` when the kernel does not tell.
pub fn same_files(a: i32, b: i32) -> Option<bool> {
    const KCMP_FILES: i32 = 2;
    same(a, b, KCMP_FILES)
}

fn same(a: i32, b: i32, what: i32) -> Option<bool> {
    // SAFETY: no pointers.
    match check(unsafe { libc::syscall(libc::SYS_kcmp, a, b, what, 0, 0) }) {
        Ok(order) => Some(order == 0),
        Err(_) => None,
    }
}

fn prctl(what: i32, a: u64, b: u64) -> io::Result<i64> {
    // SAFETY: the operations used here take plain numbers.
    check(i64::from(unsafe { libc::prctl(what, a, b, 0u64, 0u64) }))
}

/// Exec no longer grants rights; needed to install filters without privilege.
pub fn set_no_new_privs() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// The signal that this process gets when the thread that made it ends; 0: none.
pub fn set_parent_death_signal(signo: i32) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signo as u64, 0).map(drop)
}

/// Whether others of the same user may trace and read this process.
pub fn set_dumpable(yes: bool) -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, u64::from(yes), 0).map(drop)
}

/// The name shown by `ps`; cut to 15 bytes.
pub fn set_name(name: &str) -> io::Result<()> {
    let name = c_string(name.as_ref())?;
    // SAFETY: `name` is a live C string.
    check(i64::from(unsafe {
        libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0u64, 0u64, 0u64)
    }))
    .map(drop)
}

/// Empties all capability sets of the calling thread.
pub fn drop_capabilities() -> io::Result<()> {
    // Version 3 of the interface: header, then two sets of three words.
    let header = [0x2008_0522u32, 0];
    let data = [0u32; 6];
    // SAFETY: both arrays have the layout and size that this version of the interface reads.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// Becomes that user and group, in all respects and for good, without supplementary groups.
pub fn set_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: an empty list may be null.
    check(i64::from(unsafe { libc::setgroups(0, std::ptr::null()) }))?;
    // SAFETY: no pointers.
    check(i64::from(unsafe { libc::setresgid(gid, gid, gid) }))?;
    // SAFETY: no pointers.
    check(i64::from(unsafe { libc::setresuid(uid, uid, uid) })).map(drop)
}

pub fn uid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::getuid() }
}

pub fn effective_uid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() }
}

pub fn gid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::getgid() }
}

pub fn pid() -> i32 {
    std::process::id() as i32
}

/// Resources of [`limit`] and [`set_limit`].
pub const RLIMIT_AS: u32 = libc::RLIMIT_AS;
pub const RLIMIT_DATA: u32 = libc::RLIMIT_DATA;
pub const RLIMIT_STACK: u32 = libc::RLIMIT_STACK;
pub const RLIMIT_CORE: u32 = libc::RLIMIT_CORE;
pub const RLIMIT_NOFILE: u32 = libc::RLIMIT_NOFILE;

/// Soft and hard limit of a process (0: this one).
pub fn limit(pid: i32, resource: u32) -> io::Result<(u64, u64)> {
    let mut old = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `old` is live and writable; no new limit is given.
    check(i64::from(unsafe {
        libc::prlimit64(pid, resource, std::ptr::null(), &raw mut old)
    }))?;
    Ok((old.rlim_cur, old.rlim_max))
}

/// Sets soft and hard limit of a process (0: this one).
pub fn set_limit(pid: i32, resource: u32, (soft, hard): (u64, u64)) -> io::Result<()> {
    let new = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `new` is live.
    check(i64::from(unsafe {
        libc::prlimit64(pid, resource, &raw const new, std::ptr::null_mut())
    }))
    .map(drop)
}

fn clock(id: libc::clockid_t) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is live and writable; these clocks always exist.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// CLOCK_MONOTONIC in nanoseconds.
pub fn monotonic_ns() -> i64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// CLOCK_BOOTTIME in nanoseconds.
pub fn boottime_ns() -> i64 {
    clock(libc::CLOCK_BOOTTIME)
}

/// CLOCK_REALTIME in nanoseconds.
pub fn realtime_ns() -> i64 {
    clock(libc::CLOCK_REALTIME)
}

/// Forks; the child runs `child` and ends with its result as exit status, without running what was registered for exit. For
/// processes with one thread: in a child of a process with more, locks that other threads held stay held.
pub fn fork(child: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the child has its own copy of everything; a panic in it must not unwind into the parent's frames, so it ends it.
    let pid = check(i64::from(unsafe { libc::fork() }))? as i32;
    if pid > 0 {
        return Ok(pid);
    }
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
    exit_now(code)
}

/// Ends the process at once: no handlers, no flushing.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

/// Blocks until a signal arrives.
pub fn pause() {
    // SAFETY: no pointers.
    unsafe { libc::pause() };
}

/// Own session, own process group, no terminal.
pub fn setsid() -> io::Result<()> {
    // SAFETY: no pointers.
    check(i64::from(unsafe { libc::setsid() })).map(drop)
}

/// Sets the disposition of every signal to its default and unblocks all.
pub fn reset_signals() -> io::Result<()> {
    for signo in 1..=64 {
        // SAFETY: SIG_DFL runs no code. Signals that cannot be set (9, 19 and the library's own) stay as they are.
        unsafe { libc::signal(signo, libc::SIG_DFL) };
    }
    // SAFETY: all-zero is an empty set.
    let empty: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `empty` is live.
    check(i64::from(unsafe {
        libc::sigprocmask(libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut())
    }))
    .map(drop)
}

/// Closes all descriptors from `first` to `last`.
pub fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: owners of these descriptors in this process must not use them any more; used in fresh children only.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Fills `bytes` with random ones from the kernel.
pub fn random(bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = &mut bytes[done..];
        // SAFETY: the kernel writes at most `rest.len()` bytes into `rest`.
        match check(unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) } as i64) {
            Ok(n) => done += n as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ptrace::wait_for;
    use crate::sys::status::Status;

    #[test]
    fn a_forked_child_gives_its_status() {
        let pid = fork(|| 42).unwrap();
        assert_eq!(wait_for(pid).unwrap(), Status::Exited(42));
        assert!(kill(pid, 0).is_err());
    }

    #[test]
    fn clocks_and_limits_are_read() {
        let monotonic = monotonic_ns();
        assert!(monotonic > 0 && boottime_ns() >= monotonic);
        assert!(realtime_ns() > 1_600_000_000_000_000_000);
        assert!(limit(0, RLIMIT_NOFILE).unwrap().0 > 0);
        let mut bytes = [0; 16];
        random(&mut bytes).unwrap();
        assert_ne!(bytes, [0; 16]);
        assert_eq!(same_memory(pid(), pid()), Some(true));
    }
}
