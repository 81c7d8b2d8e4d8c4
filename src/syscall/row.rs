//! A row of the table: all that is known of one system call.

use super::shape::{Arg, Own, Shape};

/// One system call.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub nr: u16,
    pub name: &'static str,
    /// When the guest's own kernel does it without asking the host.
    pub local: Local,
    /// What is done when the host is asked.
    pub class: Class,
    pub shape: Shape,
    /// What an interruption by a signal means; `None` when it cannot be interrupted.
    pub restart: Option<Restart>,
    /// Where its relative time-out is, if it has one.
    pub time_out: Option<TimeOut>,
    pub notes: &'static str,
}

/// When a call is native at the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    Never,
    Always,
    /// When all tests of any of these groups hold.
    If(&'static [&'static [Test]]),
}

/// The low word of argument `arg`, masked, equals `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    pub arg: u8,
    pub mask: u32,
    pub value: u32,
}

/// What the host does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The guest's own kernel does it.
    Native,
    /// The deputy does it.
    Forward,
    /// The host does it, or takes part in it.
    Host(HostCall),
    /// It can only be done at home, where the process is brought for it.
    GoHome(&'static str),
    /// It fails with this number, as it does at home.
    Refuse(i64),
}

/// What the host is to do. `syscall::forward` packs those that the deputy must execute too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCall {
    /// The filter should have let it pass: let the guest's kernel do it.
    Native,
    /// fork, vfork, clone, clone3: see `syscall::fork`.
    Fork,
    /// execve, execveat: see `syscall::plan_exec`.
    Exec,
    /// exit, exit_group.
    Exit,
    SigAction,
    SigProcMask,
    SigPending,
    SigSuspend,
    NanoSleep,
    ClockNanoSleep,
    /// futex: a wait with a relative time-out, which the guest's kernel makes.
    FutexWait,
    /// mmap of a file, private or not writable.
    MapFile,
    /// madvise that the filter did not let pass: its effect depends on what is mapped there.
    Advise,
    Pid,
    Tid,
    /// getrusage: add what was used elsewhere.
    Usage,
    /// times: add what was used elsewhere.
    Times,
    /// prctl of something that lives in the guest too.
    Prctl,
    SetTidAddress,
    /// get_robust_list of this thread.
    RobustList,
    /// process_vm_readv, process_vm_writev of this very process.
    OwnMemory,
    /// close_range over the channel's descriptor.
    CloseRange,
    /// dup2, dup3 onto the channel's descriptor, which must move first.
    DupOverChannel,
    /// setrlimit, prlimit64 of a limit that the guest's kernel must keep too.
    Limit,
    /// shmdt: nothing can be attached while away, EINVAL.
    ShmDetach,
}

/// What the kernel does with an interrupted call after the handler; see signal(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// With SA_RESTART, or without a handler, it begins again; else EINTR.
    Begins,
    /// EINTR after any handler; without a handler it begins again.
    NoHandler,
    /// As `NoHandler`, but it goes on with what is left of its time.
    Continues,
    /// Always EINTR.
    Never,
}

/// Where a relative time-out stands and in what form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeOut {
    /// Milliseconds in this argument (an `int`), negative for none.
    Millis(u8),
    /// This argument points to a `timespec`.
    Timespec(u8),
    /// This argument points to a `timeval`.
    Timeval(u8),
}

const fn row(nr: u16, name: &'static str, class: Class, shape: Shape) -> Row {
    Row {
        nr,
        name,
        local: Local::Never,
        class,
        shape,
        restart: None,
        time_out: None,
        notes: "",
    }
}

/// A forwarded call whose arguments stand for themselves.
pub const fn fwd(nr: u16, name: &'static str, args: &'static [Arg]) -> Row {
    row(nr, name, Class::Forward, Shape::Args(args))
}

/// A forwarded call that is packed by code of its own.
pub const fn own(nr: u16, name: &'static str, how: Own) -> Row {
    row(nr, name, Class::Forward, Shape::Own(how))
}

/// A call that the guest's kernel does.
pub const fn local(nr: u16, name: &'static str) -> Row {
    let mut row = row(nr, name, Class::Native, Shape::None);
    row.local = Local::Always;
    row
}

/// A call of the host.
pub const fn host(nr: u16, name: &'static str, call: HostCall) -> Row {
    row(nr, name, Class::Host(call), Shape::None)
}

/// A call that goes home, and why.
pub const fn home(nr: u16, name: &'static str, why: &'static str) -> Row {
    row(nr, name, Class::GoHome(why), Shape::None)
}

/// A call that no x86-64 kernel of today has.
pub const fn gone(nr: u16, name: &'static str) -> Row {
    row(nr, name, Class::Refuse(super::errno::ENOSYS), Shape::None)
}

impl Row {
    /// Native in these cases.
    pub const fn local_if(mut self, cases: &'static [&'static [Test]]) -> Row {
        self.local = Local::If(cases);
        self
    }

    /// It can be interrupted (it may wait for long).
    pub const fn waits(mut self, restart: Restart) -> Row {
        self.restart = Some(restart);
        self
    }

    pub const fn time_out(mut self, time_out: TimeOut) -> Row {
        self.time_out = Some(time_out);
        self
    }

    /// Arguments, for a call of the host that the deputy must execute too.
    pub const fn args(mut self, args: &'static [Arg]) -> Row {
        self.shape = Shape::Args(args);
        self
    }

    /// As [`Row::args`], packed by code of its own.
    pub const fn packed(mut self, how: Own) -> Row {
        self.shape = Shape::Own(how);
        self
    }

    pub const fn note(mut self, notes: &'static str) -> Row {
        self.notes = notes;
        self
    }

    /// May it wait for long?
    pub fn may_block(&self) -> bool {
        self.restart.is_some()
    }
}
