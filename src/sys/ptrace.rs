//! Tracing: states of a traced thread as types, and what can be read and written while it is stopped.
//!
//! A [`Running`] becomes [`Stopped`] by a report of [`wait_any`] or [`Running::wait`]; a [`Stopped`] becomes `Running` by
//! [`Stopped::cont`]. A thread that was killed meanwhile answers `ESRCH` (see [`is_gone`](super::errno::is_gone)); its end is then
//! reported by the next wait.

use std::ffi::c_void;
use std::io;
use std::mem::size_of;

use super::cpu;
use super::errno::{check, gone};
use super::regs::Regs;
use super::status::Status;

/// Options of [`Running::seize`]. `TRACESYSGOOD` is always added.
pub const EXITKILL: u64 = libc::PTRACE_O_EXITKILL as u64;
pub const TRACECLONE: u64 = libc::PTRACE_O_TRACECLONE as u64;
pub const TRACEFORK: u64 = libc::PTRACE_O_TRACEFORK as u64;
pub const TRACEVFORK: u64 = libc::PTRACE_O_TRACEVFORK as u64;
pub const TRACEEXEC: u64 = libc::PTRACE_O_TRACEEXEC as u64;
pub const TRACESECCOMP: u64 = libc::PTRACE_O_TRACESECCOMP as u64;
const ALWAYS: u64 = libc::PTRACE_O_TRACESYSGOOD as u64;

const PTRACE_GET_RSEQ_CONFIGURATION: libc::c_uint = 0x420f;
const NT_X86_XSTATE: usize = 0x202;

/// A `siginfo_t`.
pub type SigInfo = [u8; 128];

/// A traced thread that runs (or has ended without us knowing yet).
#[derive(Debug, PartialEq, Eq)]
pub struct Running {
    pid: i32,
}

/// A traced thread in a ptrace stop.
#[derive(Debug, PartialEq, Eq)]
pub struct Stopped {
    pid: i32,
}

/// What a report made of a running thread.
#[derive(Debug)]
pub enum Now {
    Stopped(Stopped, Status),
    /// Its end: `Exited` or `Signaled`.
    Ended(Status),
}

/// `rseq` registration of a thread; address 0 when there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rseq {
    pub address: u64,
    pub size: u32,
    pub signature: u32,
}

/// A request whose last argument is a number.
fn request(what: libc::c_uint, pid: i32, addr: usize, data: usize) -> io::Result<i64> {
    // SAFETY: callers pass requests that read no memory of ours, or whose `data` points to a live buffer of the size that the
    // request (or `addr`) says.
    check(unsafe { libc::ptrace(what, pid, addr as *mut c_void, data as *mut c_void) })
}

impl Running {
    /// Attaches to `pid` without stopping it. The calling thread becomes its tracer.
    pub fn seize(pid: i32, options: u64) -> io::Result<Running> {
        request(libc::PTRACE_SEIZE, pid, 0, (options | ALWAYS) as usize)?;
        Ok(Running { pid })
    }

    /// A thread that is traced already because its creator was traced with `TRACECLONE` or the like.
    pub fn inherited(pid: i32) -> Running {
        Running { pid }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Asks it to stop; the stop is reported as `Event(EVENT_STOP, SIGTRAP)`, unless another stop comes first.
    pub fn interrupt(&self) -> io::Result<()> {
        request(libc::PTRACE_INTERRUPT, self.pid, 0, 0).map(drop)
    }

    /// The state after a report of `wait_any` about this pid.
    pub fn after(self, status: Status) -> Now {
        if status.is_end() {
            Now::Ended(status)
        } else {
            Now::Stopped(Stopped { pid: self.pid }, status)
        }
    }

    /// Blocks until this thread stops or ends.
    pub fn wait(self) -> io::Result<Now> {
        let status = wait_for(self.pid)?;
        Ok(self.after(status))
    }

    /// `interrupt` and `wait` in one. The stop that comes may be another one (a signal's delivery).
    pub fn stop(self) -> io::Result<Now> {
        self.interrupt()?;
        self.wait()
    }

    /// As [`Running::stop`], but signals that come first are delivered as they would have been. `None`: it has ended.
    pub fn stop_past_signals(mut self) -> io::Result<Option<Stopped>> {
        loop {
            match self.stop()? {
                Now::Ended(_) => return Ok(None),
                Now::Stopped(task, Status::SignalStop(signo)) => self = task.cont(signo)?,
                Now::Stopped(task, _) => return Ok(Some(task)),
            }
        }
    }
}

impl Stopped {
    /// For a thread whose stop was reported elsewhere.
    pub fn known(pid: i32) -> Stopped {
        Stopped { pid }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    fn resume(self, how: libc::c_uint, signo: i32) -> io::Result<Running> {
        match request(how, self.pid, 0, signo as usize) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
            _ => Ok(Running { pid: self.pid }),
        }
    }

