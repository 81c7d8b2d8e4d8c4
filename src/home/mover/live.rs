//! A process leaves home while it runs on: it is stopped for a moment, to have its kernel note what it writes, and its image is
//! sketched from outside.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::home::mover::seize::words;
use crate::home::mover::{OutJob, seize};
use crate::image::clocks::{Clocks, Moment};
use crate::image::{HomeId, Meta, Thread, areas, capture, check, vdso};
use crate::migrate::source::Stayed;
use crate::migrate::{fault, tracee};
use crate::sys::errno::gone;
use crate::sys::process::{self, RLIMIT_STACK};
use crate::sys::ptrace::{Stopped, wait_stop};
use crate::sys::regs::{Interrupted, NO_CALL, Regs};
use crate::sys::status::Status;
use crate::sys::writes::{self, WriteWatch};
use crate::sys::{mem, procfs, stub};
use crate::wire::channel::{CODE, FRAME, STAGING};
use crate::wire::cpu::Cpu;

/// Has the kernel note what a process writes, as long as the watch is open here. `None`: it cannot.
pub fn watch(pid: i32, warden: &mut UnixStream) -> Result<Option<WriteWatch>, Stayed> {
    fault::point("source.watch")?;
    let mut tids = Vec::new();
    let opened = seize::stop(pid, &mut tids, warden).and_then(|()| open(pid));
    for tid in tids {
        // What died meanwhile need not be let go.
        let _ = tracee::detach(tid);
    }
    opened
}

/// The descriptor can only be made by the process itself, which is stopped as long as it has it. It does that in the place of its stub,
/// by code that comes to a good end without us.
fn open(pid: i32) -> Result<Option<WriteWatch>, Stayed> {
    let areas = areas::areas(pid)?;
    let thread = capture::thread_state(pid, &areas)?;
    let (settled, mask) = (words(&thread.regs)?, thread.mask);
    let stopped = tracee::regs(pid)?;
    let in_call = stopped.interrupted() != Interrupted::No;
    let (base, fresh) = seize::place(pid, &areas)?;
    seize::map_stubs(pid, base, fresh, 0, &areas)?;
    let at = base + FRAME;
    let Some(frame) = seize::way_back(&thread, base)? else {
        return Ok(None);
    };
    mem::write_all(pid, base + CODE, stub::code())?;
    mem::write_all(pid, at, &frame)?;
    mem::write_all(pid, base + STAGING, &writes::code(at))?;
    tracee::set_regs(
        pid,
        &Regs {
            rip: base + STAGING,
            orig_rax: NO_CALL,
            ..stopped
        },
    )?;
    tracee::set_sigmask(pid, !0)?;
    let mut held = 0;
    pass_calls(pid, writes::STOPS[0], &mut held)?;
    let watch = writes::fd_of(&tracee::regs(pid)?).and_then(|fd| {
        let ours = process::pidfd_getfd(process::pidfd_open(pid).ok()?.as_fd(), fd);
        WriteWatch::new(ours.ok()?).ok()
    });
    pass_calls(pid, writes::STOPS[1], &mut held)?;
    let mut regs = Regs::from_array(settled);
    if in_call {
        regs = stopped;
        // The kernel is to decide between repetition and `EINTR`, as if nothing had been: it does so behind another stop.
        Stopped::known(pid).stop_again()?.ok_or_else(gone)?;
    }
    tracee::set_sigmask(pid, mask)?;
    tracee::set_regs(pid, &regs)?;
    if held != 0 {
        process::kill(pid, held)?;
    }
    Ok(watch)
}

/// Lets the stopped process pass so many entries of calls and returns from them. `SIGSTOP`, which cannot be blocked, is sent again
/// later.
fn pass_calls(pid: i32, stops: usize, held: &mut i32) -> io::Result<()> {
    let mut passed = 0;
    while passed < stops {
        Stopped::known(pid).cont_to_syscall()?;
        match wait_stop(pid)? {
            Status::SyscallStop => passed += 1,
            Status::SignalStop(signo) => *held = signo,
            _ => {}
        }
    }
    Ok(())
}

/// The image of a process that runs, as far as it can be seen from outside.
pub fn sketch(job: &OutJob, home: HomeId, needs: Cpu) -> Result<Meta, Stayed> {
    let mut areas = areas::ascending(areas::areas(job.pid)?);
    if let Some(why) = check::why_not(job.pid, &areas, job.filters) {
        return Err(Stayed(why));
    }
    let (stub, _) = seize::place(job.pid, &areas)?;
    seize::mark_ours(stub, &mut areas)?;
    let clocks = Clocks::here();
    Ok(Meta {
        home,
        stub,
        threads: vec![Thread {
            tid: job.pid,
            ..Thread::default()
        }],
        vdso_hash: vdso::hash(job.pid, &areas)?,
        areas,
        stack_limit: process::limit(job.pid, RLIMIT_STACK)?,
        monotonic_offset_ns: clocks.monotonic - clocks.real,
        boottime_offset_ns: clocks.boottime - clocks.real,
        sent: Moment::now(0),
        needs,
        comm: procfs::comm(job.pid)?,
        ..Meta::default()
    })
}
