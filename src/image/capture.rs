//! What a stopped process is, apart from its memory.

use std::io;

use crate::image::{Area, Kind, MmLayout, Resume, Thread, areas};
use crate::sys::errno::gone;
use crate::sys::inject::Injector;
use crate::sys::mem;
use crate::sys::process;
use crate::sys::procfs;
use crate::sys::ptrace::{Rseq, Stopped, wait_stop};
use crate::sys::regs::{Interrupted, Regs};
use crate::sys::status::Status;

/// Most instructions that a function of the vDSO may still need.
const VDSO_STEPS: usize = 20_000;
const EINTR: i64 = 4;
const ERESTARTNOHAND: i64 = 514;
const ERESTART_RESTARTBLOCK: i64 = 516;
const SIGTRAP_BIT: u64 = 1 << 4;

const SYS_BRK: u64 = 12;
const SYS_NANOSLEEP: u64 = 35;
const SYS_POLL: u64 = 7;
const SYS_GETRLIMIT: u64 = 97;
const SYS_SIGALTSTACK: u64 = 131;
const SYS_PRCTL: u64 = 157;
const SYS_FUTEX: u64 = 202;
const SYS_CLOCK_NANOSLEEP: u64 = 230;
const SYS_RESTART_SYSCALL: u64 = 219;
const PR_GET_TID_ADDRESS: u64 = 40;
const RLIMIT_STACK: u64 = 3;
const SS_ONSTACK: i32 = 1;

/// Calls that the kernel continues from a restart block with a deadline in it.
const CONTINUED: [u64; 3] = [SYS_NANOSLEEP, SYS_CLOCK_NANOSLEEP, SYS_POLL];
/// Calls that answer `EINTR` although no signal came, merely because a tracer stopped them: `read`, `write`, `accept`, `sendto`,
/// `recvfrom`, `sendmsg`, `recvmsg`, `semop`, `rt_sigtimedwait`, `io_getevents`, `semtimedop`, `epoll_wait`, `epoll_pwait`, `accept4`,
/// `recvmmsg`, `io_pgetevents`, `epoll_pwait2`.
const SPURIOUS_EINTR: [u64; 17] = [
    0, 1, 43, 44, 45, 46, 47, 65, 128, 208, 220, 232, 281, 288, 299, 333, 441,
];

/// The state of a thread that this thread traces and that is in a ptrace stop, before anything is injected into it. It may run a few
/// instructions on, out of the vDSO. `tid`, `altstack`, `clear_tid` and `pending` are left to the caller.
pub fn thread_state(tid: i32, areas: &[Area]) -> io::Result<Thread> {
    let task = leave_vdso(Stopped::known(tid), areas)?;
    let regs = task.regs()?;
    let raw = regs;
    let (mut regs, resume) = settled(tid, &raw);
    let repeats = regs.rip != raw.rip;
    let rseq = task.rseq()?;
    leave_critical_section(tid, &rseq, &mut regs)?;
    Ok(Thread {
        tid,
        regs: regs.to_array().to_vec(),
        xsave: task.xsave()?,
        mask: task.sigmask()?,
        rseq: (rseq.address, rseq.size, rseq.signature),
        robust: process::robust_list(tid).unwrap_or_default(),
        interrupted: repeats.then_some((regs.rax, code_of(raw.rax as i64, &resume))),
        resume,
        ..Thread::default()
    })
}

/// The kernel's code for how a call is repeated. A restart block stays behind: a call that was in one (`futex` with a time-out, other
/// than those that are continued) is made again as it was, unless a handler comes first.
fn code_of(code: i64, resume: &Resume) -> i64 {
    match (code, resume) {
        (code, Resume::Nothing) if code == -ERESTART_RESTARTBLOCK => -ERESTARTNOHAND,
        (code, _) => code,
    }
}

/// Registers from which a thread goes on outside of the kernel, and what its first call needs to know.
fn settled(tid: i32, regs: &Regs) -> (Regs, Resume) {
    match regs.interrupted() {
        Interrupted::Repeat { nr } => (regs.repeating(nr), Resume::Nothing),
        Interrupted::Block {
            nr: SYS_RESTART_SYSCALL,
        } if is_futex(tid, &regs.args()) => (regs.repeating(SYS_FUTEX), Resume::Nothing),
        Interrupted::Block {
            nr: SYS_RESTART_SYSCALL,
        } => {
            let nr = begun_as(&regs.args());
            (regs.repeating(nr), Resume::RestartBlock { nr })
        }
        Interrupted::Block { nr } if CONTINUED.contains(&nr) => {
            (regs.repeating(nr), Resume::RestartBlock { nr })
        }
        Interrupted::Block { nr } => (regs.repeating(nr), Resume::Nothing),
        Interrupted::No => (regs.restarted(), Resume::Nothing),
    }
}

