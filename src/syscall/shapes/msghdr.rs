//! Messages of sockets: with addresses, vectors and control data.

use crate::syscall::Plan;
use crate::syscall::memory::{BAD, bytes, word32, word64};
use crate::syscall::pack::{Id, NO_FD, PIECE, Pack, plausible};
use crate::syscall::shape::{ADDR_MAX, addr_in, addr_out};
use crate::syscall::unpack::When;

use super::vectors::{Scattered, Segments, gather, plain_data, scatter, segments, set_step, total};

/// Bytes of a `struct msghdr`, and of a `struct mmsghdr` around it.
const MSGHDR: usize = 56;
const MMSGHDR: usize = 64;
// Offsets of its fields.
const NAME: usize = 0;
const NAME_LEN: usize = 8;
const IOV: usize = 16;
const IOV_LEN: usize = 24;
const CONTROL: usize = 32;
const CONTROL_LEN: usize = 40;
const FLAGS: usize = 48;
/// `msg_len` of a `struct mmsghdr`.
const LEN: usize = 56;

/// Most control data that travels; the kernel's own limit for sending is far below.
const CONTROL_MAX: u64 = 1 << 20;
/// Most messages of sendmmsg and recvmmsg, as in the kernel.
const MESSAGES_MAX: u32 = 1024;
const MSG_WAITALL: u64 = 0x100;

/// sendto.
pub fn sendto(mut pack: Pack) -> Plan {
    pack.fd(0);
    pack.args[1] = pack.args[1].wrapping_add(pack.done);
    let left = pack.args[2].saturating_sub(pack.done);
    let len = left.min(PIECE);
    pack.args[2] = len;
    set_step(&mut pack, len, len < left);
    plain_data(&mut pack, 1, 2, len);
    addr_in(&mut pack, 4, 5);
    pack.finish()
}

/// recvfrom.
pub fn recvfrom(mut pack: Pack) -> Plan {
    pack.fd(0);
    pack.args[1] = pack.args[1].wrapping_add(pack.done);
    let left = pack.args[2].saturating_sub(pack.done);
    let len = left.min(PIECE);
    pack.args[2] = len;
    let waits_for_all = pack.args[3] & MSG_WAITALL != 0;
    set_step(&mut pack, len, waits_for_all && len < left);
    addr_out(&mut pack, 4, 5);
    pack.arg_stream(1, len);
    pack.finish()
}

/// sendmsg.
pub fn sendmsg(mut pack: Pack) -> Plan {
    pack.fd(0);
    if let Some(raw) = pack.arg_bytes(1, MSGHDR as u64) {
        let header = pack.input(raw.clone());
        pack.point_arg(1, header);
        let (bytes, more) = send_one(&mut pack, header, 0, &raw);
        set_step(&mut pack, bytes, more);
    }
    pack.finish()
}

/// sendmmsg.
pub fn sendmmsg(mut pack: Pack) -> Plan {
    pack.fd(0);
    let count = (pack.args[2] as u32).min(MESSAGES_MAX);
    let to = pack.args[1];
    if let Some(raw) = pack.arg_bytes(1, u64::from(count) * MMSGHDR as u64) {
        let array = pack.in_out(raw.clone());
        pack.point_arg(1, array);
        let mut sum = 0;
        for (index, message) in raw.chunks_exact(MMSGHDR).enumerate() {
            let at = index * MMSGHDR;
            sum += send_one(&mut pack, array, at, message).0;
            pack.give(
                array,
                at + LEN,
                to.wrapping_add((at + LEN) as u64),
                4,
                When::Above(index as i64),
            );
            if sum > PIECE {
                // Fewer messages may always be sent than were asked for.
                pack.args[2] = index as u64 + 1;
                break;
            }
        }
    }
    pack.finish()
}

/// Packs what one header at `at` of piece `header` points to. Returns the bytes of data, and whether there are more.
fn send_one(pack: &mut Pack, header: Id, at: usize, raw: &[u8]) -> (u64, bool) {
    let name = word64(raw, NAME);
    if plausible(name) {
        let len = (word32(raw, NAME_LEN) as i32).clamp(0, ADDR_MAX as i32) as usize;
        set_input(pack, header, at + NAME, bytes(pack.mem, name, len).ok());
    }
    let control = word64(raw, CONTROL);
    if pack.done > 0 {
        // Control data went with the first byte.
        pack.set_word(header, at + CONTROL, 0);
        pack.set_word(header, at + CONTROL_LEN, 0);
    } else if plausible(control) {
        let len = word64(raw, CONTROL_LEN);
        let data = if len <= CONTROL_MAX {
            bytes(pack.mem, control, len as usize).ok()
        } else {
            None
        };
        set_input(
            pack,
            header,
            at + CONTROL,
            data.map(|data| without_channel(pack, data)),
        );
    }
    match segments(pack, word64(raw, IOV), word64(raw, IOV_LEN)) {
        None => {
            pack.set_word(header, at + IOV, BAD);
            (0, false)
        }
        Some(Segments { list, more }) => {
            let wanted = total(&list);
            let (vector, bytes) = gather(pack, &list);
            pack.point_inside(header, at + IOV, vector, 0);
            if list.len() as u64 <= word64(raw, IOV_LEN) {
                pack.set_word(header, at + IOV_LEN, list.len() as u64);
            }
            (bytes, more && bytes == wanted)
        }
    }
}

