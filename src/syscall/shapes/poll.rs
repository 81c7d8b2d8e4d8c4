//! Waiting for descriptors.

use crate::syscall::memory::{BAD, bytes, word64};
use crate::syscall::pack::{NO_FD, Pack, plausible};
use crate::syscall::unpack::When;
use crate::syscall::{Plan, errno, nr};

/// Most descriptors that travel: more than a process can have by default.
const MOST: u64 = 1 << 20;

/// The three sets at arguments 1 to 3; false when the channel's descriptor is in one, which the program does not have.
fn sets(pack: &mut Pack) -> bool {
    let count = pack.args[0] as i32;
    if count <= 0 {
        return true;
    }
    let count = (count as u64).min(MOST);
    pack.args[0] = count;
    let len = count.div_ceil(64) * 8;
    for arg in 1..=3 {
        let to = pack.args[arg];
        let Some(set) = pack.arg_bytes(arg, len) else {
            continue;
        };
        let in_set = |fd: i32| (fd as u64) < count && set[fd as usize / 8] >> (fd % 8) & 1 == 1;
        if pack.home.channels.iter().any(in_set) {
            return false;
        }
        let id = pack.in_out(set);
        pack.point_arg(arg, id);
        pack.give(id, 0, to, len, When::Success);
    }
    true
}

/// select: what is left of the time is stored also when it is interrupted.
pub fn select(mut pack: Pack) -> Plan {
    if !sets(&mut pack) {
        return Plan::Errno(errno::EBADF as i32);
    }
    pack.arg_in_out(4, 16, When::Always);
    pack.lenient();
    pack.finish()
}

/// pselect6: the last argument points to a mask's address and size.
pub fn pselect(mut pack: Pack) -> Plan {
    if !sets(&mut pack) {
        return Plan::Errno(errno::EBADF as i32);
    }
    time_left(&mut pack, 4);
    if let Some(pair) = pack.arg_bytes(5, 16) {
        let mask = word64(&pair, 0);
        let holder = pack.input(pair);
        pack.point_arg(5, holder);
        if plausible(mask) {
            match bytes(pack.mem, mask, 8) {
                Ok(mask) => {
                    let id = pack.input(mask);
                    pack.point_inside(holder, 0, id, 0);
                }
                Err(_) => pack.set_word(holder, 0, BAD),
            }
        }
    }
    pack.finish()
}

/// A time-out that the kernel replaces by what is left of it; a program may keep it where it cannot be written.
fn time_left(pack: &mut Pack, arg: usize) {
    if pack.arg_in_out(arg, 16, When::Always).is_some() {
        pack.lenient();
    }
}

/// poll, ppoll.
pub fn poll(mut pack: Pack) -> Plan {
    const POLLFD: u64 = 8;
    let count = u64::from(pack.args[1] as u32);
    if count > MOST {
        pack.args[0] = BAD;
    } else {
        let to = pack.args[0];
        if let Some(mut list) = pack.arg_bytes(0, count * POLLFD) {
            let mut hidden = false;
            for entry in list.chunks_exact_mut(8) {
                if pack.is_channel(i32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]])) {
                    entry[..4].copy_from_slice(&(NO_FD as u32).to_le_bytes());
                    hidden = true;
                }
            }
            let id = pack.in_out(list);
            pack.point_arg(0, id);
            if hidden {
                for revents in (0..count).map(|index| index * POLLFD + 6) {
                    pack.give(id, revents as usize, to + revents, 2, When::Success);
                }
            } else {
                pack.give(id, 0, to, count * POLLFD, When::Success);
            }
        }
    }
    if pack.nr == nr::PPOLL {
        time_left(&mut pack, 2);
        pack.arg_in(3, 8);
    }
    pack.finish()
}

/// epoll_ctl: deleting has no event.
pub fn epoll_ctl(mut pack: Pack) -> Plan {
    const DELETE: u32 = 2;
    const EVENT: u64 = 12;
    pack.fd(0);
    pack.fd(2);
    if pack.args[1] as u32 == DELETE {
        pack.args[3] = 0;
    } else {
        pack.arg_in(3, EVENT);
    }
    pack.finish()
}
