//! Shapes: what each argument of a call means.

use super::memory::{BAD, PAGE};
use super::pack::{PIECE, Pack};
use super::unpack::{Count, When};

/// How many bytes a pointer points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Bytes(u32),
    /// As many as this argument says, a `size_t`.
    Arg(u8),
    /// As many as this argument says, an `int` (its upper half counts for nothing; negative is none).
    Int(u8),
    /// This argument (an `int`) times so many.
    Times(u8, u32),
    /// What its own first 32-bit word says.
    Head,
}

/// What one argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A plain value.
    Val,
    /// A file descriptor.
    Fd,
    /// A path: a string of at most 4096 bytes.
    Path,
    /// A string of at most so many bytes.
    Str(u16),
    /// The call reads it.
    In(Size),
    /// The call fills it.
    Out(Size),
    /// The call fills it if its result is above zero.
    Got(Size),
    /// The call reads and changes it, or fills only parts of it.
    InOut(Size),
    /// As `InOut`, also when the call fails.
    Both(Size),
    /// The call fills as many bytes as its result says, at most `Size`; a longer length is cut to what one request carries.
    Stream(Size),
    /// The call fills as many elements as its result says, at most this argument (an `int`), which is cut to the last number.
    Units(u8, u32, u32),
    /// A socket address that the call reads; the argument has its length.
    AddrIn(u8),
    /// A socket address that the call fills; the argument points to its length.
    AddrOut(u8),
}

/// How a call's arguments travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Each argument by itself; those not named are plain values.
    Args(&'static [Arg]),
    /// By code of its own.
    Own(Own),
    /// Cannot be forwarded.
    None,
}

/// Calls whose arguments depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    Read,
    Write,
    ReadV,
    WriteV,
    SendTo,
    RecvFrom,
    SendMsg,
    RecvMsg,
    SendMMsg,
    RecvMMsg,
    SetSockOpt,
    GetSockOpt,
    Transfer,
    VmSplice,
    ProcessVm,
    Select,
    PSelect,
    Poll,
    EpollCtl,
    Getdents,
    Ioctl,
    Fcntl,
    Prctl,
    WaitId,
    SemCtl,
    MsgCtl,
    ShmCtl,
    MsgSnd,
    MsgRcv,
    MqNotify,
    Keyctl,
    Caps,
    SchedSetAttr,
    XattrAt,
    Handle,
    OpenHandle,
    FsConfig,
    Quotactl,
    Mount,
    Sysfs,
    Syslog,
    Reboot,
    LandlockRule,
    Seccomp,
    LsmAttr,
    StatMount,
    Pipe,
}

/// Packs arguments that stand for themselves.
pub(super) fn pack_args(pack: &mut Pack, args: &[Arg]) {
    for (at, arg) in args.iter().enumerate() {
        match *arg {
            Arg::Val => (),
            Arg::Fd => pack.fd(at),
            Arg::Path => drop(pack.arg_str(at, PAGE as usize)),
            Arg::Str(max) => drop(pack.arg_str(at, max as usize)),
            Arg::In(size)
            | Arg::Out(size)
            | Arg::Got(size)
            | Arg::InOut(size)
            | Arg::Both(size) => {
                if let Some(len) = size_of(pack, size, at) {
                    fixed(pack, at, *arg, len);
                }
            }
            Arg::Stream(size) => stream(pack, at, size),
            Arg::Units(count, unit, most) => units(pack, at, count as usize, (unit, most)),
            Arg::AddrIn(len) => addr_in(pack, at, len as usize),
            Arg::AddrOut(len) => addr_out(pack, at, len as usize),
        }
    }
}

/// An argument that points to `len` bytes.
fn fixed(pack: &mut Pack, at: usize, arg: Arg, len: u64) {
    match arg {
        Arg::In(_) => drop(pack.arg_in(at, len)),
        Arg::Out(_) => out(pack, at, len, When::Success),
        Arg::Got(_) => out(pack, at, len, When::Above(0)),
        Arg::Both(_) => drop(pack.arg_in_out(at, len, When::Always)),
        _ => drop(pack.arg_in_out(at, len, When::Success)),
    }
}

fn out(pack: &mut Pack, at: usize, len: u64, when: When) {
    if len <= PIECE {
        pack.arg_out(at, len, when);
    } else {
        pack.args[at] = BAD;
    }
}

fn int(pack: &Pack, arg: u8) -> u64 {
    (pack.args[arg as usize] as i32).max(0) as u64
}

/// Bytes at argument `at`; `None` when its own head is not readable.
fn size_of(pack: &mut Pack, size: Size, at: usize) -> Option<u64> {
    match size {
        Size::Bytes(len) => Some(u64::from(len)),
        Size::Arg(arg) => Some(pack.args[arg as usize]),
        Size::Int(arg) => Some(int(pack, arg)),
        Size::Times(arg, unit) => Some(int(pack, arg) * u64::from(unit)),
        Size::Head => {
            let head = pack.arg_bytes(at, 4)?;
            Some(u64::from(u32::from_le_bytes(head.try_into().ok()?)).clamp(4, PAGE))
        }
    }
}

fn stream(pack: &mut Pack, at: usize, size: Size) {
    let len = size_of(pack, size, at).unwrap_or(0);
    if len > PIECE
        && let Size::Arg(arg) | Size::Int(arg) = size
    {
        pack.args[arg as usize] = PIECE;
    }
    pack.arg_stream(at, len.min(PIECE));
}

fn units(pack: &mut Pack, at: usize, count: usize, (unit, most): (u32, u32)) {
    let number = int(pack, count as u8).min(u64::from(most));
    if pack.args[count] as i32 > 0 {
        pack.args[count] = number;
    }
    if !super::pack::plausible(pack.args[at]) {
        return;
    }
    let len = number * u64::from(unit);
    let to = pack.args[at];
    let id = pack.stream_of(len, unit);
    pack.point_arg(at, id);
    pack.give_counted(
        id,
        0,
        to,
        len,
        (Count::Result(u64::from(unit)), 0),
        When::Success,
    );
}

/// Longest socket address.
pub(super) const ADDR_MAX: u64 = 128;

pub(super) fn addr_in(pack: &mut Pack, at: usize, len: usize) {
    let bytes = int(pack, len as u8).min(ADDR_MAX);
    pack.arg_in(at, bytes);
}

pub(super) fn addr_out(pack: &mut Pack, at: usize, len: usize) {
    let (addr, len_addr) = (pack.args[at], pack.args[len]);
    if !super::pack::plausible(addr) {
        // Without an address the kernel does not look at the length.
        if addr == 0 {
            pack.args[len] = 0;
        } else {
            pack.arg_in(len, 4);
        }
        return;
    }
    let Some(room) = pack.arg_bytes(len, 4) else {
        pack.args[at] = BAD;
        return;
    };
    let most = (u32::from_le_bytes([room[0], room[1], room[2], room[3]]) as i32)
        .clamp(0, ADDR_MAX as i32) as u64;
    let counter = pack.in_out(room);
    pack.point_arg(len, counter);
    pack.give(counter, 0, len_addr, 4, When::Success);
    let id = pack.output(most);
    pack.point_arg(at, id);
    pack.give_by(id, addr, most, 0, (counter, 0, 4), When::Success);
}
