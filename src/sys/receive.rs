//! Receiving into memory that nobody has written to before.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::unix::check;

/// Receives into `head` first and then into `body`, whose contents are replaced, at most `most` bytes there. How many bytes came
/// in all; 0: the end. What is received is not written to before.
///
/// # Errors
///
/// Those of `readv`, except interruption.
pub fn receive(
    socket: &impl AsRawFd,
    head: &mut [u8],
    body: &mut Vec<u8>,
    most: usize,
) -> io::Result<usize> {
    body.clear();
    body.reserve(most);
    let parts = [
        libc::iovec {
            iov_base: head.as_mut_ptr().cast(),
            iov_len: head.len(),
        },
        libc::iovec {
            iov_base: body.as_mut_ptr().cast(),
            iov_len: most,
        },
    ];
    loop {
        // SAFETY: both parts are live, the second within what `body` has reserved.
        let got = unsafe { libc::readv(socket.as_raw_fd(), parts.as_ptr(), 2) };
        match usize::try_from(got) {
            Ok(got) => {
                // SAFETY: the kernel has filled the parts in order, so that so many bytes of `body` are there.
                unsafe { body.set_len(got.saturating_sub(head.len())) };
                return Ok(got);
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Receives behind what `body` has, until it has `len` bytes.
///
/// # Errors
///
/// `UnexpectedEof` when the end comes before; those of `recv`, except interruption and the end of the socket's own time-out.
pub fn receive_up_to(socket: &impl AsRawFd, body: &mut Vec<u8>, len: usize) -> io::Result<()> {
    body.reserve(len.saturating_sub(body.len()));
    while body.len() < len {
        let lacking = len - body.len();
        let got = receive_all(socket, &mut body.spare_capacity_mut()[..lacking])?;
        // SAFETY: the kernel has filled so many bytes behind those that were there.
        unsafe { body.set_len(body.len() + got) };
    }
    Ok(())
}

/// Fills `room`, or as much of it as one receive does.
fn receive_all(socket: &impl AsRawFd, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    loop {
        // SAFETY: the kernel writes at most so many bytes to the room.
        let got = unsafe {
            libc::recv(
                socket.as_raw_fd(),
                room.as_mut_ptr().cast(),
                room.len(),
                libc::MSG_WAITALL,
            )
        };
        match usize::try_from(got) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) => return Ok(got),
            Err(_) => {
                let error = io::Error::last_os_error();
                if !matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) {
                    return Err(error);
                }
            }
        }
    }
}

/// How long a receive on this socket waits; the kernel counts in its own ticks, of some milliseconds.
///
/// # Errors
///
/// When it is no socket.
pub fn limit_receive(socket: &impl AsRawFd, limit: Duration) -> io::Result<()> {
    let time = libc::timeval {
        tv_sec: limit.as_secs() as libc::time_t,
        tv_usec: libc::suseconds_t::from(limit.subsec_micros() as i32),
    };
    // SAFETY: the pointer is to a live `timeval` and the length is its own.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const time).cast(),
            size_of::<libc::timeval>() as libc::socklen_t,
        )
    })
    .map(|_| ())
}
