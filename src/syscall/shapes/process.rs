//! Waiting, capabilities, scheduling, security modules, system administration.

use crate::syscall::memory::{BAD, PAGE, word32};
use crate::syscall::pack::{PIECE, Pack, plausible};
use crate::syscall::unpack::When;
use crate::syscall::{Plan, nr};

/// waitid: the kernel writes signal, error, code; pid, uid, status; and leaves the rest of the siginfo alone.
pub fn waitid(mut pack: Pack) -> Plan {
    const SIGINFO: u64 = 128;
    const RUSAGE: u64 = 144;
    let to = pack.args[2];
    if plausible(to) {
        let id = pack.output(SIGINFO);
        pack.point_arg(2, id);
        pack.give(id, 0, to, 12, When::Success);
        pack.give(id, 16, to + 16, 12, When::Success);
    }
    // Written only when there was a child, which the result does not tell.
    pack.arg_in_out(4, RUSAGE, When::Success);
    // P_PIDFD waits for a descriptor.
    if pack.args[0] as u32 == 3 {
        pack.fd(1);
    }
    pack.finish()
}

/// capget, capset: the header says how long the data is, and gets the version that the kernel prefers.
pub fn caps(mut pack: Pack) -> Plan {
    const VERSION_1: u32 = 0x1998_0330;
    const ONE: u64 = 12;
    let Some(header) = pack.arg_in_out(0, 8, When::Always) else {
        return pack.finish();
    };
    let version = pack.word(header, 0);
    let len = if version == VERSION_1 { ONE } else { 2 * ONE };
    if pack.nr == nr::CAPSET {
        pack.arg_in(1, len);
    } else {
        pack.arg_out(1, len, When::Success);
    }
    pack.finish()
}

/// sched_setattr: its structure begins with its size, which comes back when it is too large.
pub fn sched_setattr(mut pack: Pack) -> Plan {
    const FIRST: u64 = 48;
    let to = pack.args[1];
    if let Some(head) = pack.arg_bytes(1, 4) {
        let size = u64::from(word32(&head, 0));
        let len = if (FIRST..=PAGE).contains(&size) {
            size
        } else {
            FIRST
        };
        if let Some(raw) = pack.arg_bytes(1, len) {
            let id = pack.in_out(raw);
            pack.point_arg(1, id);
            pack.give(id, 0, to, 4, When::Always);
        }
    }
    pack.finish()
}

/// syslog: three of its actions read.
pub fn syslog(mut pack: Pack) -> Plan {
    if matches!(pack.args[0] as u32, 2..=4) {
        let len = (pack.args[2] as i32).max(0) as u64;
        pack.arg_stream(1, len.min(PIECE));
    }
    pack.finish()
}

/// reboot: one of its commands has a string.
pub fn reboot(mut pack: Pack) -> Plan {
    const RESTART2: u32 = 0xa1b2_c3d4;
    if pack.args[2] as u32 == RESTART2 {
        pack.arg_str(3, 256);
    }
    pack.finish()
}

/// seccomp: questions are answered at home, filters are set there.
pub fn seccomp(mut pack: Pack) -> Plan {
    match pack.args[0] as u32 {
        // GET_ACTION_AVAIL, GET_NOTIF_SIZES.
        2 => drop(pack.arg_in(2, 4)),
        3 => drop(pack.arg_out(2, 6, When::Success)),
        _ => return Plan::GoHome("seccomp"),
    }
    pack.finish()
}

/// landlock_add_rule: by type, what is beneath a path or a port.
pub fn landlock_rule(mut pack: Pack) -> Plan {
    pack.fd(0);
    let len = if pack.args[1] as u32 == 1 { 12 } else { 16 };
    pack.arg_in(2, len);
    pack.finish()
}

/// lsm_get_self_attr, lsm_list_modules: the room stands in a word of its own, which gets the room needed also on failure.
pub fn lsm_attr(mut pack: Pack) -> Plan {
    const MOST: u32 = 1 << 16;
    let (buffer, size) = if pack.nr == nr::LSM_GET_SELF_ATTR {
        (1, 2)
    } else {
        (0, 1)
    };
    let to = pack.args[size];
    let Some(room) = pack.arg_bytes(size, 4) else {
        pack.args[buffer] = BAD;
        return pack.finish();
    };
    let len = word32(&room, 0).min(MOST);
    let id = pack.in_out(len.to_le_bytes().to_vec());
    pack.point_arg(size, id);
    pack.give(id, 0, to, 4, When::Always);
    pack.arg_in_out(buffer, u64::from(len), When::Success);
    pack.finish()
}
