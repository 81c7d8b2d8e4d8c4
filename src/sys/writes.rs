//! Which pages of another process are written: its kernel notes it, without stopping the writer.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::errno::check;
use super::regs::Regs;

/// The call by which a process makes the descriptor of a watch of its own memory: number and flags.
pub const OPEN: (u64, u64) = (
    libc::SYS_userfaultfd as u64,
    USER_MODE_ONLY | libc::O_CLOEXEC as u64,
);

/// Code that makes the call, another one in which its tracer may stop it to take the descriptor, which is in [`fd_of`] then, and one
/// that closes the descriptor; then it goes on from the signal frame at `frame`. Whenever the tracer ends, it comes to this end by itself.
pub fn code(frame: u64) -> Vec<u8> {
    let (nr, flags) = OPEN;
    let call = |nr: i64| [&[0xb8][..], &(nr as u32).to_le_bytes(), &[0x0f, 0x05]].concat();
    let frame = (frame + RETURN_ADDRESS).to_le_bytes();
    [
        // mov edi, flags
        [&[0xbf][..], &(flags as u32).to_le_bytes()].concat(),
        call(nr as i64),
        // mov r12, rax
        vec![0x49, 0x89, 0xc4],
        call(libc::SYS_getpid),
        // mov edi, r12d
        vec![0x44, 0x89, 0xe7],
        call(libc::SYS_close),
        // mov rsp, frame
        [&[0x48, 0xbc][..], &frame].concat(),
        call(libc::SYS_rt_sigreturn),
    ]
    .concat()
}

/// Stops at calls (entry and return) up to the one in which the descriptor is taken, and from there to the one behind its closing.
pub const STOPS: [usize; 2] = [3, 3];

/// The descriptor that [`code`] has made, if it could.
pub fn fd_of(regs: &Regs) -> Option<i32> {
    i32::try_from(regs.r12 as i64).ok().filter(|fd| *fd >= 0)
}

/// A frame begins with the address that its handler would have returned to.
const RETURN_ADDRESS: u64 = 8;
/// Without it, unprivileged users get no such descriptor.
const USER_MODE_ONLY: u64 = 1;
const API: u64 = 0xaa;
const FEATURE_WP_UNPOPULATED: u64 = 1 << 13;
const FEATURE_WP_ASYNC: u64 = 1 << 15;
const MODE_WP: u64 = 1 << 1;
const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_UNREGISTER: u64 = 0x8010_aa01;

/// A watch of a process's memory. When it is closed, nothing of it is left in that process.
#[derive(Debug)]
pub struct WriteWatch(OwnedFd);

impl WriteWatch {
    /// Takes a descriptor that the process has made by [`OPEN`].
    ///
    /// # Errors
    ///
    /// Where the kernel cannot note writes without stopping the writer (Linux before 6.7).
    pub fn new(fd: OwnedFd) -> io::Result<WriteWatch> {
        // `struct uffdio_api`: version, features, requests.
        let mut api = [API, FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED, 0];
        // SAFETY: the request reads and writes one such structure, which is live.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_API, api.as_mut_ptr()) };
        check(i64::from(result))?;
        Ok(WriteWatch(fd))
    }

    /// Watches all memory between two addresses; what was watched already stays so.
    ///
    /// # Errors
    ///
    /// When nothing is mapped there, or the program watches it itself.
    pub fn add(&self, start: u64, end: u64) -> io::Result<()> {
        // `struct uffdio_register`: start, length, mode, requests.
        let mut register = [start, end - start, MODE_WP, 0];
        let fd = self.0.as_raw_fd();
        // SAFETY: the request reads and writes one such structure, which is live.
        let result = unsafe { libc::ioctl(fd, UFFDIO_REGISTER, register.as_mut_ptr()) };
        check(i64::from(result)).map(drop)
    }

    /// Watches what lies between two addresses no longer.
    ///
    /// # Errors
    ///
    /// When nothing is mapped there.
    pub fn remove(&self, start: u64, end: u64) -> io::Result<()> {
        // `struct uffdio_range`: start, length.
        let mut range = [start, end - start];
        let fd = self.0.as_raw_fd();
        // SAFETY: the request reads one such structure, which is live.
        let result = unsafe { libc::ioctl(fd, UFFDIO_UNREGISTER, range.as_mut_ptr()) };
        check(i64::from(result)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::pagemap::{PAGE, Pagemap, Want};
    use crate::sys::{mem, trial};

    #[test]
    fn writes_are_noted() {
        let (nr, flags) = OPEN;
        let fd = trial::call(nr, [flags, 0, 0, 0, 0, 0]);
        let Ok(watch) = WriteWatch::new(trial::own(fd as i32)) else {
            panic!("this kernel cannot note writes ({fd})");
        };
        let base = trial::map(16 * PAGE, 3);
        let pid = std::process::id() as i32;
        let write = |page: u64| mem::write_all(pid, base + page * PAGE, &[1]).unwrap();
        let map = Pagemap::open(pid).unwrap();
        let (start, end) = (base, base + 16 * PAGE);
        let written = || map.take_written(start, end).unwrap();
        let range = |from: u64, to: u64| (base + from * PAGE, base + to * PAGE);
        assert_eq!(written(), None);
        write(3);
        watch.add(start, end).unwrap();
        assert_eq!(written(), Some(vec![range(3, 4)]));
        assert_eq!(written(), Some(vec![]));
        for page in [3, 4, 9] {
            write(page);
        }
        mem::read_exact(pid, base + 12 * PAGE, &mut [0]).unwrap();
        assert_eq!(written(), Some(vec![range(3, 5), range(9, 10)]));
        let all = map.ranges(start, end, Want::Contents).unwrap();
        assert_eq!(all, [range(3, 5), range(9, 10)]);
        watch.remove(start, start + PAGE).unwrap();
        assert_eq!(written(), None);
        assert_eq!(map.take_written(start + PAGE, end).unwrap(), Some(vec![]));
        drop(watch);
        assert_eq!(map.take_written(start + PAGE, end).unwrap(), None);
    }
}
