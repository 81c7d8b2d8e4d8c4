//! Signals.

use crate::syscall::row::{HostCall, Restart::*, Row, TimeOut, fwd, host, local};
use crate::syscall::shape::Arg::*;
use crate::syscall::shape::{Arg, Size::*};

const V: Arg = Val;
const SET: Arg = In(Bytes(8));
const SIGINFO: Arg = In(Bytes(128));

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    host(13, "rt_sigaction", HostCall::SigAction).args(&[V, In(Bytes(32)), Out(Bytes(32))]).note("set in both halves"),
    host(14, "rt_sigprocmask", HostCall::SigProcMask).args(&[V, SET, Out(Bytes(8))]).note("set in both halves"),
    local(15, "rt_sigreturn"),
    fwd(34, "pause", &[]).waits(NoHandler),
    fwd(62, "kill", &[]),
    host(127, "rt_sigpending", HostCall::SigPending).args(&[Out(Bytes(8))]),
    fwd(128, "rt_sigtimedwait", &[SET, Got(Bytes(128)), In(Bytes(16))]).waits(Never).time_out(TimeOut::Timespec(2)),
    fwd(129, "rt_sigqueueinfo", &[V, V, SIGINFO]),
    host(130, "rt_sigsuspend", HostCall::SigSuspend).args(&[SET]).waits(NoHandler),
    local(131, "sigaltstack"),
    fwd(200, "tkill", &[]),
    local(219, "restart_syscall").waits(Continues).note("only the guest's kernel makes it, for a futex"),
    fwd(234, "tgkill", &[]),
    fwd(282, "signalfd", &[Fd, In(Arg(2))]),
    fwd(289, "signalfd4", &[Fd, In(Arg(2))]),
    fwd(297, "rt_tgsigqueueinfo", &[V, V, V, SIGINFO]),
    fwd(424, "pidfd_send_signal", &[Fd, V, SIGINFO]),
];
