//! Results of calls as `io::Result`.

use std::io;

/// The value of a call of the C library that returns -1 and sets `errno` on failure.
pub(super) fn check(value: i64) -> io::Result<i64> {
    if value == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}

/// A raw result of the kernel (`-errno` on failure), as injected calls give it.
pub fn from_raw(value: u64) -> io::Result<u64> {
    let signed = value as i64;
    if (-4095..0).contains(&signed) {
        Err(io::Error::from_raw_os_error(-signed as i32))
    } else {
        Ok(value)
    }
}

/// `errno` of an address that is not there.
pub const EFAULT: i32 = libc::EFAULT;

/// Whether an error says that the process has ended: it will be (or was) reported by `wait`.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ECHILD))
}

/// "The process has ended", as an error.
pub fn gone() -> io::Error {
    io::Error::from_raw_os_error(libc::ESRCH)
}
