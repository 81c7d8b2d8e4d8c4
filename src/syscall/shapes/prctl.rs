//! prctl, by option.

use crate::syscall::Plan;
use crate::syscall::memory::{BAD, readable};
use crate::syscall::pack::{Pack, plausible};
use crate::syscall::row::{Class, HostCall};
use crate::syscall::shape::Arg::{Out, Stream, Val};
use crate::syscall::shape::Size::{Arg as Len, Bytes};
use crate::syscall::shape::{Arg, pack_args};

const SET_NAME: u32 = 15;
const GET_TID_ADDRESS: u32 = 40;
const SET_VMA: u32 = 0x5356_4d41;
const FUTEX_HASH: u32 = 78;
const GET_AUXV: u32 = 0x4155_5856;
const SET_PTRACER: u32 = 0x5961_6d61;

/// Options that are not simply forwarded.
pub fn class(args: &[u64; 6]) -> Option<Class> {
    Some(match args[0] as u32 {
        22 => Class::GoHome("seccomp"),
        26 => Class::GoHome("trap on reading the time stamp counter"),
        35 => Class::GoHome("change of the memory layout's description"),
        59 => Class::GoHome("system call dispatch to user space"),
        65 => Class::GoHome("memory that denies write and execute"),
        74..=76 => Class::GoHome("shadow stack"),
        GET_TID_ADDRESS => Class::Host(HostCall::Prctl),
        SET_VMA | FUTEX_HASH => Class::Host(HostCall::Native),
        option if !known(option) => Class::Refuse(crate::syscall::errno::EINVAL),
        _ => return None,
    })
}

/// Options of today; an unknown one might have a pointer, of which the deputy must not be given.
fn known(option: u32) -> bool {
    matches!(option, 1..=72 | SET_PTRACER | GET_AUXV | 77)
}

/// A name is cut rather than refused.
fn name(pack: &mut Pack) {
    const ROOM: usize = 16;
    if plausible(pack.args[1]) {
        let mut name = readable(pack.mem, pack.args[1], ROOM);
        if name.len() < ROOM && !name.contains(&0) {
            pack.args[1] = BAD;
            return;
        }
        name.resize(ROOM, 0);
        let id = pack.input(name);
        pack.point_arg(1, id);
    }
}

pub fn prctl(mut pack: Pack) -> Plan {
    const INT: Arg = Out(Bytes(4));
    const V: Arg = Val;
    let shape: &[Arg] = match pack.args[0] as u32 {
        // GET_PDEATHSIG, GET_UNALIGN, GET_FPEMU, GET_FPEXC, GET_ENDIAN, GET_TSC, GET_CHILD_SUBREAPER.
        2 | 5 | 9 | 11 | 19 | 25 | 37 => &[V, INT],
        SET_NAME => {
            name(&mut pack);
            &[]
        }
        16 => &[V, Out(Bytes(16))],
        GET_TID_ADDRESS => &[V, Out(Bytes(8))],
        // SCHED_CORE: the cookie.
        62 => &[V, V, V, V, Out(Bytes(8))],
        GET_AUXV => &[V, Stream(Len(2))],
        _ => &[],
    };
    pack_args(&mut pack, shape);
    pack.finish()
}
