//! Sockets.

use crate::syscall::row::{Restart::*, Row, TimeOut, fwd, own};
use crate::syscall::shape::Arg::*;
use crate::syscall::shape::{Arg, Own};

const V: Arg = Val;

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    fwd(41, "socket", &[]),
    fwd(42, "connect", &[Fd, AddrIn(2)]).waits(Begins),
    fwd(43, "accept", &[Fd, AddrOut(2)]).waits(Begins),
    own(44, "sendto", Own::SendTo).waits(Begins),
    own(45, "recvfrom", Own::RecvFrom).waits(Begins),
    own(46, "sendmsg", Own::SendMsg).waits(Begins).note("descriptors pass as at home"),
    own(47, "recvmsg", Own::RecvMsg).waits(Begins).note("descriptors pass as at home"),
    fwd(48, "shutdown", &[Fd]),
    fwd(49, "bind", &[Fd, AddrIn(2)]),
    fwd(50, "listen", &[Fd]),
    fwd(51, "getsockname", &[Fd, AddrOut(2)]),
    fwd(52, "getpeername", &[Fd, AddrOut(2)]),
    own(53, "socketpair", Own::Pipe),
    own(54, "setsockopt", Own::SetSockOpt),
    own(55, "getsockopt", Own::GetSockOpt),
    fwd(288, "accept4", &[Fd, AddrOut(2), V]).waits(Begins),
    own(299, "recvmmsg", Own::RecvMMsg).waits(Begins).time_out(TimeOut::Timespec(4)),
    own(307, "sendmmsg", Own::SendMMsg).waits(Begins),
];
