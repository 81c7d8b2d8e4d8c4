//! Processes: making, ending, waiting, identity, limits, scheduling.

use crate::syscall::row::{
    HostCall, Local, Restart::*, Row, Test, TimeOut, fwd, gone, home, host, local, own,
};
use crate::syscall::shape::Arg::*;
use crate::syscall::shape::{Arg, Own, Size::*};

const V: Arg = Val;
const INT: Arg = Out(Bytes(4));
const RUSAGE: Arg = Out(Bytes(144));
const TIMESPEC: Arg = Out(Bytes(16));

const fn code(value: u32) -> [Test; 1] {
    [Test {
        arg: 0,
        mask: u32::MAX,
        value,
    }]
}

/// All but a wait with a relative time-out (whose pointer's lower half is not zero): its operation, without flags, is 0.
const FUTEX: &[&[Test]] = &[
    &[
        Test {
            arg: 1,
            mask: 0x7f,
            value: 0,
        },
        Test {
            arg: 3,
            mask: u32::MAX,
            value: 0,
        },
    ],
    &[operation(0x01)],
    &[operation(0x02)],
    &[operation(0x04)],
    &[operation(0x08)],
    &[operation(0x10)],
    &[operation(0x20)],
    &[operation(0x40)],
];

/// One with this bit.
const fn operation(bit: u32) -> Test {
    Test {
        arg: 1,
        mask: bit,
        value: bit,
    }
}

/// arch_prctl: segment bases; permission for AMX; state of the shadow stack.
const ARCH: &[&[Test]] = &[
    &code(0x1001),
    &code(0x1002),
    &code(0x1003),
    &code(0x1004),
    &code(0x1021),
    &code(0x1022),
    &code(0x1023),
    &code(0x1024),
    &code(0x1025),
    &code(0x3001),
    &code(0x5005),
];

/// prctl: names of anonymous areas; the size of the table of private futexes.
const PRCTL: &[&[Test]] = &[&code(0x5356_4d41), &code(78)];

const OWN: &[&[Test]] = &[&code(0)];

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    local(24, "sched_yield"),
    host(39, "getpid", HostCall::Pid),
    host(56, "clone", HostCall::Fork).note("threads and unusual sharing go home"),
    host(57, "fork", HostCall::Fork),
    host(58, "vfork", HostCall::Fork),
    host(59, "execve", HostCall::Exec).note("the new program starts at home"),
    host(60, "exit", HostCall::Exit).args(&[]),
    fwd(61, "wait4", &[V, Got(Bytes(4)), V, Got(Bytes(144))]).waits(Begins),
    fwd(63, "uname", &[Out(Bytes(390))]).note("home's"),
    fwd(95, "umask", &[]),
    fwd(97, "getrlimit", &[V, TIMESPEC]),
    host(98, "getrusage", HostCall::Usage).args(&[V, RUSAGE]).note("adds time used elsewhere"),
    fwd(99, "sysinfo", &[Out(Bytes(112))]).note("home's"),
    host(100, "times", HostCall::Times).args(&[Out(Bytes(32))]).note("adds time used elsewhere"),
    home(101, "ptrace", "ptrace"),
    fwd(102, "getuid", &[]),
    fwd(104, "getgid", &[]),
    fwd(105, "setuid", &[]),
    fwd(106, "setgid", &[]),
    fwd(107, "geteuid", &[]),
    fwd(108, "getegid", &[]),
    fwd(109, "setpgid", &[]),
    fwd(110, "getppid", &[]),
    fwd(111, "getpgrp", &[]),
    fwd(112, "setsid", &[]),
    fwd(113, "setreuid", &[]),
    fwd(114, "setregid", &[]),
    fwd(115, "getgroups", &[V, Units(0, 4, 0x1_0000)]),
    fwd(116, "setgroups", &[V, In(Times(0, 4))]),
    fwd(117, "setresuid", &[]),
    fwd(118, "getresuid", &[INT, INT, INT]),
    fwd(119, "setresgid", &[]),
    fwd(120, "getresgid", &[INT, INT, INT]),
    fwd(121, "getpgid", &[]),
    fwd(122, "setfsuid", &[]),
    fwd(123, "setfsgid", &[]),
    fwd(124, "getsid", &[]),
    own(125, "capget", Own::Caps),
    own(126, "capset", Own::Caps),
    fwd(135, "personality", &[]),
    fwd(140, "getpriority", &[]),
    fwd(141, "setpriority", &[]),
    fwd(142, "sched_setparam", &[V, In(Bytes(4))]),
    fwd(143, "sched_getparam", &[V, INT]),
    fwd(144, "sched_setscheduler", &[V, V, In(Bytes(4))]),
    fwd(145, "sched_getscheduler", &[]),
    fwd(146, "sched_get_priority_max", &[]),
    fwd(147, "sched_get_priority_min", &[]),
    fwd(148, "sched_rr_get_interval", &[V, TIMESPEC]),
    home(154, "modify_ldt", "local descriptor table"),
    own(157, "prctl", Own::Prctl).local_if(PRCTL).note("by option"),
    home(158, "arch_prctl", "shadow stack or CPUID faulting").local_if(ARCH),
    host(160, "setrlimit", HostCall::Limit).args(&[V, In(Bytes(16))]).note("memory and CPU limits count in the guest too"),
    fwd(161, "chroot", &[Path]),
    home(172, "iopl", "I/O ports"),
    home(173, "ioperm", "I/O ports"),
    host(186, "gettid", HostCall::Tid),
    host(202, "futex", HostCall::FutexWait).local_if(FUTEX).waits(NoHandler).time_out(TimeOut::Timespec(3)).note("the host is told of waits with a relative time-out"),
    fwd(203, "sched_setaffinity", &[V, V, In(Int(1))]).note("of the home process"),
    fwd(204, "sched_getaffinity", &[V, V, Stream(Int(1))]).note("of the home process"),
    gone(205, "set_thread_area"),
    gone(211, "get_thread_area"),
    host(218, "set_tid_address", HostCall::SetTidAddress),
    host(231, "exit_group", HostCall::Exit).args(&[]),
    own(247, "waitid", Own::WaitId).waits(Begins),
    fwd(251, "ioprio_set", &[]),
    fwd(252, "ioprio_get", &[]),
    home(272, "unshare", "namespaces of its own"),
    local(273, "set_robust_list"),
    Row { local: Local::If(OWN), ..host(274, "get_robust_list", HostCall::RobustList) },
    fwd(302, "prlimit64", &[V, V, In(Bytes(16)), TIMESPEC]).note("memory and CPU limits count in the guest too"),
    home(308, "setns", "namespaces of its own"),
    local(309, "getcpu"),
    own(310, "process_vm_readv", Own::ProcessVm),
    own(311, "process_vm_writev", Own::ProcessVm),
    fwd(312, "kcmp", &[]),
    own(314, "sched_setattr", Own::SchedSetAttr),
    fwd(315, "sched_getattr", &[V, InOut(Int(2))]),
    host(322, "execveat", HostCall::Exec).note("the new program starts at home"),
    local(334, "rseq"),
    fwd(434, "pidfd_open", &[]),
    host(435, "clone3", HostCall::Fork).note("threads and unusual sharing go home"),
    fwd(438, "pidfd_getfd", &[Fd, V]),
    fwd(440, "process_madvise", &[Fd, In(Times(2, 16))]).note("of home processes"),
    fwd(448, "process_mrelease", &[Fd]),
    local(449, "futex_waitv"),
    local(454, "futex_wake"),
    local(455, "futex_wait"),
    local(456, "futex_requeue"),
];
