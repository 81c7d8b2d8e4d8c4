//! Time-outs of calls in the middle of which a process leaves home or comes back.
//!
//! The home kernel keeps the deadline of a sleep or of `poll` in its restart block, and stores what is left of `select`'s time in
//! the program's memory. Of the others (`epoll_wait`, `sigtimedwait`, `semtimedop`, `futex`) nobody knows when they began at home: they
//! get their whole time once more when they leave. Those on a socket with a time-out of its own get it once more when they come home, too,
//! but at the latest when they leave again it is over. Where a process is away its host knows what is left of any call.

use std::io;

use crate::home::mover::seize::words;
use crate::image::{Resume, Thread};
use crate::migrate::deputy::Deputy;
use crate::migrate::sockets;
use crate::sys::regs::Regs;
use crate::sys::regs::index::{R8, R10, RDI, RDX};
use crate::sys::{abi, mem, stub};
use crate::syscall::{self, ProcessMemory};
use crate::wire::channel::{ROOM, STUB_SIZE};

/// Where a call has a time-out that is changed for the time left when it is repeated at home.
enum Place {
    /// `select`, `pselect6` and `ppoll` store there what is left whenever they are interrupted; so it is there when they are repeated.
    Theirs { addr: u64, unit: u64 },
    /// A pointer to the program's own `timespec`, which must stay as it is.
    Pointer(usize),
    /// Milliseconds.
    Register(usize),
    /// A socket has it: the call is only marked, so that it is known when it is interrupted again.
    Socket,
}

/// Marks a call on a socket in the upper half of its first argument, which is a descriptor: the kernel does not look there.
const MARK: u64 = 0x6d6f << 48;
const MARK_MASK: u64 = 0xffff << 48;
const MARKED: u64 = 0xffff_ffff << 32;

/// Where the point in time of a marked call is kept: in the stub that the thread had when it came home.
fn kept_at(first: u64, mark: u64) -> Option<u64> {
    let stub = first + (mark >> 32 & 0xffff) * STUB_SIZE;
    (mark & MARK_MASK == MARK).then_some(stub + stub::time())
}

fn mark(base: u64) -> u64 {
    MARK | ((base & (ROOM - 1)) / STUB_SIZE) << 32
}

fn place(nr: u64, regs: &[u64; 27]) -> Option<Place> {
    Some(match nr {
        abi::SYS_SELECT => Place::Theirs {
            addr: regs[R8],
            unit: 1000,
        },
        abi::SYS_PSELECT6 => Place::Theirs {
            addr: regs[R8],
            unit: 1,
        },
        abi::SYS_PPOLL => Place::Theirs {
            addr: regs[RDX],
            unit: 1,
        },
        abi::SYS_EPOLL_WAIT | abi::SYS_EPOLL_PWAIT => Place::Register(R10),
        abi::SYS_EPOLL_PWAIT2 | abi::SYS_SEMTIMEDOP => Place::Pointer(R10),
        abi::SYS_RT_SIGTIMEDWAIT => Place::Pointer(RDX),
        abi::SYS_FUTEX => Place::Pointer(R10),
        _ if syscall::socket_wait(nr).is_some() => Place::Socket,
        _ => return None,
    })
}

