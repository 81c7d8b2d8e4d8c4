//! The last step home: kernel state that changed while away, then all registers at once.

use std::io;
use std::time::Duration;

use crate::home::mover::seize::words;
use crate::image::capture::Calls;
use crate::image::{Meta, Resume, Thread};
use crate::migrate::deputy::{Deputy, Frame};
use crate::sys::inject::Injector;
use crate::sys::ptrace::{Now, Running, Stopped};
use crate::sys::regs::Regs;
use crate::sys::socket::wait_readable;
use crate::sys::status::Status;
use crate::sys::stub;
use crate::sys::{abi, mem};
use crate::wire::channel::{FRAME, FRAME_SIZE, INLINE_IN, RESUME, Request};

/// Index of FS and GS base in `user_regs_struct`.
const FS_BASE: usize = 21;
const GS_BASE: usize = 22;
const RAX: usize = 10;
const R10: usize = 7;
const R8: usize = 9;
const RDX: usize = 12;
const RSI: usize = 13;
const RDI: usize = 14;
const ORIG_RAX: usize = 15;
const RIP: usize = 16;
const SYSCALL_LEN: u64 = 2;
/// Long enough for a deputy to get into its call, or through it.
const A_MOMENT: Duration = Duration::from_millis(1);

/// Lets the process go on natively. All its signals are blocked until the registers are set.
pub fn resume(pid: i32, meta: &Meta, mut deputy: Deputy) -> io::Result<()> {
    let thread = &meta.threads[0];
    deputy.call(
        abi::SYS_ARCH_PRCTL,
        [abi::ARCH_SET_FS, thread.regs[FS_BASE], 0, 0, 0, 0],
    )?;
    deputy.call(
        abi::SYS_ARCH_PRCTL,
        [abi::ARCH_SET_GS, thread.regs[GS_BASE], 0, 0, 0, 0],
    )?;
    if thread.robust.0 != 0 {
        deputy.call(
            abi::SYS_SET_ROBUST_LIST,
            [thread.robust.0, thread.robust.1, 0, 0, 0, 0],
        )?;
    }
    deputy.call(abi::SYS_SET_TID_ADDRESS, [thread.clear_tid, 0, 0, 0, 0, 0])?;
    deputy.set_actions(&meta.actions)?;
    let caught: Vec<Vec<u8>> = deputy.signals.drain(..).map(|info| info.to_vec()).collect();
    for info in thread.pending.iter().chain(&caught) {
        // Taken off the home process, and not yet given to the program.
        deputy.queue_signal(pid, pid, info)?;
    }
    let regs = registers(meta, &mut deputy)?;
    if let Resume::RestartBlock { .. } = thread.resume
        && regs[RIP] == thread.regs[RIP]
    {
        return continue_native(pid, thread, regs, deputy);
    }
    if let Some(call) = Timed::of(thread, &regs) {
        return call.rearm(pid, thread, regs, deputy);
    }
    store_time_left(pid, thread, &regs)?;
    store_remainder(pid, thread, &regs)?;
    leave_stub(thread, &regs, &mut deputy)
}

/// Calls whose time-out cannot be shortened at home without changing the program's registers. They fail with `EINTR`, as they do
/// after any stop of a process; what calls them reckons with that and computes its time-out anew.
const EVENT_LOOPS: [u64; 3] = [
    abi::SYS_EPOLL_WAIT,
    abi::SYS_EPOLL_PWAIT,
    abi::SYS_EPOLL_PWAIT2,
];

fn timed(resume: &Resume) -> u64 {
    match resume {
        Resume::TimeLeft { nr, .. } => *nr,
        _ => u64::MAX,
    }
}

/// The registers with which the program goes on.
fn registers(meta: &Meta, deputy: &mut Deputy) -> io::Result<[u64; 27]> {
    let thread = &meta.threads[0];
    let mut regs = words(&thread.regs)?;
    if let Resume::Written { bytes, .. } = thread.resume {
        // Part of a write was made: natively that part is its result.
        (regs[RAX], regs[RIP]) = (bytes, regs[RIP] + SYSCALL_LEN);
    } else if EVENT_LOOPS.contains(&timed(&thread.resume)) {
        (regs[RAX], regs[RIP]) = (-i64::from(abi::EINTR) as u64, regs[RIP] + SYSCALL_LEN);
    } else if let Some((_, code)) = thread.interrupted
        && fails_by_handler(meta, code, pending(deputy)? & !thread.mask)
    {
        (regs[RAX], regs[RIP]) = (-i64::from(abi::EINTR) as u64, regs[RIP] + SYSCALL_LEN);
    }
    Ok(regs)
}