    /// Lets it run; `signo` (0: none) is delivered when the stop was a signal's. A thread that was killed meanwhile counts as
    /// running: its end will be reported.
    pub fn cont(self, signo: i32) -> io::Result<Running> {
        self.resume(libc::PTRACE_CONT, signo)
    }

    /// Lets it run to the next entry of or return from a call (`SyscallStop`).
    pub fn cont_to_syscall(self) -> io::Result<Running> {
        self.resume(libc::PTRACE_SYSCALL, 0)
    }

    /// Has it stop again without running on, in a stop behind which the kernel still looks at the call that it was in. `None`: it
    /// has ended.
    pub fn stop_again(self) -> io::Result<Option<Stopped>> {
        let running = Running { pid: self.pid };
        running.interrupt()?;
        match self.cont(0)?.wait()? {
            Now::Ended(_) => Ok(None),
            Now::Stopped(task, Status::SignalStop(signo)) => task.cont(signo)?.stop_past_signals(),
            Now::Stopped(task, _) => Ok(Some(task)),
        }
    }

    /// Lets it execute one instruction.
    pub fn step(self) -> io::Result<Running> {
        self.resume(libc::PTRACE_SINGLESTEP, 0)
    }

    /// As [`Stopped::step`], delivering a signal: it stops at the first instruction of the handler.
    pub fn step_with(self, signo: i32) -> io::Result<Running> {
        self.resume(libc::PTRACE_SINGLESTEP, signo)
    }

    /// Leaves a group-stopped thread stopped, but so that `SIGCONT` is reported.
    pub fn listen(self) -> io::Result<Running> {
        self.resume(libc::PTRACE_LISTEN, 0)
    }

    /// Ends tracing; `signo` as in [`Stopped::cont`].
    pub fn detach(self, signo: i32) -> io::Result<()> {
        self.resume(libc::PTRACE_DETACH, signo).map(drop)
    }

    pub fn regs(&self) -> io::Result<Regs> {
        let mut regs = Regs::default();
        request(libc::PTRACE_GETREGS, self.pid, 0, &raw mut regs as usize)?;
        Ok(regs)
    }

    pub fn set_regs(&self, regs: &Regs) -> io::Result<()> {
        request(
            libc::PTRACE_SETREGS,
            self.pid,
            0,
            std::ptr::from_ref(regs) as usize,
        )
        .map(drop)
    }

    /// The XSAVE area in the standard (uncompacted) format.
    pub fn xsave(&self) -> io::Result<Vec<u8>> {
        let mut area = vec![0u8; cpu::xsave_size()];
        let mut iov = libc::iovec {
            iov_base: area.as_mut_ptr().cast(),
            iov_len: area.len(),
        };
        request(
            libc::PTRACE_GETREGSET,
            self.pid,
            NT_X86_XSTATE,
            &raw mut iov as usize,
        )?;
        area.truncate(iov.iov_len);
        Ok(area)
    }

    /// Sets the XSAVE area; shorter ones (of a CPU with fewer features) are filled up with zeros, longer ones are cut.
    pub fn set_xsave(&self, area: &[u8]) -> io::Result<()> {
        let mut area = area.to_vec();
        area.resize(cpu::xsave_size(), 0);
        let mut iov = libc::iovec {
            iov_base: area.as_mut_ptr().cast(),
            iov_len: area.len(),
        };
        request(
            libc::PTRACE_SETREGSET,
            self.pid,
            NT_X86_XSTATE,
            &raw mut iov as usize,
        )
        .map(drop)
    }

    /// Blocked signals; bit `n` is signal `n + 1`.
    pub fn sigmask(&self) -> io::Result<u64> {
        let mut mask = 0u64;
        request(
            libc::PTRACE_GETSIGMASK,
            self.pid,
            size_of::<u64>(),
            &raw mut mask as usize,
        )?;
        Ok(mask)
    }

