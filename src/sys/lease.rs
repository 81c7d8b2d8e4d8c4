//! Leases on files: nobody has the file open for writing, and whoever wants to waits until the lease is given back.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::errno::check;

/// The signal that the holder of a lease gets when somebody wants to write (`SIGIO`).
pub const WANTED: i32 = libc::SIGIO;

/// Takes a lease on a file that is open for reading; closing it gives the lease back.
///
/// # Errors
///
/// `WouldBlock` when somebody has it open for writing; `EACCES` when it is another user's; `EINVAL` when its file system has none.
pub fn take(file: &File) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    check(i64::from(result)).map(drop)
}

/// Has the signals about a lease that another process has taken on `file` come to this one.
///
/// # Errors
///
/// When there is no such process to be told.
pub fn hear(file: &File) -> io::Result<()> {
    // SAFETY: takes no pointers.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETOWN, libc::getpid()) };
    check(i64::from(result)).map(drop)
}

/// Whether somebody waits for this lease to be given back.
pub fn is_wanted(file: &File) -> bool {
    // SAFETY: takes no pointers.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) != libc::F_RDLCK }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;
    use crate::sys::process::fork;
    use crate::sys::ptrace::wait_for;
    use crate::sys::status::Status;
    use crate::sys::unix::SignalFd;

    /// In a process of its own, whose threads all block the signal.
    #[test]
    fn a_writer_is_heard_of() {
        let child = fork(|| {
            let mut signals = SignalFd::new(&[WANTED]).unwrap();
            let path = std::env::temp_dir().join(format!("mos-lease-{}", std::process::id()));
            let writer = File::create(&path).unwrap();
            let reader = File::open(&path).unwrap();
            let busy = take(&reader).unwrap_err();
            assert_eq!(busy.kind(), io::ErrorKind::WouldBlock);
            drop(writer);
            take(&reader).unwrap();
            assert!(!is_wanted(&reader));
            let mut writing = OpenOptions::new();
            writing.write(true).custom_flags(libc::O_NONBLOCK);
            let refused = writing.open(&path).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
            assert!(is_wanted(&reader));
            assert_eq!(signals.take(), Some(WANTED));
            drop(reader);
            writing.open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            0
        });
        assert_eq!(wait_for(child.unwrap()).unwrap(), Status::Exited(0));
    }
}