/// A sleep or poll with time left that the program is in. Its deadline must be in the kernel's restart block of the home process
/// again, which only the call itself puts there: the deputy makes it with the time that is left and the program's own
/// addresses, is stopped in it, and then gets the program's registers with `restart_syscall` as its next call.
struct Timed {
    nr: u64,
    args: [u64; 6],
    /// The time left as a timespec, for the calls that take one: argument number and contents.
    time: Option<(usize, [u8; 16])>,
}

impl Timed {
    fn of(thread: &Thread, regs: &[u64; 27]) -> Option<Timed> {
        let nr = timed(&thread.resume);
        let ns = thread.resume.left()?.as_nanos() as u64;
        let raw = [regs[RDI], regs[RSI], regs[RDX], regs[R10], 0, 0];
        let mut time = [0; 16];
        time[..8].copy_from_slice(&(ns / 1_000_000_000).to_le_bytes());
        time[8..].copy_from_slice(&(ns % 1_000_000_000).to_le_bytes());
        match nr {
            // Not when a handler has made it fail already.
            _ if regs[RAX] != nr => None,
            abi::SYS_NANOSLEEP => Some(Timed {
                nr,
                args: raw,
                time: Some((0, time)),
            }),
            abi::SYS_CLOCK_NANOSLEEP if raw[1] == 0 => Some(Timed {
                nr,
                args: raw,
                time: Some((2, time)),
            }),
            abi::SYS_POLL => {
                let left = ns.div_ceil(1_000_000).min(i32::MAX as u64);
                Some(Timed {
                    nr,
                    args: [raw[0], raw[1], left, 0, 0, 0],
                    time: None,
                })
            }
            _ => None,
        }
    }

    fn rearm(
        mut self,
        pid: i32,
        thread: &Thread,
        mut regs: [u64; 27],
        mut deputy: Deputy,
    ) -> io::Result<()> {
        set_altstack(thread, &mut deputy)?;
        let mut input = Vec::new();
        if let Some((at, time)) = self.time {
            self.args[at] = deputy.base + INLINE_IN;
            input.extend(time);
        }
        let request = Request {
            nr: self.nr,
            args: self.args,
            in_len: input.len() as u64,
            ..Request::default()
        };
        deputy.send(&request, &input)?;
        let (task, result) = stop_in_call(pid, &mut deputy)?;
        if result == -abi::ERESTART_RESTARTBLOCK {
            regs[RAX] = abi::SYS_RESTART_SYSCALL;
        } else {
            // Its time was over before it could be stopped.
            (regs[RAX], regs[RIP]) = (result as u64, regs[RIP] + SYSCALL_LEN);
        }
        release(task, thread, regs, &deputy)
    }
}

/// The restart block of the home process still holds the call: `restart_syscall` goes on with it. (`rt_sigreturn` would clear it.)
fn continue_native(
    pid: i32,
    thread: &Thread,
    mut regs: [u64; 27],
    mut deputy: Deputy,
) -> io::Result<()> {
    set_altstack(thread, &mut deputy)?;
    let stopped = Running::seize(pid, 0)?.stop_past_signals()?;
    let task = stopped.ok_or(io::ErrorKind::UnexpectedEof)?;
    regs[RAX] = abi::SYS_RESTART_SYSCALL;
    release(task, thread, regs, &deputy)
}

/// Gives the stopped deputy the program's registers and lets it go.
fn release(task: Stopped, thread: &Thread, mut regs: [u64; 27], deputy: &Deputy) -> io::Result<()> {
    let mut injector = Injector::new(task, deputy.base + stub::gadget())?;
    injector.raw_call(abi::SYS_CLOSE, [deputy.channel_fd as u64, 0, 0, 0, 0, 0])?;
    let task = injector.finish()?;
    regs[ORIG_RAX] = u64::MAX;
    task.set_regs(&Regs::from_array(regs))?;
    task.set_xsave(&thread.xsave)?;
    task.set_sigmask(thread.mask)?;
    task.detach(0)
}

/// `select`, `pselect6` and `ppoll` leave their remaining time in the program's memory when they are interrupted; so it is there when
/// they are repeated.
fn store_time_left(pid: i32, thread: &Thread, regs: &[u64; 27]) -> io::Result<()> {
    let Some(left) = thread.resume.left() else {
        return Ok(());
    };
    let fraction = match timed(&thread.resume) {
        abi::SYS_SELECT => left.subsec_micros(),
        _ => left.subsec_nanos(),
    };
    let Some(addr) = time_pointer(timed(&thread.resume), regs) else {
        return Ok(());
    };
    let bytes = [
        left.as_secs().to_le_bytes(),
        u64::from(fraction).to_le_bytes(),
    ]
    .concat();
    mem::write_all(pid, addr, &bytes)
}

