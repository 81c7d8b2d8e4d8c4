//! Transfers of data: plain, by vectors, between descriptors.

use crate::syscall::memory::{BAD, GuestMemory, Home, bytes, readable, word64};
use crate::syscall::pack::{Id, PIECE, Pack, plausible};
use crate::syscall::shape::{Arg, Size, pack_args};
use crate::syscall::unpack::{Count, When};
use crate::syscall::{Plan, Step, errno, nr};

/// Most bytes that the kernel moves in one call.
const MAX_RW: u64 = 0x7fff_f000;
/// Most segments of a vector.
const IOV_MAX: u64 = 1024;
/// Bytes of a `struct iovec`.
const IOVEC: u64 = 16;

/// read, pread64.
pub fn read(mut pack: Pack) -> Plan {
    pack.fd(0);
    let len = length(&mut pack);
    if plausible(pack.args[1]) {
        pack.arg_stream(1, len);
    }
    pack.finish()
}

/// write, pwrite64.
pub fn write(mut pack: Pack) -> Plan {
    pack.fd(0);
    let len = length(&mut pack);
    plain_data(&mut pack, 1, 2, len);
    pack.finish()
}

/// Input of `len` bytes at argument `at`, whose length is argument `len_at`; what is readable of it, as the kernel would write it.
pub fn plain_data(pack: &mut Pack, at: usize, len_at: usize, len: u64) {
    if !plausible(pack.args[at]) {
        return;
    }
    let data = readable(pack.mem, pack.args[at], len as usize);
    if data.is_empty() && len > 0 {
        pack.args[at] = BAD;
        return;
    }
    pack.args[len_at] = data.len() as u64;
    if (data.len() as u64) < len {
        // What follows is not readable: the transfer ends there.
        pack.step = Step::Piece {
            done: pack.done,
            len: data.len() as u64,
            more: false,
        };
    }
    let id = pack.input(data);
    pack.point_arg(at, id);
}

/// Advances address, length and offset by what is done, and cuts the length to one piece.
fn length(pack: &mut Pack) -> u64 {
    let total = pack.args[2].min(MAX_RW);
    if pack.args[2] as i64 >= 0 {
        pack.args[2] = total.saturating_sub(pack.done);
    } else {
        // Negative: the kernel refuses it, without looking at the data.
        pack.args[1] = BAD;
        return 0;
    }
    pack.args[1] = pack.args[1].wrapping_add(pack.done);
    if matches!(pack.nr, nr::PREAD64 | nr::PWRITE64) {
        pack.args[3] = pack.args[3].wrapping_add(pack.done);
    }
    let left = pack.args[2];
    let len = left.min(PIECE);
    pack.args[2] = len;
    set_step(pack, len, len < left);
    len
}

pub fn set_step(pack: &mut Pack, len: u64, more: bool) {
    if more || pack.done > 0 {
        pack.step = Step::Piece {
            done: pack.done,
            len,
            more,
        };
    }
}

/// A vector as the guest gave it, without what is done.
pub struct Segments {
    /// Address and length of each.
    pub list: Vec<(u64, u64)>,
    /// There is more than one piece can carry.
    pub more: bool,
}

/// Reads the vector of `count` segments at `addr`. `None`: the kernel will refuse it; the caller passes [`BAD`] for its address.
pub fn segments(pack: &Pack, addr: u64, count: u64) -> Option<Segments> {
    if count > IOV_MAX || (count > 0 && !plausible(addr)) {
        return None;
    }
    let raw = bytes(pack.mem, addr, (count * IOVEC) as usize).ok()?;
    let all: Vec<(u64, u64)> = raw
        .chunks_exact(16)
        .map(|iov| (word64(iov, 0), word64(iov, 8)))
        .collect();
    if all.iter().any(|&(_, len)| (len as i64) < 0) {
        // One negative length spoils all, before any data is looked at.
        return Some(Segments {
            list: all,
            more: false,
        });
    }
    let mut skip = pack.done;
    let mut room = PIECE.min(MAX_RW.saturating_sub(pack.done));
    let mut list = Vec::new();
    let mut more = false;
    for (base, len) in all {
        let cut = skip.min(len);
        skip -= cut;
        let left = len - cut;
        let take = left.min(room);
        room -= take;
        more |= take < left;
        // A segment that is wholly done, or beyond the piece, goes; empty ones stay, devices may count them.
        if (left > 0 || len == 0) && (take > 0 || left == 0) {
            list.push((base.wrapping_add(cut), take));
        }
    }
    Some(Segments { list, more })
}

fn spoiled(list: &[(u64, u64)]) -> bool {
    list.iter()
        .any(|&(base, len)| (len as i64) < 0 || (len > 0 && base >= super::super::memory::TASK_END))
}

/// The bytes of a `struct iovec` array with bases to be set.
fn iovecs(list: &[(u64, u64)]) -> Vec<u8> {
    list.iter()
        .flat_map(|&(base, len)| [base.to_le_bytes(), len.to_le_bytes()].concat())
        .collect()
}

