//! Filters of system calls: building them, installing them, and serving the listener of those that notify.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::errno::check;

/// What a filter does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    /// The listener decides.
    Notify,
    /// A tracer with `TRACESECCOMP` sees an event with this number as its message.
    Trace(u16),
    /// The call fails with this error.
    Errno(u16),
    Kill,
}

/// One test of an argument: `half & mask == equals`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arg {
    /// Number of the argument (0 to 5) for its lower 32 bits, plus [`HIGH`] for its upper ones; or [`CALLER_HIGH`].
    pub at: usize,
    pub mask: u32,
    pub equals: u32,
}

/// Added to the number of an argument: its upper half is meant.
pub const HIGH: usize = 6;
/// In place of an argument: the upper half of the address that the call is made from.
pub const CALLER_HIGH: usize = 12;

/// A call, tests that must all hold, and what then happens. The first rule that fits decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub nr: u64,
    pub tests: Vec<Arg>,
    pub verdict: Verdict,
}

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQ: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_CALLER: u32 = 8;
const OFFSET_ARGS: u32 = 16;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
/// Bytes of one instruction.
const INSTRUCTION: usize = 8;
/// The kernel's limit.
const MAX_INSTRUCTIONS: usize = 4096;

/// `struct seccomp_notif`, in words that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    pub id: u64,
    /// Thread that made the call, as seen from here.
    pub pid: i32,
    pub nr: i32,
    /// Architecture of the call; [`NATIVE`] for x86-64.
    pub arch: u32,
    pub ip: u64,
    pub args: [u64; 6],
}

/// `Notification::arch` of an ordinary call.
pub const NATIVE: u32 = AUDIT_ARCH_X86_64;

/// The answer to a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    /// The call returns this.
    Value(i64),
    /// The call fails with this positive error number (512 and up: the kernel's restart codes).
    Error(i32),
    /// The call is made natively.
    Continue,
}

/// A program for [`install`] (or for installation inside another process): what `rules` say, `default` for all other calls, and `foreign`
/// for calls of another architecture than x86-64.
pub fn program(rules: &[Rule], default: Verdict, foreign: Verdict) -> Vec<u8> {
    let mut code = Vec::new();
    put(&mut code, LOAD, 0, 0, OFFSET_ARCH);
    put(&mut code, JUMP_EQ, 1, 0, AUDIT_ARCH_X86_64);
    put(&mut code, RETURN, 0, 0, action(foreign));
    put(&mut code, LOAD, 0, 0, OFFSET_NR);
    for rule in rules {
        put_rule(&mut code, rule);
    }
    put(&mut code, RETURN, 0, 0, action(default));
    assert!(
        code.len() <= MAX_INSTRUCTIONS * INSTRUCTION,
        "the filter is too long for the kernel"
    );
    code
}

/// One rule. On entry and on fall-through the accumulator holds the call's number.
fn put_rule(code: &mut Vec<u8>, rule: &Rule) {
    let tests: usize = rule
        .tests
        .iter()
        .map(|test| 2 + usize::from(test.mask != !0))
        .sum();
    // Without tests: the verdict. With tests: them, the verdict, and a reload of the number where a test has failed.
    let body = if rule.tests.is_empty() { 1 } else { tests + 2 };
    put(code, JUMP_EQ, 0, body as u8, rule.nr as u32);
    let mut left = tests;
    for test in &rule.tests {
        put(code, LOAD, 0, 0, word_of(test.at));
        left -= 1;
        if test.mask != !0 {
            put(code, AND, 0, 0, test.mask);
            left -= 1;
        }
        left -= 1;
        put(code, JUMP_EQ, 0, left as u8 + 1, test.equals);
    }
    put(code, RETURN, 0, 0, action(rule.verdict));
    if !rule.tests.is_empty() {
        put(code, LOAD, 0, 0, OFFSET_NR);
    }
}

/// Where the kernel has what is tested.
fn word_of(at: usize) -> u32 {
    match at {
        CALLER_HIGH => OFFSET_CALLER + 4,
        _ => OFFSET_ARGS + (at % HIGH * 8 + at / HIGH * 4) as u32,
    }
}

fn put(code: &mut Vec<u8>, op: u16, jt: u8, jf: u8, k: u32) {
    code.extend_from_slice(&op.to_le_bytes());
    code.extend_from_slice(&[jt, jf]);
    code.extend_from_slice(&k.to_le_bytes());
}

