//! Calls on a socket that has a time-out of its own (`SO_RCVTIMEO`, `SO_SNDTIMEO`). The kernel counts it from the beginning of each call;
//! one that is made again waits for the socket first, no longer than the time that is left.

use super::memory::{GuestMemory, Home};
use super::pack::Pack;
use super::{Plan, Step, nr};
use crate::sys::abi;

/// How a call waits for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketWait {
    /// Which option of the socket limits it.
    pub option: u64,
    /// What it waits for, as in `struct pollfd`.
    pub events: u16,
}

const POLLIN: u16 = 1;
const POLLOUT: u16 = 4;

/// How this call waits if its descriptor is a socket's. (`connect` is not one of these: made again, it goes on by itself.)
pub fn socket_wait(nr: u64) -> Option<SocketWait> {
    use abi::*;
    let (option, events) = match nr {
        SYS_READ | SYS_READV | SYS_RECVFROM | SYS_RECVMSG | SYS_ACCEPT | SYS_ACCEPT4 => {
            (SO_RCVTIMEO, POLLIN)
        }
        SYS_WRITE | SYS_WRITEV | SYS_SENDTO | SYS_SENDMSG => (SO_SNDTIMEO, POLLOUT),
        _ => return None,
    };
    Some(SocketWait { option, events })
}

/// The `struct pollfd` of a wait, and a `timespec` behind it.
pub fn poll_input(fd: u64, wait: SocketWait, left_ns: u64) -> [u8; 24] {
    const SECOND: u64 = 1_000_000_000;
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&(fd as u32).to_le_bytes());
    bytes[4..6].copy_from_slice(&wait.events.to_le_bytes());
    bytes[8..16].copy_from_slice(&(left_ns / SECOND).to_le_bytes());
    bytes[16..].copy_from_slice(&(left_ns % SECOND).to_le_bytes());
    bytes
}

/// Waits until the socket is ready; then the call itself is made, or its time is over.
pub fn until_ready(
    args: [u64; 6],
    wait: SocketWait,
    left_ns: u64,
    mem: &dyn GuestMemory,
    home: &Home,
) -> Plan {
    let input = poll_input(args[0], wait, left_ns);
    let mut pack = Pack::new(nr::PPOLL, [0, 1, 0, 0, 8, 0], mem, home);
    let fds = pack.in_out(input[..8].to_vec());
    pack.point_arg(0, fds);
    let time = pack.in_out(input[8..].to_vec());
    pack.point_arg(2, time);
    pack.step = Step::AwaitReady;
    pack.finish()
}