/// Whether a `restart_syscall` goes on with a wait on a futex: its time-out is a pointer, and the word has the value still that it
/// waits for to change. (A descriptor of `poll` that equals the time-out, with so many of them, is not to be expected.)
fn is_futex(tid: i32, args: &[u64; 6]) -> bool {
    const WAIT: u64 = 0;
    const WAIT_BITSET: u64 = 9;
    const OPERATION: u64 = 0x7f;
    // FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME
    const FLAGS: u64 = 0x180;
    let [at, operation, value, time_out, ..] = *args;
    let mut word = [0; 4];
    matches!(operation & OPERATION, WAIT | WAIT_BITSET)
        && operation & !(OPERATION | FLAGS) == 0
        && time_out != 0
        && mem::read_exact(tid, at, &mut word).is_ok()
        && u32::from_le_bytes(word) == value as u32
}

/// Which call a `restart_syscall` goes on with: its arguments are still in the registers. `clock_nanosleep` begins with the small number
/// of a clock, `poll`'s second argument is a small number, `nanosleep`'s is an address or NULL (then there is nothing to tell
/// it from a poll of no descriptors, which gives nothing either).
fn begun_as(args: &[u64; 6]) -> u64 {
    const SMALL: u64 = 1 << 16;
    match args {
        [clock, ..] if *clock < 64 => SYS_CLOCK_NANOSLEEP,
        [_, count, ..] if (1..SMALL).contains(count) => SYS_POLL,
        _ => SYS_NANOSLEEP,
    }
}

/// To be called of a process at home as soon as it has stopped: a call that answers `EINTR` because of that is marked as others are, so
/// that it is repeated unless a handler runs.
pub fn mend_interruption(tid: i32) -> io::Result<()> {
    let task = Stopped::known(tid);
    let mut regs = task.regs()?;
    if regs.rax as i64 == -EINTR && SPURIOUS_EINTR.contains(&regs.orig_rax) {
        regs.rax = -ERESTARTNOHAND as u64;
        task.set_regs(&regs)?;
    }
    Ok(())
}

/// A thread inside a restartable sequence goes on at its abort handler, as after any preemption.
fn leave_critical_section(tid: i32, rseq: &Rseq, regs: &mut Regs) -> io::Result<()> {
    const POINTER: u64 = 8;
    if rseq.address == 0 {
        return Ok(());
    }
    let section = read_words::<1>(tid, rseq.address + POINTER)?[0];
    if section == 0 {
        return Ok(());
    }
    // Version and flags, start, length, abort handler. An unreadable one is the program's own fault.
    let Ok([_, start, len, abort]) = read_words::<4>(tid, section) else {
        return Ok(());
    };
    if regs.rip.wrapping_sub(start) < len {
        regs.rip = abort;
    }
    mem::write_all(tid, rseq.address + POINTER, &[0; 8])
}

