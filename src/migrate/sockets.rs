//! What is asked of a deputy about a socket that has a time-out of its own.

use std::io;
use std::time::Duration;

use crate::migrate::deputy::Deputy;
use crate::sys::abi;
use crate::syscall::{self, SocketWait};
use crate::wire::channel::{INLINE_IN, Request};

/// The time-out of the kind that limits this wait; `None` when the descriptor has none, or is no socket.
///
/// # Errors
///
/// Those of the channel.
pub fn time_out(deputy: &mut Deputy, fd: u64, wait: SocketWait) -> io::Result<Option<Duration>> {
    option(deputy, fd, wait.option)
}

/// The same for an option of the socket that holds a `timeval`.
///
/// # Errors
///
/// Those of the channel.
pub fn option(deputy: &mut Deputy, fd: u64, option: u64) -> io::Result<Option<Duration>> {
    const LEN: u64 = 16;
    let place = deputy.base + INLINE_IN;
    let request = Request {
        nr: abi::SYS_GETSOCKOPT,
        args: [fd, abi::SOL_SOCKET, option, place + LEN, place, 0],
        in_len: 4,
        out_ptr: place + LEN,
        out_fixed: LEN,
        ..Request::default()
    };
    let (value, time) = deputy.rpc(&request, &(LEN as u32).to_le_bytes())?;
    let word = |at: usize| {
        let bytes = time.get(at..at + 8).and_then(|word| word.try_into().ok());
        bytes.map(u64::from_le_bytes)
    };
    let (Some(seconds), Some(micros)) = (word(0), word(8)) else {
        return Ok(None);
    };
    let time = Duration::from_secs(seconds).saturating_add(Duration::from_micros(micros));
    Ok((value == 0 && !time.is_zero()).then_some(time))
}

/// Whether a descriptor is ready for a call that waits for it.
///
/// # Errors
///
/// Those of the channel.
pub fn is_ready(deputy: &mut Deputy, fd: u64, wait: SocketWait) -> io::Result<bool> {
    let place = deputy.base + INLINE_IN;
    let input = syscall::poll_input(fd, wait, 0);
    let request = Request {
        nr: abi::SYS_PPOLL,
        args: [place, 1, place + 8, 0, 8, 0],
        in_len: input.len() as u64,
        ..Request::default()
    };
    Ok(deputy.rpc(&request, &input)?.0 != 0)
}