fn action(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Allow => libc::SECCOMP_RET_ALLOW,
        Verdict::Notify => libc::SECCOMP_RET_USER_NOTIF,
        Verdict::Trace(data) => libc::SECCOMP_RET_TRACE | u32::from(data),
        Verdict::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
        Verdict::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    }
}

/// Flags of an installation with a listener: also used where the call is made inside another process.
pub const INSTALL_FLAGS: u64 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE_RECV;
/// More flags: for all threads of the process, which have the same filters so far.
pub const ALL_THREADS: u64 = libc::SECCOMP_FILTER_FLAG_TSYNC | TSYNC_ESRCH;
const TSYNC_ESRCH: u64 = 1 << 4;
/// Operation of `seccomp(2)` that installs a filter.
pub const SET_MODE_FILTER: u64 = libc::SECCOMP_SET_MODE_FILTER as u64;
const WAIT_KILLABLE_RECV: u64 = 1 << 5;

/// Installs a program in the calling thread for good and gives its listener. Needs `no_new_privs` or CAP_SYS_ADMIN;
/// `EBUSY` when a filter with a listener is installed already; `EINVAL` on kernels before 5.19.
pub fn install(program: &[u8]) -> io::Result<Listener> {
    let instructions: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION)
        .map(|word| libc::sock_filter {
            code: u16::from_le_bytes([word[0], word[1]]),
            jt: word[2],
            jf: word[3],
            k: u32::from_le_bytes([word[4], word[5], word[6], word[7]]),
        })
        .collect();
    let fprog = libc::sock_fprog {
        len: instructions.len() as u16,
        filter: instructions.as_ptr().cast_mut(),
    };
    // SAFETY: `fprog` describes `instructions`, which outlives the call; the kernel copies it.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SET_MODE_FILTER,
            INSTALL_FLAGS,
            &raw const fprog,
        )
    })?;
    // SAFETY: the kernel has just given us this descriptor.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    Ok(Listener { fd })
}

/// `sock_fprog` as a process needs it that has `program` at `addr`.
pub fn fprog_bytes(program: &[u8], addr: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&((program.len() / INSTRUCTION) as u64).to_le_bytes());
    bytes[8..].copy_from_slice(&addr.to_le_bytes());
    bytes
}

/// The descriptor by which notifications are received and answered.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
}

impl From<OwnedFd> for Listener {
    fn from(fd: OwnedFd) -> Listener {
        Listener { fd }
    }
}