/// Puts the data of segments into the request, and the vector that points to it; returns the vector and its bytes of data.
pub fn gather(pack: &mut Pack, list: &[(u64, u64)]) -> (Id, u64) {
    if spoiled(list) {
        let same: Vec<(u64, u64)> = list.iter().map(|&(_, len)| (BAD, len)).collect();
        return (pack.input(iovecs(&same)), 0);
    }
    let mut data = Vec::new();
    let mut sent: Vec<(u64, u64)> = Vec::new();
    for &(base, len) in list {
        let part = readable(pack.mem, base, len as usize);
        let whole = part.len() as u64 == len;
        sent.push((0, part.len() as u64));
        data.extend_from_slice(&part);
        if !whole {
            // The kernel stops here: with what it has, or a fault when that is nothing.
            if data.is_empty() {
                sent = vec![(BAD, len)];
            }
            break;
        }
    }
    let total = data.len() as u64;
    let vector = pack.input(iovecs(&sent));
    if total > 0 {
        let id = pack.input(data);
        point_all(pack, vector, id, &sent);
    }
    (vector, total)
}

/// Sets the bases of a vector to consecutive parts of piece `data`.
fn point_all(pack: &mut Pack, vector: Id, data: Id, list: &[(u64, u64)]) {
    let mut at = 0;
    for (index, &(_, len)) in list.iter().enumerate() {
        if len > 0 {
            pack.point_inside(vector, index * 16, data, at);
            at += len;
        }
    }
}

/// Room for segments in `data` (a piece of at least their bytes, filled as `count` says) and the vector that points to it.
pub fn scatter(pack: &mut Pack, list: &[(u64, u64)], data: Id, count: Scattered) -> Id {
    if spoiled(list) {
        let same: Vec<(u64, u64)> = list.iter().map(|&(_, len)| (BAD, len)).collect();
        return pack.input(iovecs(&same));
    }
    let vector = pack.input(iovecs(list));
    point_all(pack, vector, data, list);
    let mut at = 0;
    for &(base, len) in list.iter().filter(|&&(_, len)| len > 0) {
        match count {
            Scattered::ByResult => {
                pack.give_counted(
                    data,
                    at as usize,
                    base,
                    len,
                    (Count::Result(1), at),
                    When::Success,
                );
            }
            Scattered::ByWord(holder, offset, when) => {
                pack.give_by(data, base, len, at, (holder, offset, 4), when)
            }
        }
        at += len;
    }
    vector
}

/// How many bytes of scattered data are valid.
#[derive(Clone, Copy)]
pub enum Scattered {
    ByResult,
    /// A 32-bit word at an offset of a piece.
    ByWord(Id, usize, When),
}

/// Bytes in all segments.
pub fn total(list: &[(u64, u64)]) -> u64 {
    if spoiled(list) {
        0
    } else {
        list.iter().map(|&(_, len)| len).sum()
    }
}

/// Offset of preadv and its kin, when there is one.
fn advance_offset(pack: &mut Pack) {
    let plain = matches!(pack.nr, nr::PREADV | nr::PWRITEV);
    let flagged = matches!(pack.nr, nr::PREADV2 | nr::PWRITEV2) && pack.args[3] != u64::MAX;
    if plain || flagged {
        pack.args[3] = pack.args[3].wrapping_add(pack.done);
    }
}

/// readv, preadv, preadv2.
pub fn readv(mut pack: Pack) -> Plan {
    pack.fd(0);
    advance_offset(&mut pack);
    match segments(&pack, pack.args[1], pack.args[2]) {
        None => pack.args[1] = BAD,
        Some(Segments { list, more }) => {
            let bytes = total(&list);
            let data = pack.stream(bytes);
            let vector = scatter(&mut pack, &list, data, Scattered::ByResult);
            pack.point_arg(1, vector);
            pack.args[2] = list.len() as u64;
            set_step(&mut pack, bytes, more);
        }
    }
    pack.finish()
}

/// writev, pwritev, pwritev2.
pub fn writev(mut pack: Pack) -> Plan {
    pack.fd(0);
    advance_offset(&mut pack);
    vector_out(&mut pack);
    pack.finish()
}

/// The vector at argument 1 as input.
fn vector_out(pack: &mut Pack) {
    match segments(pack, pack.args[1], pack.args[2]) {
        None => pack.args[1] = BAD,
        Some(Segments { list, more }) => {
            let wanted = total(&list);
            let (vector, bytes) = gather(pack, &list);
            pack.point_arg(1, vector);
            pack.args[2] = pack.args[2].min(list.len() as u64);
            set_step(pack, bytes, more && bytes == wanted);
        }
    }
}

