//! Calls that end by themselves after some time, when they are made again; and masks that hold only during a call.

use super::memory::{GuestMemory, bytes, u64_at, word64};
use super::row::TimeOut;
use super::{Forward, nr, table};

const NS: u64 = 1_000_000_000;

/// Nanoseconds after which a call gives up by itself; `None` when it does not, or asks for something that the kernel will refuse.
pub fn time_out_ns(nr: u64, args: &[u64; 6], mem: &dyn GuestMemory) -> Option<u64> {
    if nr == nr::FUTEX && !is_timed_futex(args) {
        return None;
    }
    match table::find(nr)?.time_out? {
        TimeOut::Millis(arg) => u64::try_from(args[arg as usize] as i32)
            .ok()
            .map(|ms| ms * 1_000_000),
        TimeOut::Timespec(arg) => pair(args[arg as usize], mem, NS, 1),
        TimeOut::Timeval(arg) => pair(args[arg as usize], mem, u64::MAX, 1000),
    }
}

/// Whether these are the arguments of a wait on a futex with a time-out that counts from its beginning.
pub fn is_timed_futex(args: &[u64; 6]) -> bool {
    const OPERATION: u64 = 0x7f;
    args[1] & OPERATION == 0 && args[3] != 0
}

/// Seconds and a fraction below `limit`, in units of `unit` nanoseconds.
fn pair(addr: u64, mem: &dyn GuestMemory, limit: u64, unit: u64) -> Option<u64> {
    if addr == 0 {
        return None;
    }
    let raw = bytes(mem, addr, 16).ok()?;
    let (seconds, fraction) = (word64(&raw, 0), word64(&raw, 8));
    if seconds as i64 >= 0 && fraction as i64 >= 0 && fraction < limit {
        Some(
            seconds
                .saturating_mul(NS)
                .saturating_add(fraction.saturating_mul(unit)),
        )
    } else {
        None
    }
}

/// Sets the time-out of a call that is made again to what is left of it. Without a time-out nothing changes.
pub fn with_time_left(nr: u64, forward: &mut Forward, left_ns: u64) {
    let Some(time_out) = table::find(nr).and_then(|row| row.time_out) else {
        return;
    };
    let (arg, fraction) = match time_out {
        TimeOut::Millis(arg) => {
            if forward.request.args[arg as usize] as i32 >= 0 {
                // Rounded up: it must not end too early.
                let ms = left_ns.div_ceil(1_000_000).min(i32::MAX as u64);
                forward.request.args[arg as usize] = ms;
            }
            return;
        }
        TimeOut::Timespec(arg) => (arg, left_ns % NS),
        TimeOut::Timeval(arg) => (arg, left_ns % NS / 1000),
    };
    let Some(at) = forward.request.args[arg as usize].checked_sub(forward.base) else {
        return;
    };
    let at = at as usize;
    if let Some(place) = forward.input.get_mut(at..at + 16) {
        place[..8].copy_from_slice(&(left_ns / NS).to_le_bytes());
        place[8..].copy_from_slice(&fraction.to_le_bytes());
    }
}

/// The signal mask that holds while call `nr` waits, if it brings one: a signal that interrupts it was allowed by this mask.
pub fn temporary_mask(nr: u64, args: &[u64; 6], mem: &dyn GuestMemory) -> Option<u64> {
    let addr = match nr {
        nr::RT_SIGSUSPEND => args[0],
        nr::PPOLL => args[3],
        nr::EPOLL_PWAIT | nr::EPOLL_PWAIT2 => args[4],
        nr::PSELECT6 if args[5] != 0 => u64_at(mem, args[5]).ok()?,
        _ => 0,
    };
    if addr == 0 {
        None
    } else {
        u64_at(mem, addr).ok()
    }
}