impl From<Listener> for OwnedFd {
    fn from(listener: Listener) -> OwnedFd {
        listener.fd
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

const ADDFD_FLAG_SETFD: u32 = 1;
const ADDFD_FLAG_SEND: u32 = 2;
const IOC_RECV: u64 = 0xc050_2100;
const IOC_SEND: u64 = 0xc018_2101;
const IOC_ADDFD: u64 = 0x4018_2103;
const IOC_SET_FLAGS: u64 = 0x4008_2104;
const SYNC_WAKE_UP: u64 = 1;
const USER_NOTIF_FLAG_CONTINUE: u32 = 1;

impl Listener {
    /// Waits until a notification is there; false when the time is over. When no process with this filter is left, `recv` will
    /// answer `None`.
    pub fn wait_readable(&self, timeout_ms: i32) -> io::Result<bool> {
        let mut poll = libc::pollfd {
            fd: self.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: `poll` is one live element.
        match check(i64::from(unsafe {
            libc::poll(&raw mut poll, 1, timeout_ms)
        })) {
            Ok(_) => Ok(poll.revents & libc::POLLIN != 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next notification; blocks when there is none (poll first). `None` when the call that was to be notified is gone.
    pub fn recv(&self) -> io::Result<Option<Notification>> {
        // SAFETY: all-zero is a valid `seccomp_notif`, and the kernel demands it.
        let mut raw: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the request writes one `seccomp_notif`.
        let result = unsafe { libc::ioctl(self.as_raw_fd(), IOC_RECV, &raw mut raw) };
        match check(i64::from(result)) {
            Ok(_) => Ok(Some(Notification {
                id: raw.id,
                pid: raw.pid as i32,
                nr: raw.data.nr,
                arch: raw.data.arch,
                ip: raw.data.instruction_pointer,
                args: raw.data.args,
            })),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Answers a notification; `false` when the caller is gone.
    pub fn send(&self, id: u64, response: Response) -> io::Result<bool> {
        let (val, error, flags) = match response {
            Response::Value(val) => (val, 0, 0),
            Response::Error(errno) => (0, -errno, 0),
            Response::Continue => (0, 0, USER_NOTIF_FLAG_CONTINUE),
        };
        let raw = libc::seccomp_notif_resp {
            id,
            val,
            error,
            flags,
        };
        // SAFETY: the request reads one `seccomp_notif_resp`.
        let result = unsafe { libc::ioctl(self.as_raw_fd(), IOC_SEND, &raw const raw) };
        present(check(i64::from(result)))
    }

    /// Puts a copy of `fd` into the caller of notification `id` and gives its number there. `at`: that number, else the lowest free one.
    /// `answer`: the number is also the result of the call.
    pub fn add_fd(
        &self,
        id: u64,
        fd: BorrowedFd<'_>,
        at: Option<u32>,
        cloexec: bool,
        answer: bool,
    ) -> io::Result<i32> {
        let flags = if at.is_some() { ADDFD_FLAG_SETFD } else { 0 }
            | if answer { ADDFD_FLAG_SEND } else { 0 };
        let raw = libc::seccomp_notif_addfd {
            id,
            flags,
            srcfd: fd.as_raw_fd() as u32,
            newfd: at.unwrap_or(0),
            newfd_flags: if cloexec { libc::O_CLOEXEC as u32 } else { 0 },
        };
        // SAFETY: the request reads one `seccomp_notif_addfd`.
        check(i64::from(unsafe {
            libc::ioctl(self.as_raw_fd(), IOC_ADDFD, &raw const raw)
        }))
        .map(|n| n as i32)
    }

    /// From now on both sides wake each other on the same CPU: faster with one caller at a time. Kernels before 6.6 answer
    /// an error, which can be ignored.
    pub fn set_sync_wake_up(&self) -> io::Result<()> {
        // SAFETY: the request takes its argument by value.
        check(i64::from(unsafe {
            libc::ioctl(self.as_raw_fd(), IOC_SET_FLAGS, SYNC_WAKE_UP)
        }))
        .map(drop)
    }
}

fn present(result: io::Result<i64>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would; gives the returned action.
    fn run(code: &[u8], nr: u32, args: [u64; 6]) -> u32 {
        let mut data = [0u8; 64];
        data[..4].copy_from_slice(&nr.to_le_bytes());
        data[4..8].copy_from_slice(&AUDIT_ARCH_X86_64.to_le_bytes());
        for (chunk, arg) in data[16..].chunks_exact_mut(8).zip(args) {
            chunk.copy_from_slice(&arg.to_le_bytes());
        }
        let (mut at, mut acc) = (0, 0u32);
        loop {
            let word = &code[at * 8..at * 8 + 8];
            let k = u32::from_le_bytes(word[4..].try_into().unwrap());
            at += 1;
            match u16::from_le_bytes([word[0], word[1]]) {
                LOAD => {
                    acc = u32::from_le_bytes(data[k as usize..k as usize + 4].try_into().unwrap())
                }
                AND => acc &= k,
                JUMP_EQ => at += usize::from(if acc == k { word[2] } else { word[3] }),
                RETURN => return k,
                op => panic!("instruction {op}"),
            }
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let test = |at, mask, equals| Arg { at, mask, equals };
        let rules = [
            Rule {
                nr: 2,
                tests: vec![test(1, !3, 0), test(HIGH, !0, 5)],
                verdict: Verdict::Notify,
            },
            Rule {
                nr: 2,
                tests: vec![test(0, !0, 9)],
                verdict: Verdict::Errno(1),
            },
            Rule {
                nr: 3,
                tests: vec![],
                verdict: Verdict::Kill,
            },
        ];
        let code = program(&rules, Verdict::Allow, Verdict::Kill);
        assert_eq!(
            run(&code, 2, [5 << 32, 3, 0, 0, 0, 0]),
            action(Verdict::Notify)
        );
        assert_eq!(
            run(&code, 2, [5 << 32, 4, 0, 0, 0, 0]),
            action(Verdict::Allow)
        );
        assert_eq!(run(&code, 2, [9, 0, 0, 0, 0, 0]), action(Verdict::Errno(1)));
        assert_eq!(run(&code, 2, [8, 0, 0, 0, 0, 0]), action(Verdict::Allow));
        assert_eq!(run(&code, 3, [0; 6]), action(Verdict::Kill));
        assert_eq!(run(&code, 4, [0; 6]), action(Verdict::Allow));
    }
}
