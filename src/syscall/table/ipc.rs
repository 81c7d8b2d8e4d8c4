//! System V and POSIX inter-process communication, and kernel AIO.

use crate::syscall::row::{HostCall, Restart::*, Row, TimeOut, fwd, home, host, own};
use crate::syscall::shape::Arg::*;
use crate::syscall::shape::{Arg, Own, Size::*};

const V: Arg = Val;
const TIMESPEC: Arg = In(Bytes(16));
const AIO: &str = "kernel AIO";

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    fwd(29, "shmget", &[]),
    home(30, "shmat", "System V shared memory"),
    own(31, "shmctl", Own::ShmCtl),
    fwd(64, "semget", &[]),
    fwd(65, "semop", &[V, In(Times(2, 6))]).waits(Never),
    own(66, "semctl", Own::SemCtl),
    host(67, "shmdt", HostCall::ShmDetach).note("whoever has a segment attached is at home: EINVAL"),
    fwd(68, "msgget", &[]),
    own(69, "msgsnd", Own::MsgSnd).waits(NoHandler),
    own(70, "msgrcv", Own::MsgRcv).waits(NoHandler),
    own(71, "msgctl", Own::MsgCtl),
    home(206, "io_setup", AIO),
    home(207, "io_destroy", AIO),
    home(208, "io_getevents", AIO).waits(Never),
    home(209, "io_submit", AIO),
    home(210, "io_cancel", AIO),
    fwd(220, "semtimedop", &[V, In(Times(2, 6)), V, TIMESPEC]).waits(Never).time_out(TimeOut::Timespec(3)),
    fwd(240, "mq_open", &[Path, V, V, In(Bytes(64))]),
    fwd(241, "mq_unlink", &[Path]),
    fwd(242, "mq_timedsend", &[Fd, In(Arg(2)), V, V, TIMESPEC]).waits(Begins),
    fwd(243, "mq_timedreceive", &[Fd, Stream(Arg(2)), V, Out(Bytes(4)), TIMESPEC]).waits(Begins),
    own(244, "mq_notify", Own::MqNotify),
    fwd(245, "mq_getsetattr", &[Fd, In(Bytes(64)), Out(Bytes(64))]),
    home(333, "io_pgetevents", AIO).waits(Never),
];
