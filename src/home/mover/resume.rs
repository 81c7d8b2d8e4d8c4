//! The last step home: kernel state that changed while away, then all registers at once.

use std::io;
use std::time::Duration;

use crate::home::mover::seize::words;
use crate::home::mover::times;
use crate::image::{Meta, Resume, Thread};
use crate::migrate::deputy::{Deputy, Frame};
use crate::sys::inject::Injector;
use crate::sys::ptrace::{Now, Running, Stopped};
use crate::sys::regs::index::{FS_BASE, GS_BASE, ORIG_RAX, R10, RAX, RDI, RDX, RIP, RSI};
use crate::sys::regs::{NO_CALL, Regs, SYSCALL_LEN};
use crate::sys::status::Status;
use crate::sys::stub;
use crate::sys::{abi, mem};
use crate::wire::channel::{FRAME, FRAME_SIZE, INLINE_IN, RESUME, Request};

/// Long enough for a deputy to get into its call, or through it.
const A_MOMENT: Duration = Duration::from_millis(1);

/// A thread for which everything is prepared that can fail.
enum Ready<'a> {
    /// It waits in its stub for this frame.
    Frame(Vec<u8>, Box<Deputy>),
    Call(Box<InCall<'a>>),
}

/// A traced thread that is to be put back into a call that was interrupted.
struct InCall<'a> {
    running: Running,
    thread: &'a Thread,
    regs: [u64; 27],
    deputy: Deputy,
    nr: u64,
    /// The kernel's code for how it was interrupted.
    code: i64,
}

/// Lets the process go on natively. All its signals are blocked until the registers are set.
pub fn resume(pid: i32, meta: &Meta, mut deputies: Vec<Deputy>) -> io::Result<()> {
    deputies[0].set_actions(&meta.actions)?;
    let mut ready = Vec::with_capacity(deputies.len());
    for (thread, deputy) in meta.threads.iter().zip(deputies) {
        ready.push(prepare(pid, thread, deputy)?);
    }
    if let [first, _, ..] = &mut ready[..] {
        // Threads must not go back to the sender when others are home already.
        match first {
            Ready::Frame(_, deputy) => deputy.settle_all()?,
            Ready::Call(call) => call.deputy.settle_all()?,
        }
    }
    let frames = ready
        .iter()
        .filter(|ready| matches!(ready, Ready::Frame(..)))
        .count() as u64;
    let mut stopped = Vec::new();
    let mut waiting = Vec::new();
    for thread in ready {
        match thread {
            Ready::Frame(frame, deputy) => waiting.push((frame, *deputy)),
            Ready::Call(call) => stopped.push(call.enter(pid)?),
        }
    }
    // The first last: of a frozen process it closes what holds the others.
    for (frame, mut deputy) in waiting.into_iter().rev() {
        leave_stub(frames, &frame, &mut deputy)?;
    }
    stopped.into_iter().try_for_each(|task| task.detach(0))
}

fn prepare(pid: i32, thread: &Thread, mut deputy: Deputy) -> io::Result<Ready<'_>> {
    kernel_state(pid, thread, &mut deputy)?;
    let caught: Vec<Vec<u8>> = deputy.signals.drain(..).map(|info| info.to_vec()).collect();
    for info in thread.pending.iter().chain(&caught) {
        // Taken off the home process, and not yet given to the program.
        deputy.queue_signal(pid, thread.tid, info)?;
    }
    let mut regs = words(&thread.regs)?;
    if let Resume::Written { bytes, .. } = thread.resume {
        // Part of a write was made: natively that part is its result.
        (regs[RAX], regs[RIP]) = (bytes, regs[RIP] + SYSCALL_LEN);
    } else if times::is_over(&mut deputy, thread)? {
        (regs[RAX], regs[RIP]) = (-i64::from(abi::EAGAIN) as u64, regs[RIP] + SYSCALL_LEN);
    } else if let Some((nr, code)) = thread.interrupted {
        if let Ok(running) = Running::seize(thread.tid, 0) {
            set_altstack(thread, &mut deputy)?;
            return Ok(Ready::Call(Box::new(InCall {
                running,
                thread,
                regs,
                deputy,
                nr,
                code,
            })));
        }
        // Somebody else traces it. It makes the call again, also if a handler comes first.
        times::comes(pid, deputy.base, thread, &mut regs);
    }
    Ok(Ready::Frame(
        frame(thread, &regs, &deputy)?,
        Box::new(deputy),
    ))
}

impl InCall<'_> {
    /// Puts the thread back into its call: the kernel will decide between repetition and `EINTR`. It stays stopped.
    fn enter(self, pid: i32) -> io::Result<Stopped> {
        let InCall {
            running,
            thread,
            mut regs,
            mut deputy,
            nr,
            code,
        } = self;
        if let Some(call) = Timed::of(thread, &regs) {
            return call.rearm(running, thread, regs, &mut deputy);
        }
        times::comes(pid, deputy.base, thread, &mut regs);
        let code = match thread.resume {
            // The restart block of the home process still holds it. (`rt_sigreturn` would clear it.)
            Resume::RestartBlock { .. } => -abi::ERESTART_RESTARTBLOCK,
            _ => code,
        };
        in_call(&mut regs, nr, code);
        let task = running.stop_past_signals()?;
        release(
            task.ok_or(io::ErrorKind::UnexpectedEof)?,
            thread,
            regs,
            &deputy,
        )
    }
}