fn read_words<const N: usize>(pid: i32, addr: u64) -> io::Result<[u64; N]> {
    let mut words = [0; N];
    for (word, at) in words.iter_mut().zip((addr..).step_by(8)) {
        let mut bytes = [0; 8];
        mem::read_exact(pid, at, &mut bytes)?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}

/// Lets a thread that is inside the vDSO, which may differ elsewhere, finish there.
fn leave_vdso(mut task: Stopped, areas: &[Area]) -> io::Result<Stopped> {
    let vdso = areas.iter().find(|area| area.kind == Kind::Vdso);
    let Some(inside) = vdso.map(|area| area.start..area.end) else {
        return Ok(task);
    };
    let regs = task.regs()?;
    if !inside.contains(&regs.rip) || regs.interrupted() != Interrupted::No {
        return Ok(task);
    }
    let pid = task.pid();
    if procfs::status(pid)?.ignored & SIGTRAP_BIT != 0 {
        // Stepping would undo that.
        return Err(io::Error::from(io::ErrorKind::WouldBlock));
    }
    let mask = task.sigmask()?;
    task.set_sigmask(!SIGTRAP_BIT)?;
    let mut held = 0;
    for _ in 0..VDSO_STEPS {
        if at_call(&task)? {
            // A guest's calls wait for its host, which is here. What is in front of a call does not depend on the kernel.
            break;
        }
        task = step(task, &mut held)?;
        if !inside.contains(&task.regs()?.rip) {
            break;
        }
    }
    task.set_sigmask(mask)?;
    if held != 0 {
        process::kill(pid, held)?;
    }
    Ok(task)
}

/// Whether the next instruction is a system call.
fn at_call(task: &Stopped) -> io::Result<bool> {
    let mut bytes = [0; 2];
    mem::read_exact(task.pid(), task.regs()?.rip, &mut bytes)?;
    Ok(bytes == [0x0f, 0x05])
}

fn step(task: Stopped, held: &mut i32) -> io::Result<Stopped> {
    const SIGSTOP: i32 = 19;
    let pid = task.step()?.pid();
    match wait_stop(pid)? {
        // It cannot be blocked; it is sent again afterwards.
        Status::SignalStop(SIGSTOP) => *held = SIGSTOP,
        status if status.is_end() => return Err(gone()),
        _ => {}
    }
    Ok(Stopped::known(pid))
}

/// Calls made inside the process, by injection or by a stub's channel.
pub trait Calls {
    /// Makes a call; its raw result, `-errno` on failure.
    fn raw_call(&mut self, nr: u64, args: [u64; 6]) -> io::Result<i64>;

    /// Makes a call whose argument number `at` points to `len` bytes for its output; gives them too.
    fn call_out(
        &mut self,
        nr: u64,
        args: [u64; 6],
        at: usize,
        len: u64,
    ) -> io::Result<(i64, Vec<u8>)>;
}

/// Calls in a stopped guest (or any stopped process with a gadget and a page to write to).
pub struct Injected {
    injector: Injector,
    scratch: u64,
}

impl Injected {
    /// `scratch`: a writable page that is not the program's.
    pub fn new(injector: Injector, scratch: u64) -> Injected {
        Injected { injector, scratch }
    }
}

impl Calls for Injected {
    fn raw_call(&mut self, nr: u64, args: [u64; 6]) -> io::Result<i64> {
        Ok(self.injector.raw_call(nr, args)? as i64)
    }

    fn call_out(
        &mut self,
        nr: u64,
        mut args: [u64; 6],
        at: usize,
        len: u64,
    ) -> io::Result<(i64, Vec<u8>)> {
        let mut out = vec![0; len as usize];
        args[at] = self.scratch;
        let value = self.raw_call(nr, args)?;
        mem::read_exact(self.injector.pid()?, self.scratch, &mut out)?;
        Ok((value, out))
    }
}

/// What only the process itself can tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inner {
    /// `stack_t`: pointer, flags, size.
    pub altstack: (u64, i32, u64),
    pub clear_tid: u64,
    pub brk: u64,
    /// Soft and hard RLIMIT_STACK.
    pub stack_limit: (u64, u64),
}

fn word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 8) {
        Some(bytes) => u64::from_le_bytes(bytes.try_into().expect("eight bytes")),
        None => 0,
    }
}

/// Asks the process at home.
pub fn inner_state(calls: &mut impl Calls) -> io::Result<Inner> {
    let (known, tid) = calls.call_out(SYS_PRCTL, [PR_GET_TID_ADDRESS, 0, 0, 0, 0, 0], 1, 8)?;
    let (_, limit) = calls.call_out(SYS_GETRLIMIT, [RLIMIT_STACK, 0, 0, 0, 0, 0], 1, 16)?;
    Ok(Inner {
        // Kernels without checkpoint support do not tell; nobody but a parent's waiter would miss it.
        clear_tid: if known == 0 { word(&tid, 0) } else { 0 },
        stack_limit: (word(&limit, 0), word(&limit, 8)),
        ..local_state(calls)?
    })
}

/// Asks a guest, by calls that its filter leaves to its own kernel: only `altstack` and `brk` are filled.
pub fn local_state(calls: &mut impl Calls) -> io::Result<Inner> {
    let (_, alt) = calls.call_out(SYS_SIGALTSTACK, [0; 6], 1, 24)?;
    let altstack = (
        word(&alt, 0),
        word(&alt, 8) as i32 & !SS_ONSTACK,
        word(&alt, 16),
    );
    Ok(Inner {
        altstack,
        brk: calls.raw_call(SYS_BRK, [0; 6])? as u64,
        ..Inner::default()
    })
}

/// The layout of a process's memory as `/proc` has it; `brk` is the end of the heap area there, exact only from
/// [`inner_state`].
pub fn mm_layout(pid: i32) -> io::Result<MmLayout> {
    let stat = procfs::stat(pid)?;
    let heap = areas::areas(pid)?
        .into_iter()
        .find(|area| area.kind == Kind::Heap);
    Ok(MmLayout {
        start_code: stat.start_code,
        end_code: stat.end_code,
        start_data: stat.start_data,
        end_data: stat.end_data,
        start_brk: stat.start_brk,
        brk: heap.map_or(stat.start_brk, |area| area.end),
        start_stack: stat.start_stack,
        arg_start: stat.arg_start,
        arg_end: stat.arg_end,
        env_start: stat.env_start,
        env_end: stat.env_end,
    })
}
