//! Clocks, sleeps, timers.

use crate::syscall::row::{HostCall, Restart::*, Row, Test, fwd, host, local};
use crate::syscall::shape::Arg::*;
use crate::syscall::shape::{Arg, Size::*};

const V: Arg = Val;
const TIMESPEC: Arg = Out(Bytes(16));
/// itimerval or itimerspec.
const SET: Arg = In(Bytes(32));
const OLD: Arg = Out(Bytes(32));

const fn clock(value: u32) -> [Test; 1] {
    [Test {
        arg: 0,
        mask: u32::MAX,
        value,
    }]
}

/// Clocks that are the same everywhere: wall clock, monotonic (raw, coarse), boot time, TAI.
const CLOCKS: &[&[Test]] = &[
    &clock(0),
    &clock(1),
    &clock(4),
    &clock(5),
    &clock(6),
    &clock(7),
    &clock(11),
];

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    host(35, "nanosleep", HostCall::NanoSleep).args(&[In(Bytes(16)), Both(Bytes(16))]).waits(Continues),
    fwd(36, "getitimer", &[V, OLD]),
    fwd(37, "alarm", &[]),
    fwd(38, "setitimer", &[V, SET, OLD]).note("timers of CPU time go home"),
    local(96, "gettimeofday"),
    fwd(159, "adjtimex", &[InOut(Bytes(208))]),
    fwd(164, "settimeofday", &[In(Bytes(16)), In(Bytes(8))]),
    local(201, "time"),
    fwd(222, "timer_create", &[V, In(Bytes(64)), Out(Bytes(4))]).note("timers of CPU time go home"),
    fwd(223, "timer_settime", &[V, V, SET, OLD]),
    fwd(224, "timer_gettime", &[V, OLD]),
    fwd(225, "timer_getoverrun", &[]),
    fwd(226, "timer_delete", &[]),
    fwd(227, "clock_settime", &[V, In(Bytes(16))]),
    fwd(228, "clock_gettime", &[V, TIMESPEC]).local_if(CLOCKS).note("CPU clocks count time used anywhere"),
    fwd(229, "clock_getres", &[V, TIMESPEC]).local_if(CLOCKS),
    host(230, "clock_nanosleep", HostCall::ClockNanoSleep).args(&[V, V, In(Bytes(16)), Both(Bytes(16))]).waits(Continues),
    fwd(283, "timerfd_create", &[]),
    fwd(286, "timerfd_settime", &[Fd, V, SET, OLD]),
    fwd(287, "timerfd_gettime", &[Fd, OLD]),
    fwd(305, "clock_adjtime", &[V, InOut(Bytes(208))]),
];