/// What the home kernel keeps of a thread and the guest's kernel may have changed.
fn kernel_state(pid: i32, thread: &Thread, deputy: &mut Deputy) -> io::Result<()> {
    for (which, at) in [(abi::ARCH_SET_FS, FS_BASE), (abi::ARCH_SET_GS, GS_BASE)] {
        let base = *thread.regs.get(at).ok_or(io::ErrorKind::InvalidData)?;
        deputy.call(abi::SYS_ARCH_PRCTL, [which, base, 0, 0, 0, 0])?;
    }
    if thread.robust.0 != 0 {
        deputy.call(
            abi::SYS_SET_ROBUST_LIST,
            [thread.robust.0, thread.robust.1, 0, 0, 0, 0],
        )?;
    }
    deputy.call(abi::SYS_SET_TID_ADDRESS, [thread.clear_tid, 0, 0, 0, 0, 0])?;
    let (address, size, signature) = thread.rseq;
    if address != 0 && !thread.rseq_at_home {
        // The kernel wants the area as it was before its first registration.
        mem::write_all(pid, address, &[0, u32::MAX].map(u32::to_le_bytes).concat())?;
        deputy.call(
            abi::SYS_RSEQ,
            [address, u64::from(size), 0, u64::from(signature), 0, 0],
        )?;
    }
    Ok(())
}

/// Registers as of a thread that is about to leave the kernel, a call interrupted: the kernel repeats it, or has it fail if a handler
/// runs first.
fn in_call(regs: &mut [u64; 27], nr: u64, code: i64) {
    (regs[RAX], regs[ORIG_RAX], regs[RIP]) = (code as u64, nr, regs[RIP] + SYSCALL_LEN);
}

fn timed(resume: &Resume) -> u64 {
    match resume {
        Resume::TimeLeft { nr, .. } => *nr,
        _ => u64::MAX,
    }
}

/// A sleep or poll with time left that the program is in. Its deadline must be in the kernel's restart block of the home process
/// again, which only the call itself puts there: the deputy makes it with the time that is left and the program's own
/// addresses, is stopped in it, and then gets the program's registers.
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
        running: Running,
        thread: &Thread,
        mut regs: [u64; 27],
        deputy: &mut Deputy,
    ) -> io::Result<Stopped> {
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
        let (task, result) = stop_in_call(running, deputy)?;
        if result == -abi::ERESTART_RESTARTBLOCK {
            in_call(&mut regs, self.nr, result);
        } else {
            // Its time was over before it could be stopped.
            (regs[RAX], regs[RIP]) = (result as u64, regs[RIP] + SYSCALL_LEN);
            regs[ORIG_RAX] = NO_CALL;
        }
        release(task, thread, regs, deputy)
    }
}

/// Gives the stopped deputy the program's registers: it needs only be let go.
fn release(
    task: Stopped,
    thread: &Thread,
    regs: [u64; 27],
    deputy: &Deputy,
) -> io::Result<Stopped> {
    let mut injector = Injector::new(task, deputy.base + stub::gadget())?;
    let held = deputy.spare.iter().chain(&deputy.holding).copied();
    for fd in held.chain([deputy.channel_fd as u64]) {
        injector.raw_call(abi::SYS_CLOSE, [fd, 0, 0, 0, 0, 0])?;
    }
    let task = injector.finish()?.stop_again()?;
    let task = task.ok_or(io::ErrorKind::UnexpectedEof)?;
    for word in [stub::PARKED, stub::serving()] {
        mem::write_all(task.pid(), deputy.base + word, &[0; 4])?;
    }
    task.set_regs(&Regs::from_array(regs))?;
    task.set_xsave(&thread.xsave)?;
    task.set_sigmask(thread.mask)?;
    Ok(task)
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
fn stop_in_call(mut running: Running, deputy: &mut Deputy) -> io::Result<(Stopped, i64)> {
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
                if deputy.wait(A_MOMENT)?
                    && let Frame::Reply { value, .. } = deputy.read_frame()?
                {
                    answered = Some(value);
                }
            }
        }
    }
}

/// The signal frame by which a thread leaves its stub.
fn frame(thread: &Thread, regs: &[u64; 27], deputy: &Deputy) -> io::Result<Vec<u8>> {
    let at = deputy.base + FRAME;
    let frame = stub::frame::build(regs, &thread.xsave, thread.mask, thread.altstack, at);
    if frame.len() as u64 > FRAME_SIZE {
        return Err(io::Error::other(
            "its processor state is larger than the stub's frame",
        ));
    }
    Ok(frame)
}

/// Has a thread leave its stub, together with all `threads` that do.
fn leave_stub(threads: u64, frame: &[u8], deputy: &mut Deputy) -> io::Result<()> {
    let at = deputy.base + FRAME;
    let request = Request {
        flags: RESUME,
        args: [threads, 0, 0, 0, 0, 0],
        in_len: frame.len() as u64,
        in_ptr: at,
        out_ptr: at,
        ..Request::default()
    };
    deputy.send(&request, frame)
}
