//! Becoming another program exactly as a shell would have started it, and what Rust's runtime changed before `main`.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use super::spawn;

/// SIGPIPE's disposition when this process was started (the runtime ignores it).
static SIGPIPE_WAS: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
/// Which of descriptors 0, 1 and 2 were closed then (the runtime opens them), as bits.
static CLOSED_WERE: AtomicI32 = AtomicI32::new(0);

extern "C" fn remember() {
    // SAFETY: the calls take a live local variable or none; this runs before any other code of the program.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action);
        SIGPIPE_WAS.store(action.sa_sigaction, Ordering::Relaxed);
        let closed = (0..3)
            .filter(|fd| libc::fcntl(*fd, libc::F_GETFD) == -1)
            .fold(0, |bits, fd| bits | 1 << fd);
        CLOSED_WERE.store(closed, Ordering::Relaxed);
    }
}

// SAFETY: a function of the type that the section holds; it is called once, before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static REMEMBER: extern "C" fn() = remember;

/// Opens a name of the program interface as programs do. The value, or `ENOENT` when this process is not under mosrun.
pub fn interface_open(name: &str, mode: i32, value: i64) -> io::Result<i64> {
    let path = CString::new(format!("/proc/self/{name}"))?;
    let flags = if mode == 0 { 0 } else { mode | libc::O_CREAT };
    // SAFETY: `path` is a C string that outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_open, path.as_ptr(), flags, value) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Sets a variable of the environment for the program that this process becomes, or takes it away. Only for programs of one thread.
pub fn set_variable(name: &str, value: Option<&OsStr>) {
    // SAFETY: mosrun, the only one that becomes another program, has one thread: nobody else reads the environment meanwhile.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

/// Replaces this process by `file` (looked up in PATH as execvp does, scripts without `#!` included). `args` starts with
/// argument 0. Signal mask, dispositions and descriptors are those that this process was started with.
pub fn exec(file: &OsStr, args: &[OsString]) -> io::Error {
    let Ok(name) = CString::new(file.as_bytes()) else {
        return io::ErrorKind::InvalidInput.into();
    };
    let Ok(args) = args
        .iter()
        .map(|arg| CString::new(arg.as_bytes()))
        .collect::<Result<Vec<_>, _>>()
    else {
        return io::ErrorKind::InvalidInput.into();
    };
    let mut pointers: Vec<*const libc::c_char> = args.iter().map(|arg| arg.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: all strings and the array of pointers to them outlive the call; descriptors 0 to 2 are not used any more
    // if the call succeeds, and are needed for the message only if they were open.
    unsafe {
        libc::signal(libc::SIGPIPE, SIGPIPE_WAS.load(Ordering::Relaxed));
        for fd in (0..3).filter(|fd| CLOSED_WERE.load(Ordering::Relaxed) & 1 << fd != 0) {
            libc::close(fd);
        }
        libc::execvp(name.as_ptr(), pointers.as_ptr());
    }
    io::Error::last_os_error()
}

/// The kernel's words for an error, without Rust's "(os error N)".
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Starts this binary as `applet` with `fd` as descriptor 3, in a session of its own, not as a child of this process; descriptors
/// 0 to 2 are `/dev/null` and it stands in the root directory.
pub fn daemon(applet: &str, args: &[&str], fd: OwnedFd) -> io::Result<()> {
    spawn::detached(applet, args, vec![fd])
}