/// vmsplice would leave pages of the staging area in the pipe, so the data is written or read. First the descriptor is asked
/// whether it is a pipe at all; then it is written to, as far as there is room, or read when that end is not for writing.
pub fn vmsplice(mut pack: Pack) -> Plan {
    const FLAGS: u64 = 0xf;
    const F_GETPIPE_SZ: u64 = 1032;
    if pack.args[3] & 0xffff_ffff & !FLAGS != 0 {
        return Plan::Errno(errno::EINVAL as i32);
    }
    pack.fd(0);
    pack.nr = nr::FCNTL;
    pack.args = [pack.args[0], F_GETPIPE_SZ, 0, 0, 0, 0];
    pack.step = Step::AskPipe;
    pack.finish()
}

const NOW: u64 = 8;

/// As much as the pipe takes now, as vmsplice does when there is room.
pub fn vmsplice_write(args: [u64; 6], mem: &dyn GuestMemory, home: &Home, room: u64) -> Plan {
    let mut pack = Pack::new(nr::PWRITEV2, args, mem, home);
    vector_out(&mut pack);
    as_pipe_io(&mut pack, NOW);
    pack.step = Step::TryWrite { room };
    pack.finish()
}

/// Asks how many bytes are in the pipe.
pub fn vmsplice_level(args: [u64; 6], mem: &dyn GuestMemory, home: &Home, room: u64) -> Plan {
    const FIONREAD: u64 = 0x541b;
    let fd = args[0];
    let mut pack = Pack::new(nr::IOCTL, [fd, FIONREAD, 0, 0, 0, 0], mem, home);
    // The kernel stores four bytes of them.
    let level = pack.in_out(vec![0; 8]);
    pack.point_arg(2, level);
    pack.value_at = Some((level, 0));
    pack.step = Step::AskLevel { room };
    pack.finish()
}

/// Writes no more than `room` bytes, which go into the pipe as a whole when there is room.
pub fn vmsplice_wait(args: [u64; 6], mem: &dyn GuestMemory, home: &Home, mut room: u64) -> Plan {
    let mut pack = Pack::new(nr::PWRITEV2, args, mem, home);
    match segments(&pack, args[1], args[2]) {
        None => pack.args[1] = BAD,
        Some(Segments { mut list, .. }) => {
            for (_, len) in &mut list {
                *len = room.min(*len);
                room -= *len;
            }
            let (vector, _) = gather(&mut pack, &list);
            pack.point_arg(1, vector);
            pack.args[2] = list.len() as u64;
        }
    }
    as_pipe_io(&mut pack, 0);
    pack.finish()
}

/// The other direction of [`vmsplice`].
pub fn vmsplice_read(args: [u64; 6], mem: &dyn GuestMemory, home: &Home) -> Plan {
    let mut pack = Pack::new(nr::PREADV2, args, mem, home);
    as_pipe_io(&mut pack, if waits(&args) { 0 } else { NOW });
    readv(pack)
}

/// Does this vmsplice wait for the pipe?
pub fn waits(args: &[u64; 6]) -> bool {
    const SPLICE_F_NONBLOCK: u64 = 2;
    args[3] & SPLICE_F_NONBLOCK == 0
}

fn as_pipe_io(pack: &mut Pack, flags: u64) {
    pack.args[3] = u64::MAX;
    pack.args[4] = 0;
    pack.args[5] = flags;
}

/// process_vm_readv, process_vm_writev of another process.
pub fn process_vm(mut pack: Pack) -> Plan {
    let local = segments(&pack, pack.args[1], pack.args[2]);
    match local {
        None => pack.args[1] = BAD,
        Some(Segments { list, .. }) if pack.nr == nr::PROCESS_VM_READV => {
            let data = pack.stream(total(&list));
            let vector = scatter(&mut pack, &list, data, Scattered::ByResult);
            pack.point_arg(1, vector);
            pack.args[2] = list.len() as u64;
        }
        Some(Segments { list, .. }) => {
            let (vector, _) = gather(&mut pack, &list);
            pack.point_arg(1, vector);
            pack.args[2] = pack.args[2].min(list.len() as u64);
        }
    }
    if pack.args[4] <= IOV_MAX {
        let len = pack.args[4] * IOVEC;
        pack.arg_in(3, len);
    } else {
        pack.args[3] = BAD;
    }
    pack.finish()
}

/// sendfile, splice, copy_file_range: from descriptor to descriptor, with offsets that are read and advanced.
pub fn transfer(mut pack: Pack) -> Plan {
    const OFFSET: Arg = Arg::InOut(Size::Bytes(8));
    let (shape, len): (&[Arg], usize) = match pack.nr {
        nr::SENDFILE => (&[Arg::Fd, Arg::Fd, OFFSET], 3),
        _ => (&[Arg::Fd, OFFSET, Arg::Fd, OFFSET], 4),
    };
    pack_args(&mut pack, shape);
    pack.args[len] = pack.args[len].saturating_sub(pack.done);
    let left = pack.args[len];
    set_step(&mut pack, left, false);
    pack.finish()
}
