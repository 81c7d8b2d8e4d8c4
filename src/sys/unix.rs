//! Small services of the kernel to ordinary Unix programs: users, randomness, signals, daemons, descriptors without a path.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

pub use libc::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSTOP, SIGTERM, SIGTSTP};

pub use super::socket::{AbstractListener, peer_pid};

/// Turns the -1 of a call into its error.
pub(super) fn check(value: libc::c_int) -> io::Result<libc::c_int> {
    if value == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}

/// Fills `bytes` with random bytes fit for keys.
pub fn random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: pointer and length are of one live, writable slice.
        let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        // Only EINTR is possible here: every kernel that can run us has the call.
        filled += usize::try_from(n).unwrap_or(0);
    }
}

/// A random number fit for names that nobody may guess.
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    random(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A random number from 0 to 1.
pub fn chance() -> f64 {
    (random_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// The effective user of this process.
pub fn euid() -> u32 {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { libc::geteuid() }
}

/// The real user of this process.
pub fn uid() -> u32 {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { libc::getuid() }
}

/// Sets the mask of modes that new files do not get; gives the one before.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { libc::umask(mask) }
}

/// Sends `signal` to `pid` (0 only asks whether it is there and may be signalled).
///
/// # Errors
///
/// `ESRCH` when there is no such process, `EPERM` when it is another user's.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::kill(pid, signal) }).map(|_| ())
}

/// How a child ended, from [`reap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(i32),
    Killed(i32),
}

/// Takes the end of one child (`pid`, or any with -1). `None` with `wait` false: none has ended yet.
///
/// # Errors
///
/// `ECHILD` when there is no such child.
pub fn reap(pid: i32, wait: bool) -> io::Result<Option<(i32, Ended)>> {
    loop {
        let mut status = 0;
        let flags = if wait { 0 } else { libc::WNOHANG };
        // SAFETY: `status` outlives the call.
        match check(unsafe { libc::waitpid(pid, &raw mut status, flags) }) {
            Ok(0) => return Ok(None),
            Ok(pid) if libc::WIFEXITED(status) => {
                return Ok(Some((pid, Ended::Exited(libc::WEXITSTATUS(status)))));
            }
            Ok(pid) if libc::WIFSIGNALED(status) => {
                return Ok(Some((pid, Ended::Killed(libc::WTERMSIG(status)))));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// From now on orphans below this process become its children.
///
/// # Errors
///
/// None on kernels that can run us.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(|_| ())
}

/// Which signals are blocked.
#[derive(Clone, Copy)]
pub struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// Nothing is blocked.
    pub fn empty() -> SignalMask {
        // SAFETY: the set is initialised by `sigemptyset` before use.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            SignalMask(set)
        }
    }

    /// Makes it the mask of this thread.
    ///
    /// # Errors
    ///
    /// None that can be expected.
    pub fn apply(&self) -> io::Result<()> {
        // SAFETY: the set is live and initialised.
        check(unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        })
        .map(|_| ())
    }
}

/// Signals as a descriptor: they are blocked for this thread (and those that it starts) and read from there.
///
/// Processes that are started inherit the block: see `spawn::with_signal_mask`.
pub struct SignalFd {
    file: File,
    before: SignalMask,
}

impl SignalFd {
    /// Blocks `signals` and makes a non-blocking descriptor of them.
    ///
    /// # Errors
    ///
    /// When descriptors have run out.
    pub fn new(signals: &[i32]) -> io::Result<SignalFd> {
        let (mut set, mut before) = (SignalMask::empty().0, SignalMask::empty());
        // SAFETY: both sets are initialised and outlive all calls.
        let fd = unsafe {
            for &signal in signals {
                libc::sigaddset(&raw mut set, signal);
            }
            check(libc::pthread_sigmask(
                libc::SIG_BLOCK,
                &raw const set,
                &raw mut before.0,
            ))?;
            check(libc::signalfd(
                -1,
                &raw const set,
                libc::SFD_NONBLOCK | libc::SFD_CLOEXEC,
            ))?
        };
        // SAFETY: a new descriptor that nobody else owns.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(SignalFd { file, before })
    }

    /// What was blocked before.
    pub fn before(&self) -> SignalMask {
        self.before
    }

    /// The next signal that came, if any.
    pub fn take(&mut self) -> Option<i32> {
        use std::io::Read;
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        match self.file.read(&mut info) {
            Ok(n) if n == info.len() => {
                Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]]))
            }
            _ => None,
        }
    }
}

