//! A frozen process holds itself: its own descriptors are the image of its memory and the far ends of its threads' channels.
//!
//! So it depends on nobody. Its warden, mosd and all others may end: it waits in its stubs, whose channels do not end before it does, and
//! when it is killed the kernel closes the file, which has no name, with it. Whoever has it go on takes copies of the descriptors.
//!
//! It gets all of them by one `recvmsg` of its first thread, whose control message is written to a fixed place of the stub's range
//! (`PARKING`): either none has come, or the record says which they are. The first is the image, then come the channels in the
//! order of the threads.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::home::mover::seize::{self, HeldThread};
use crate::image::capture::Calls;
use crate::migrate::deputy::{Deputy, checked};
use crate::migrate::source::Stayed;
use crate::sys::process::{pidfd_getfd, pidfd_open};
use crate::sys::socket::{self, MOST_FDS};
use crate::sys::{abi, mem, stub};
use crate::wire::channel::{INLINE_IN, PARKING, Request};
use crate::wire::control::Frozen;

/// Bytes of a `cmsghdr`: length, level and type of a control message.
const HEADER: usize = 16;
const SCM_RIGHTS: i32 = 1;
/// Offsets behind the `msghdr` of 56 bytes: its vector of one part, and that part's byte.
const VECTOR: u64 = 56;
const BYTE: u64 = VECTOR + 16;

/// A frozen process.
pub struct Parked {
    /// Base of its first stub.
    pub base: u64,
    pub why: Frozen,
    /// Its descriptors that hold it.
    pub fds: Vec<u64>,
}

fn word(why: Frozen) -> u32 {
    match why {
        Frozen::Automatic => 2,
        Frozen::Preempted => 3,
        _ => 1,
    }
}

/// Whether and why a process is frozen.
pub fn why(pid: i32) -> Frozen {
    let parked = parked(pid).unwrap_or_default();
    parked.map_or(Frozen::No, |parked| parked.why)
}

/// What a process that is frozen is held by.
///
/// # Errors
///
/// When it is gone, or not ours to look at.
pub fn parked(pid: i32) -> io::Result<Option<Parked>> {
    let Some(base) = seize::serving(pid)? else {
        return Ok(None);
    };
    let mut reason = [0; 4];
    mem::read_exact(pid, base + stub::PARKED, &mut reason)?;
    let why = match u32::from_le_bytes(reason) {
        0 => return Ok(None),
        2 => Frozen::Automatic,
        3 => Frozen::Preempted,
        _ => Frozen::Manual,
    };
    let fds = record(pid, base)?;
    Ok((!fds.is_empty()).then_some(Parked { base, why, fds }))
}

fn record(pid: i32, base: u64) -> io::Result<Vec<u64>> {
    let mut record = [0; HEADER + 4 * MOST_FDS];
    mem::read_exact(pid, base + PARKING, &mut record)?;
    let number = |at: usize| i32::from_le_bytes([0, 1, 2, 3].map(|byte| record[at + byte]));
    let len = number(0) as usize;
    if len > record.len() || [number(8), number(12)] != [abi::SOL_SOCKET as i32, SCM_RIGHTS] {
        return Ok(Vec::new());
    }
    Ok((HEADER..len)
        .step_by(4)
        .map(|at| number(at) as u64)
        .collect())
}

/// Another reason than before.
///
/// # Errors
///
/// When the process is gone.
pub fn set_why(pid: i32, parked: &Parked, why: Frozen) -> io::Result<()> {
    mem::write_all(pid, parked.base + stub::PARKED, &word(why).to_le_bytes())
}

/// A copy of one of its descriptors.
///
/// # Errors
///
/// When it is gone.
pub fn take(pid: i32, fd: u64) -> io::Result<OwnedFd> {
    pidfd_getfd(pidfd_open(pid)?.as_fd(), fd as i32)
}

/// Makes a process hold itself. On failure it does not, and its threads are the caller's as before.
pub fn park(pid: i32, held: &mut [HeldThread], image: &File, why: Frozen) -> Result<(), Stayed> {
    let count = held.len() + 1;
    if count > MOST_FDS {
        return Err(Stayed("it has too many threads to be frozen".to_owned()));
    }
    // Two more for the way there.
    seize::free_descriptors(pid, count + 2)?;
    let base = held[0].deputy.base;
    mem::write_all(pid, base + PARKING, &[0; HEADER])?;
    mem::write_all(pid, base + stub::PARKED, &word(why).to_le_bytes())?;
    let (ours, theirs) = pair(pid, &mut held[0].deputy)?;
    let ends = held.iter().map(|thread| thread.deputy.end());
    let fds: Vec<BorrowedFd<'_>> = [image.as_fd()].into_iter().chain(ends).collect();
    socket::send_with_fds(&ours, b"P", &fds)?;
    let first = &mut held[0].deputy;
    receive(first, theirs, count as u64)?;
    first.call(abi::SYS_CLOSE, [theirs, 0, 0, 0, 0, 0])?;
    let got = record(pid, base)?;
    if got.len() == count {
        return Ok(());
    }
    mem::write_all(pid, base + PARKING, &[0; HEADER])?;
    for fd in got {
        first.call(abi::SYS_CLOSE, [fd, 0, 0, 0, 0, 0])?;
    }
    Err(Stayed("it has too many open files to be frozen".to_owned()))
}

/// A connection with the process: our end, and the number of its own.
fn pair(pid: i32, deputy: &mut Deputy) -> io::Result<(OwnedFd, u64)> {
    let kind = abi::SOCK_STREAM | abi::SOCK_CLOEXEC;
    let args = [abi::AF_UNIX, kind, 0, 0, 0, 0];
    let (value, numbers) = deputy.call_out(abi::SYS_SOCKETPAIR, args, 3, 8)?;
    checked(value)?;
    let number = |at: usize| u64::from(u32::from_le_bytes([0, 1, 2, 3].map(|b| numbers[at + b])));
    let ours = take(pid, number(0))?;
    deputy.call(abi::SYS_CLOSE, [number(0), 0, 0, 0, 0, 0])?;
    Ok((ours, number(4)))
}

/// Has the deputy receive the descriptors; the kernel writes the record.
fn receive(deputy: &mut Deputy, from: u64, count: u64) -> io::Result<()> {
    let at = deputy.base + INLINE_IN;
    let room = (HEADER as u64 + 4 * count).next_multiple_of(8);
    // msghdr: name, its length, vector, its length, control, its length, flags; then the vector.
    let words = [
        0,
        0,
        at + VECTOR,
        1,
        deputy.base + PARKING,
        room,
        0,
        at + BYTE,
        1,
        0,
    ];
    let input: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let request = Request {
        nr: abi::SYS_RECVMSG,
        args: [from, at, abi::MSG_CMSG_CLOEXEC, 0, 0, 0],
        in_len: input.len() as u64,
        ..Request::default()
    };
    match checked(deputy.rpc(&request, &input)?.0)? {
        1 => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