/// A thread leaves from the middle of a call: the time of it that is left counts from now, on the way as well. `first`: the base of
/// the process's first stub; the thread may have been in that or another.
pub fn leaves(pid: i32, first: u64, thread: &mut Thread) -> io::Result<()> {
    let mut words = words(&thread.regs)?;
    if let (Some((nr, _)), Resume::Nothing) = (thread.interrupted, &thread.resume) {
        let args = Regs::from_array(words).args();
        let left = syscall::time_out_ns(nr, &args, &ProcessMemory(pid));
        thread.resume = left.map_or(Resume::Nothing, |ns| {
            Resume::until(nr, std::time::Duration::from_nanos(ns))
        });
    }
    if let Some((nr, _)) = thread.interrupted
        && syscall::socket_wait(nr).is_some()
        && let Some(kept) = kept_at(first, words[RDI])
    {
        let mut until = [0; 8];
        if mem::read_exact(pid, kept, &mut until).is_ok() {
            let until = u64::from_le_bytes(until);
            thread.resume = Resume::TimeLeft { nr, until };
            words[RDI] &= !MARKED;
        }
    }
    // The program's own pointer is put back where ours stands for it.
    for index in [R10, RDX] {
        let ours = words[index];
        if (first..first + ROOM).contains(&ours) && ours & (STUB_SIZE - 1) == stub::time() {
            let mut pointer = [0; 8];
            mem::read_exact(pid, ours + 16, &mut pointer)?;
            words[index] = u64::from_le_bytes(pointer);
        }
    }
    thread.regs = words.to_vec();
    Ok(())
}

/// A thread leaves from the middle of a call on a socket: from now on its time is counted.
pub fn of_socket(deputy: &mut Deputy, thread: &mut Thread) -> io::Result<()> {
    if let (Some((nr, _)), Resume::Nothing) = (thread.interrupted, &thread.resume)
        && let Some(wait) = syscall::socket_wait(nr)
        && let Some(left) = sockets::time_out(deputy, words(&thread.regs)?[RDI], wait)?
    {
        thread.resume = Resume::until(nr, left);
    }
    Ok(())
}

/// Whether the time of a call on a socket is over, and what it waited for has not come.
pub fn is_over(deputy: &mut Deputy, thread: &Thread) -> io::Result<bool> {
    let Some(wait) = thread.resume.nr().and_then(syscall::socket_wait) else {
        return Ok(false);
    };
    let left = thread
        .resume
        .left()
        .filter(|_| thread.interrupted.is_some());
    let over = left.is_some_and(|left| left.is_zero());
    Ok(over && !sockets::is_ready(deputy, words(&thread.regs)?[RDI], wait)?)
}

/// The process comes home into the middle of a call, which will be repeated with the time that is left.
pub fn comes(pid: i32, base: u64, thread: &Thread, regs: &mut [u64; 27]) {
    let Resume::TimeLeft { nr, until } = thread.resume else {
        return;
    };
    let (Some(left), Some(place)) = (thread.resume.left(), place(nr, regs)) else {
        return;
    };
    let time = |unit: u64| {
        let fraction = u64::from(left.subsec_nanos()) / unit;
        [left.as_secs(), fraction].map(u64::to_le_bytes).concat()
    };
    // What cannot be written (the program has unmapped it) was the program's to keep: the call will say so itself.
    let _ = match place {
        Place::Theirs { addr, unit } => mem::write_all(pid, addr, &time(unit)),
        Place::Socket => {
            regs[RDI] = regs[RDI] & !MARKED | mark(base);
            mem::write_all(pid, base + stub::time(), &until.to_le_bytes())
        }
        Place::Register(index) => {
            let ms = left.as_nanos().div_ceil(1_000_000);
            regs[index] = ms.min(i32::MAX as u128) as u64;
            Ok(())
        }
        Place::Pointer(index) => {
            let ours = base + stub::time();
            let bytes = [time(1), regs[index].to_le_bytes().to_vec()].concat();
            mem::write_all(pid, ours, &bytes).map(|()| regs[index] = ours)
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::channel::stub_of;

    #[test]
    fn a_mark_tells_the_stub_and_leaves_the_descriptor() {
        let first = 0x2f00_0000_0000;
        for at in [0, 1, 2, 1000] {
            let base = stub_of(first, at);
            let marked = 7 | mark(base);
            assert_eq!(kept_at(first, marked), Some(base + stub::time()));
            assert_eq!(marked & !MARKED, 7);
            assert_eq!(marked as u32, 7);
        }
        assert_eq!(kept_at(first, 7), None);
        assert_eq!(kept_at(first, u64::MAX), None);
    }
}