impl AsRawFd for SignalFd {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Whether the file system lets this user write a file (that may have another owner).
pub fn may_write(path: &str) -> bool {
    let Ok(path) = std::ffi::CString::new(path) else {
        return false;
    };
    // SAFETY: `path` is a C string.
    unsafe { libc::access(path.as_ptr(), libc::W_OK) == 0 }
}

/// A file in memory without a path, closed on exec.
///
/// # Errors
///
/// When memory or descriptors have run out.
pub fn memfd(name: &CStr) -> io::Result<File> {
    // SAFETY: `name` is a C string.
    let fd = check(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) })?;
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Takes ownership of a descriptor that was inherited at a number agreed on (such as 3 of `mos-host`).
///
/// # Errors
///
/// `EBADF` when it is not open.
pub fn inherited_fd(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; sets close-on-exec only.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and by the agreement nobody else in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Takes the lock of `file` for this open file, without waiting; false when someone else has it.
///
/// # Errors
///
/// When the file system has no locks.
pub fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: takes no pointers.
    match check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets this process open as many files as it may.
///
/// # Errors
///
/// When the limits cannot be read or set.
pub fn raise_file_limit() -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` outlives both calls.
    unsafe {
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)).map(|_| ())
    }
}

/// Who this process is after [`fork`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    Parent { child: i32 },
    Child,
}

/// Forks.
///
/// # Errors
///
/// When processes have run out; `Unsupported` when this process has threads, since the child would have copies of their locks.
pub fn fork() -> io::Result<Fork> {
    if std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() > 1) {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a process with threads cannot fork",
        ));
    }
    // SAFETY: there is one thread, so the child is a whole copy and may do anything.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        child => Ok(Fork::Parent { child }),
    }
}

/// Leads a new session, without a terminal.
///
/// # Errors
///
/// When this process leads a process group.
pub fn new_session() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::setsid() }).map(|_| ())
}

/// Makes `from` the descriptor `to` as well.
///
/// # Errors
///
/// Those of `dup2`.
pub fn dup_onto(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointers; only used on descriptors 0 to 2, which no object of ours owns.
    check(unsafe { libc::dup2(from, to) }).map(|_| ())
}

/// Gets `signal` when the parent dies; fails if that has happened already.
///
/// # Errors
///
/// `ESRCH` when the parent is not `parent` any more.
pub fn die_with_parent(parent: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })?;
    // SAFETY: takes no pointers and cannot fail.
    if unsafe { libc::getppid() } == parent {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}

/// The IPv4 addresses of this machine's interfaces.
///
/// # Errors
///
/// When the kernel cannot be asked.
pub fn local_addresses() -> io::Result<Vec<Ipv4Addr>> {
    let mut list = std::ptr::null_mut();
    // SAFETY: gives a list that is freed below, once.
    check(unsafe { libc::getifaddrs(&raw mut list) })?;
    let mut addresses = Vec::new();
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: entries are valid until the list is freed; an address of family AF_INET is a `sockaddr_in`.
        unsafe {
            let address = (*entry).ifa_addr;
            if !address.is_null() && i32::from((*address).sa_family) == libc::AF_INET {
                let inet: libc::sockaddr_in = address.cast::<libc::sockaddr_in>().read_unaligned();
                addresses.push(Ipv4Addr::from(u32::from_be(inet.sin_addr.s_addr)));
            }
            entry = (*entry).ifa_next;
        }
    }
    // SAFETY: the list is from `getifaddrs` and not used any more.
    unsafe { libc::freeifaddrs(list) };
    Ok(addresses)
}

/// Clock ticks a second of the times in `/proc/PID/stat`.
pub fn clock_ticks() -> u64 {
    // SAFETY: takes no pointers.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100)
}

/// Replaces this process by a program (looked up in PATH) with one variable of the environment changed; returns only with
/// the reason why not.
pub fn exec_with(
    words: &[std::ffi::OsString],
    variable: &str,
    value: &std::ffi::OsStr,
) -> io::Error {
    use std::os::unix::process::CommandExt;
    let Some((program, args)) = words.split_first() else {
        return io::ErrorKind::InvalidInput.into();
    };
    std::process::Command::new(program)
        .args(args)
        .env(variable, value)
        .exec()
}

/// A tool that writes into a pipe which nobody reads any more ends, as programs usually do; Rust's own way is an error.
pub fn end_by_closed_pipes() {
    // SAFETY: sets a disposition; no handler is involved.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Writing beyond the limit of a file's size is an error and does not end this process.
pub fn ignore_file_limit() {
    // SAFETY: sets a disposition; no handler is involved.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Width in columns of the terminal at descriptor `fd`; `None` when it is none.
pub fn terminal_width(fd: RawFd) -> Option<usize> {
    // SAFETY: `size` is a `winsize` as TIOCGWINSZ writes it, and outlives the call.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        check(libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size)).ok()?;
        size
    };
    Some(usize::from(size.ws_col)).filter(|&columns| columns > 0)
}

/// The name of user `uid` in `/etc/passwd`; its number when it has none there.
pub fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd
        .lines()
        .find(|line| line.split(':').nth(2).and_then(|n| n.parse().ok()) == Some(uid));
    entry
        .and_then(|line| line.split(':').next())
        .map_or_else(|| uid.to_string(), str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_address_of_this_machine() {
        assert!(local_addresses().unwrap().contains(&Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random_u64(), random_u64());
    }

    #[test]
    fn a_lock_is_one_open_files() {
        let file = memfd(c"lock").unwrap();
        let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        assert!(try_lock(&file).unwrap());
        assert!(!try_lock(&again).unwrap());
    }
}