    pub fn set_sigmask(&self, mask: u64) -> io::Result<()> {
        request(
            libc::PTRACE_SETSIGMASK,
            self.pid,
            size_of::<u64>(),
            &raw const mask as usize,
        )
        .map(drop)
    }

    /// The signal of a signal-delivery stop.
    pub fn siginfo(&self) -> io::Result<SigInfo> {
        let mut info = [0u8; 128];
        request(
            libc::PTRACE_GETSIGINFO,
            self.pid,
            0,
            info.as_mut_ptr() as usize,
        )?;
        Ok(info)
    }

    /// Replaces the details of the signal of a signal-delivery stop.
    pub fn set_siginfo(&self, info: &SigInfo) -> io::Result<()> {
        request(libc::PTRACE_SETSIGINFO, self.pid, 0, info.as_ptr() as usize).map(drop)
    }

    pub fn rseq(&self) -> io::Result<Rseq> {
        #[repr(C)]
        #[derive(Default)]
        struct Configuration {
            pointer: u64,
            size: u32,
            signature: u32,
            flags: u32,
            pad: u32,
        }
        let mut conf = Configuration::default();
        let size = size_of::<Configuration>();
        match request(
            PTRACE_GET_RSEQ_CONFIGURATION,
            self.pid,
            size,
            &raw mut conf as usize,
        ) {
            Ok(_) => Ok(Rseq {
                address: conf.pointer,
                size: conf.size,
                signature: conf.signature,
            }),
            // Kernels built without rseq do not know the request.
            Err(error) if error.raw_os_error() == Some(libc::EIO) => Ok(Rseq::default()),
            Err(error) => Err(error),
        }
    }

    /// The new pid of a fork-like event, the exit status of an exit event, the filter's data of a seccomp event.
    pub fn event_message(&self) -> io::Result<u64> {
        let mut message = 0u64;
        request(
            libc::PTRACE_GETEVENTMSG,
            self.pid,
            0,
            &raw mut message as usize,
        )?;
        Ok(message)
    }
}

/// The next report of any child or traced thread, without blocking; `None` when there is nothing to report (or no child).
pub fn wait_any() -> io::Result<Option<(i32, Status)>> {
    match wait_raw(-1, libc::WNOHANG) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        result => result,
    }
}

/// Like [`wait_any`] for one child; `ECHILD` when it is not ours (any more).
pub fn try_wait_for(pid: i32) -> io::Result<Option<Status>> {
    Ok(wait_raw(pid, libc::WNOHANG)?.map(|(_, status)| status))
}

/// Blocks until `pid` has something to report.
pub fn wait_for(pid: i32) -> io::Result<Status> {
    wait_raw(pid, 0)?.map(|(_, status)| status).ok_or_else(gone)
}

fn wait_raw(pid: i32, flags: i32) -> io::Result<Option<(i32, Status)>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a live int.
        match check(i64::from(unsafe {
            libc::waitpid(pid, &raw mut status, libc::__WALL | flags)
        })) {
            Ok(0) => return Ok(None),
            Ok(who) => return Ok(Some((who as i32, Status::decode(status)))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Blocks until `pid` stops. When it ends instead, answers `ESRCH` and leaves its end to be reported by another wait.
pub fn wait_stop(pid: i32) -> io::Result<Status> {
    loop {
        if let Some(status) = wait_stopped(pid, 0)? {
            return Ok(status);
        }
    }
}

/// Whether [`wait_stop`] would answer at once; `ESRCH` when the process has ended.
pub fn stop_is_there(pid: i32) -> io::Result<bool> {
    Ok(wait_stopped(pid, libc::WNOHANG | libc::WNOWAIT)?.is_some())
}

fn wait_stopped(pid: i32, flags: i32) -> io::Result<Option<Status>> {
    // SAFETY: all-zero is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WSTOPPED | libc::__WALL | flags;
    // SAFETY: `info` is live and writable.
    let result = unsafe { libc::waitid(libc::P_PID, pid as u32, &raw mut info, flags) };
    match check(i64::from(result)) {
        Ok(_) => {
            // SAFETY: `waitid` has filled the child's fields, or left zeros.
            let (who, code) = unsafe { (info.si_pid(), info.si_status()) };
            Ok((who != 0).then(|| Status::decode((code << 8) | 0x7f)))
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Err(gone()),
        Err(error) => Err(error),
    }
}