/// A sleep that a handler made fail tells how much of it is left.
fn store_remainder(pid: i32, thread: &Thread, regs: &[u64; 27]) -> io::Result<()> {
    let Some(left) = thread.resume.left() else {
        return Ok(());
    };
    let addr = match timed(&thread.resume) {
        abi::SYS_NANOSLEEP => regs[RSI],
        abi::SYS_CLOCK_NANOSLEEP if regs[RSI] == 0 => regs[R10],
        _ => 0,
    };
    if addr == 0 || regs[RAX] as i64 != -i64::from(abi::EINTR) {
        return Ok(());
    }
    let bytes = [
        left.as_secs().to_le_bytes(),
        u64::from(left.subsec_nanos()).to_le_bytes(),
    ]
    .concat();
    mem::write_all(pid, addr, &bytes)
}

/// Where a call that is to be repeated has its time-out.
pub fn time_pointer(nr: u64, regs: &[u64; 27]) -> Option<u64> {
    let addr = match nr {
        abi::SYS_SELECT | abi::SYS_PSELECT6 => regs[R8],
        abi::SYS_PPOLL => regs[RDX],
        _ => 0,
    };
    (addr != 0).then_some(addr)
}

fn set_altstack(thread: &Thread, deputy: &mut Deputy) -> io::Result<()> {
    let (pointer, flags, size) = thread.altstack;
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&pointer.to_le_bytes());
    bytes[8..12].copy_from_slice(&flags.to_le_bytes());
    bytes[16..].copy_from_slice(&size.to_le_bytes());
    deputy
        .call_with(abi::SYS_SIGALTSTACK, [0; 6], 0, &bytes)
        .map(drop)
}

/// Stops the deputy in the call that it was just sent, or after it if the call has ended already; and the call's result so far.
fn stop_in_call(pid: i32, deputy: &mut Deputy) -> io::Result<(Stopped, i64)> {
    let mut running = Running::seize(pid, 0)?;
    let mut answered = None;
    loop {
        match running.stop()? {
            Now::Ended(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Now::Stopped(task, Status::SignalStop(signo)) => running = task.cont(signo)?,
            Now::Stopped(task, _) => {
                let regs = task.regs()?;
                if stub::is_behind_call(regs.rip, deputy.base) {
                    return Ok((task, regs.rax as i64));
                }
                if let Some(value) = answered {
                    return Ok((task, value));
                }
                running = task.cont(0)?;
                if wait_readable(&deputy.fd(), A_MOMENT)?
                    && let Frame::Reply { value, .. } = deputy.read_frame()?
                {
                    answered = Some(value);
                }
            }
        }
    }
}

/// Signals that wait for the process.
fn pending(deputy: &mut Deputy) -> io::Result<u64> {
    let (_, bytes) = deputy.call_out(abi::SYS_RT_SIGPENDING, [0, 8, 0, 0, 0, 0], 0, 8)?;
    Ok(u64::from_le_bytes(
        bytes.try_into().map_err(|_| io::ErrorKind::InvalidData)?,
    ))
}

/// Whether a call that was interrupted (`code`) fails with `EINTR` because one of `signals` runs a handler before it could be repeated.
fn fails_by_handler(meta: &Meta, code: i64, signals: u64) -> bool {
    (1..)
        .zip(&meta.actions)
        .any(|(signo, [handler, flags, ..])| {
            let handled = signals & abi::bit(signo) != 0
                && *handler != abi::SIG_DFL
                && *handler != abi::SIG_IGN;
            handled
                && (code != -abi::ERESTARTSYS || flags & abi::SA_RESTART == 0)
                && code != -abi::ERESTARTNOINTR
        })
}

fn leave_stub(thread: &Thread, regs: &[u64; 27], deputy: &mut Deputy) -> io::Result<()> {
    let at = deputy.base + FRAME;
    let frame = stub::frame::build(regs, &thread.xsave, thread.mask, thread.altstack, at);
    if frame.len() as u64 > FRAME_SIZE {
        return Err(io::Error::other(
            "its processor state is larger than the stub's frame",
        ));
    }
    let request = Request {
        flags: RESUME,
        in_len: frame.len() as u64,
        in_ptr: at,
        out_ptr: at,
        ..Request::default()
    };
    deputy.send(&request, &frame)
}
