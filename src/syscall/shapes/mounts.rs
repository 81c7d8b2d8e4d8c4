//! Mounts, quotas, file system types.

use crate::syscall::memory::{BAD, PAGE, readable};
use crate::syscall::pack::{Pack, plausible};
use crate::syscall::shape::{Arg, Size, pack_args};
use crate::syscall::unpack::When;
use crate::syscall::{Plan, nr};

/// mount: its data is a page, as far as it is readable.
pub fn mount(mut pack: Pack) -> Plan {
    pack_args(&mut pack, &[Arg::Path, Arg::Path, Arg::Path]);
    if plausible(pack.args[4]) {
        let mut data = readable(pack.mem, pack.args[4], PAGE as usize);
        if data.is_empty() {
            pack.args[4] = BAD;
        } else {
            data.resize(PAGE as usize, 0);
            let id = pack.input(data);
            pack.point_arg(4, id);
        }
    }
    pack.finish()
}

/// fsconfig, by command.
pub fn fsconfig(mut pack: Pack) -> Plan {
    const V: Arg = Arg::Val;
    let shape: &[Arg] = match pack.args[1] as u32 {
        // A string; a blob whose length is the last argument; a path; another path.
        1 => &[Arg::Fd, V, Arg::Path, Arg::Path],
        2 => &[Arg::Fd, V, Arg::Path, Arg::In(Size::Int(4))],
        3 | 4 => &[Arg::Fd, V, Arg::Path, Arg::Path, Arg::Fd],
        5 => &[Arg::Fd, V, Arg::Path, V, Arg::Fd],
        _ => &[Arg::Fd, V, Arg::Path],
    };
    pack_args(&mut pack, shape);
    pack.finish()
}

/// quotactl, quotactl_fd, by command (its upper bits).
pub fn quotactl(mut pack: Pack) -> Plan {
    const GENERIC: u32 = 0x80_0000;
    let (cmd, first) = if pack.nr == nr::QUOTACTL {
        (pack.args[0], Arg::Path)
    } else {
        (pack.args[1], Arg::Val)
    };
    let data = match (cmd as u32 >> 8).wrapping_sub(GENERIC) {
        // SYNC, QUOTAOFF; QUOTAON has a path.
        1 | 3 => Arg::Val,
        2 => Arg::Path,
        // GETFMT, GETINFO, SETINFO, GETQUOTA, SETQUOTA, GETNEXTQUOTA.
        4 => Arg::Out(Size::Bytes(4)),
        5 => Arg::Out(Size::Bytes(24)),
        6 => Arg::In(Size::Bytes(24)),
        7 => Arg::Out(Size::Bytes(72)),
        8 => Arg::In(Size::Bytes(72)),
        9 => Arg::Out(Size::Bytes(72)),
        _ => return Plan::GoHome("quotas of XFS"),
    };
    if pack.nr == nr::QUOTACTL {
        pack_args(&mut pack, &[Arg::Val, first, Arg::Val, data]);
    } else {
        pack_args(&mut pack, &[Arg::Fd, Arg::Val, Arg::Val, data]);
    }
    pack.finish()
}

/// sysfs: names and numbers of file system types.
pub fn sysfs(mut pack: Pack) -> Plan {
    const NAME: usize = 64;
    match pack.args[0] as u32 {
        1 => drop(pack.arg_str(1, PAGE as usize)),
        2 if plausible(pack.args[2]) => {
            // The name's length is not told: what the kernel leaves alone comes back as it was.
            let to = pack.args[2];
            let room = readable(pack.mem, to, NAME);
            let len = room.len() as u64;
            let id = pack.in_out(room);
            pack.point_arg(2, id);
            pack.give(id, 0, to, len, When::Success);
        }
        _ => (),
    }
    pack.finish()
}

/// statmount: how much of the buffer is filled stands in its first word.
pub fn statmount(mut pack: Pack) -> Plan {
    const MOST: u64 = 1 << 20;
    pack_args(&mut pack, &[Arg::In(Size::Head)]);
    let to = pack.args[1];
    if plausible(to) {
        pack.args[2] = pack.args[2].min(MOST);
        let len = pack.args[2];
        let id = pack.output(len);
        pack.point_arg(1, id);
        if len >= 4 {
            pack.give_by(id, to, len, 0, (id, 0, 4), When::Success);
        }
    }
    pack.finish()
}
