//! fcntl, pipes, handles, attributes by structure.

use crate::syscall::memory::{BAD, PAGE, bytes, word64};
use crate::syscall::pack::{Pack, plausible};
use crate::syscall::shape::{Arg, pack_args};
use crate::syscall::unpack::When;
use crate::syscall::{Plan, nr};

/// fcntl, by command.
pub fn fcntl(mut pack: Pack) -> Plan {
    /// struct flock, f_owner_ex (and pairs of uids, and write hints).
    const FLOCK: u64 = 32;
    const EIGHT: u64 = 8;
    pack.fd(0);
    match pack.args[1] as u32 {
        // F_GETLK, F_OFD_GETLK.
        5 | 36 => drop(pack.arg_in_out(2, FLOCK, When::Success)),
        // F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW.
        6 | 7 | 37 | 38 => drop(pack.arg_in(2, FLOCK)),
        // F_SETOWN_EX, F_SET_RW_HINT, F_SET_FILE_RW_HINT.
        15 | 1036 | 1038 => drop(pack.arg_in(2, EIGHT)),
        // F_GETOWN_EX, F_GETOWNER_UIDS, F_GET_RW_HINT, F_GET_FILE_RW_HINT.
        16 | 17 | 1035 | 1037 => drop(pack.arg_out(2, EIGHT, When::Success)),
        // F_DUPFD_QUERY compares with another descriptor.
        1027 => pack.fd(2),
        _ => (),
    }
    pack.finish()
}

/// pipe, pipe2, socketpair: two new descriptors. They would be lost if they could not be told, so the place is tried before.
pub fn pipe(mut pack: Pack) -> Plan {
    const PAIR: u64 = 8;
    let arg = if pack.nr == nr::SOCKETPAIR { 3 } else { 0 };
    pack.arg_in_out(arg, PAIR, When::Success);
    pack.finish()
}

/// name_to_handle_at: the handle begins with the room it has, and gets the room it needs also on failure.
pub fn handle(mut pack: Pack) -> Plan {
    const UNIQUE_MOUNT_ID: u64 = 1;
    let mount_id = if pack.args[4] & UNIQUE_MOUNT_ID != 0 {
        8
    } else {
        4
    };
    let handle = handle_len(&mut pack, 2);
    pack_args(&mut pack, &[Arg::Fd, Arg::Path]);
    if let Some(len) = handle {
        pack.arg_in_out(2, len, When::Always);
    }
    // Told also when the handle had no room.
    pack.arg_in_out(3, mount_id, When::Always);
    pack.finish()
}

/// open_by_handle_at.
pub fn open_handle(mut pack: Pack) -> Plan {
    pack.fd(0);
    if let Some(len) = handle_len(&mut pack, 1) {
        pack.arg_in(1, len);
    }
    pack.finish()
}

/// Bytes of the file handle at an argument.
fn handle_len(pack: &mut Pack, arg: usize) -> Option<u64> {
    const HEAD: u64 = 8;
    const HANDLE_MAX: u32 = 128;
    let head = pack.arg_bytes(arg, HEAD)?;
    let room = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    // More than the kernel takes: it looks at the head only.
    Some(HEAD + u64::from(if room <= HANDLE_MAX { room } else { 0 }))
}

/// setxattrat, getxattrat: value and size stand in a structure.
pub fn xattr_at(mut pack: Pack) -> Plan {
    const VALUE_MAX: u64 = 1 << 16;
    let sets = pack.nr == nr::SETXATTRAT;
    pack_args(&mut pack, &[Arg::Fd, Arg::Path, Arg::Val, Arg::Str(256)]);
    let len = pack.args[5];
    if !(16..=PAGE).contains(&len) {
        return pack.finish();
    }
    let Some(raw) = pack.arg_bytes(4, len) else {
        return pack.finish();
    };
    let value = word64(&raw, 0);
    let size = u64::from(u32::from_le_bytes([raw[8], raw[9], raw[10], raw[11]]));
    let holder = pack.input(raw);
    pack.point_arg(4, holder);
    if plausible(value) {
        if !sets {
            let id = pack.stream(size.min(VALUE_MAX));
            pack.point_inside(holder, 0, id, 0);
            let all = (crate::syscall::unpack::Count::Result(1), 0);
            pack.give_counted(id, 0, value, size.min(VALUE_MAX), all, When::Success);
        } else if let Some(data) = (size <= VALUE_MAX)
            .then(|| bytes(pack.mem, value, size as usize).ok())
            .flatten()
        {
            let id = pack.input(data);
            pack.point_inside(holder, 0, id, 0);
        } else {
            pack.set_word(holder, 0, BAD);
        }
    }
    pack.finish()
}