fn set_input(pack: &mut Pack, holder: Id, at: usize, data: Option<Vec<u8>>) {
    match data {
        Some(data) => {
            let id = pack.input(data);
            pack.point_inside(holder, at, id, 0);
        }
        None => pack.set_word(holder, at, BAD),
    }
}

/// Control data in which the channel's descriptor, were it passed, is none.
fn without_channel(pack: &Pack, mut data: Vec<u8>) -> Vec<u8> {
    const HEADER: usize = 16;
    const SOL_SOCKET: u32 = 1;
    const SCM_RIGHTS: u32 = 1;
    let mut at = 0;
    while at + HEADER <= data.len() {
        let len = word64(&data, at) as usize;
        if len < HEADER || len > data.len() - at {
            break;
        }
        if (word32(&data, at + 8), word32(&data, at + 12)) == (SOL_SOCKET, SCM_RIGHTS) {
            for fd in data[at + HEADER..at + len].chunks_exact_mut(4) {
                if pack.is_channel(word32(fd, 0) as i32) {
                    fd.copy_from_slice(&(NO_FD as u32).to_le_bytes());
                }
            }
        }
        at = (at + len).next_multiple_of(8);
    }
    data
}

/// recvmsg.
pub fn recvmsg(mut pack: Pack) -> Plan {
    pack.fd(0);
    let to = pack.args[1];
    if let Some(raw) = pack.arg_bytes(1, MSGHDR as u64) {
        let header = pack.in_out(raw.clone());
        pack.point_arg(1, header);
        receive_ends(&mut pack, header, 0, &raw, to, When::Success);
        match segments(&pack, word64(&raw, IOV), word64(&raw, IOV_LEN)) {
            None => pack.set_word(header, IOV, BAD),
            Some(Segments { list, more }) => {
                let room = total(&list);
                let data = pack.stream(room);
                let vector = scatter(&mut pack, &list, data, Scattered::ByResult);
                pack.point_inside(header, IOV, vector, 0);
                pack.set_word(header, IOV_LEN, list.len() as u64);
                let waits_for_all = pack.args[2] & MSG_WAITALL != 0;
                set_step(&mut pack, room, waits_for_all && more);
            }
        }
    }
    pack.finish()
}

/// recvmmsg.
pub fn recvmmsg(mut pack: Pack) -> Plan {
    pack.fd(0);
    pack.arg_in_out(4, 16, When::Above(0));
    let count = (pack.args[2] as u32).min(MESSAGES_MAX);
    let to = pack.args[1];
    if let Some(raw) = pack.arg_bytes(1, u64::from(count) * MMSGHDR as u64) {
        let array = pack.in_out(raw.clone());
        pack.point_arg(1, array);
        let mut sum = 0;
        for (index, message) in raw.chunks_exact(MMSGHDR).enumerate() {
            let (at, when) = (index * MMSGHDR, When::Above(index as i64));
            let here = to.wrapping_add(at as u64);
            pack.give(array, at + LEN, here.wrapping_add(LEN as u64), 4, when);
            receive_ends(&mut pack, array, at, message, here, when);
            sum += receive_data(&mut pack, array, at, message, when);
            if sum > PIECE {
                // Fewer messages may always arrive than there is room for.
                pack.args[2] = index as u64 + 1;
                break;
            }
        }
    }
    pack.finish()
}

/// Room for the data of one message of several; returns its bytes.
fn receive_data(pack: &mut Pack, array: Id, at: usize, raw: &[u8], when: When) -> u64 {
    match segments(pack, word64(raw, IOV), word64(raw, IOV_LEN)) {
        None => {
            pack.set_word(array, at + IOV, BAD);
            0
        }
        Some(Segments { list, .. }) => {
            let room = total(&list);
            let data = pack.output(room);
            let vector = scatter(pack, &list, data, Scattered::ByWord(array, at + LEN, when));
            pack.point_inside(array, at + IOV, vector, 0);
            pack.set_word(array, at + IOV_LEN, list.len() as u64);
            room
        }
    }
}

/// Name, control data, flags and their lengths of a header at `at` of piece `header` that the guest has at `to`.
fn receive_ends(pack: &mut Pack, header: Id, at: usize, raw: &[u8], to: u64, when: When) {
    let name = word64(raw, NAME);
    if plausible(name) {
        let most = (word32(raw, NAME_LEN) as i32).clamp(0, ADDR_MAX as i32) as u64;
        let id = pack.output(most);
        pack.point_inside(header, at + NAME, id, 0);
        pack.give_by(id, name, most, 0, (header, at + NAME_LEN, 4), when);
    }
    let control = word64(raw, CONTROL);
    if plausible(control) {
        let most = word64(raw, CONTROL_LEN).min(CONTROL_MAX);
        pack.set_word(header, at + CONTROL_LEN, most);
        let id = pack.output(most);
        pack.point_inside(header, at + CONTROL, id, 0);
        pack.give_by(id, control, most, 0, (header, at + CONTROL_LEN, 8), when);
    }
    for (field, width) in [(NAME_LEN, 4), (CONTROL_LEN, 8), (FLAGS, 4)] {
        pack.give(
            header,
            at + field,
            to.wrapping_add(field as u64),
            width,
            when,
        );
    }
}
