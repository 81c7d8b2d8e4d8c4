//! fork, vfork, clone and clone3: one picture of what is asked.

use super::errno;
use super::memory::{GuestMemory, bytes, word64};
use super::nr;
use super::row::Class;

pub const CLONE_VM: u64 = 0x100;
pub const CLONE_FS: u64 = 0x200;
pub const CLONE_FILES: u64 = 0x400;
pub const CLONE_SIGHAND: u64 = 0x800;
pub const CLONE_PIDFD: u64 = 0x1000;
pub const CLONE_PTRACE: u64 = 0x2000;
pub const CLONE_VFORK: u64 = 0x4000;
pub const CLONE_PARENT: u64 = 0x8000;
pub const CLONE_THREAD: u64 = 0x1_0000;
pub const CLONE_SYSVSEM: u64 = 0x4_0000;
pub const CLONE_SETTLS: u64 = 0x8_0000;
pub const CLONE_PARENT_SETTID: u64 = 0x10_0000;
pub const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
pub const CLONE_DETACHED: u64 = 0x40_0000;
pub const CLONE_UNTRACED: u64 = 0x80_0000;
pub const CLONE_CHILD_SETTID: u64 = 0x100_0000;
pub const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// Flags that a guest's fork can have.
const KNOWN: u64 = CLONE_VM
    | CLONE_VFORK
    | CLONE_PIDFD
    | CLONE_SETTLS
    | CLONE_PARENT_SETTID
    | CLONE_CHILD_CLEARTID
    | CLONE_CHILD_SETTID
    | CLONE_DETACHED
    | CLONE_UNTRACED
    | CLONE_CLEAR_SIGHAND;

/// Flags that a thread of a guest must have.
const THREAD: u64 = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;
/// Flags that it can have.
const MAY_THREAD: u64 = THREAD
    | CLONE_SYSVSEM
    | CLONE_SETTLS
    | CLONE_PARENT_SETTID
    | CLONE_CHILD_CLEARTID
    | CLONE_CHILD_SETTID
    | CLONE_DETACHED;

/// What a fork-like call asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fork {
    /// `CLONE_*`, without the signal.
    pub flags: u64,
    /// Signal to the parent when the child ends; 0 for none.
    pub exit_signal: u64,
    /// Stack pointer of the child; 0 for the parent's.
    pub stack: u64,
    /// Where the child's pid is stored in the parent (`CLONE_PARENT_SETTID`).
    pub parent_tid: u64,
    /// Where the child's pid is stored or cleared in the child.
    pub child_tid: u64,
    /// FS base of the child (`CLONE_SETTLS`).
    pub tls: u64,
    /// Where the descriptor of the child is stored in the parent (`CLONE_PIDFD`).
    pub pidfd: u64,
    /// clone3's set_tid or a cgroup was asked for.
    pub unusual: bool,
}

/// Reads the arguments of a fork-like call.
pub fn parse(nr: u64, args: &[u64; 6], mem: &dyn GuestMemory) -> Result<Fork, i32> {
    const SIGNAL: u64 = 0xff;
    const SIGCHLD: u64 = 17;
    Ok(match nr {
        nr::FORK => Fork {
            exit_signal: SIGCHLD,
            ..Fork::default()
        },
        nr::VFORK => Fork {
            flags: CLONE_VM | CLONE_VFORK,
            exit_signal: SIGCHLD,
            ..Fork::default()
        },
        nr::CLONE => Fork {
            flags: args[0] & 0xffff_ffff & !SIGNAL,
            exit_signal: args[0] & SIGNAL,
            stack: args[1],
            parent_tid: args[2],
            child_tid: args[3],
            tls: args[4],
            // The old call has one place for both.
            pidfd: args[2],
            unusual: false,
        },
        _ => parse3(args, mem)?,
    })
}

/// `struct clone_args`: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, its size, cgroup.
fn parse3(args: &[u64; 6], mem: &dyn GuestMemory) -> Result<Fork, i32> {
    const FULL: usize = 88;
    const FIRST: u64 = 64;
    let size = args[1];
    if size < FIRST {
        return Err(errno::EINVAL as i32);
    }
    if size > super::memory::PAGE {
        return Err(errno::E2BIG as i32);
    }
    let mut raw = bytes(mem, args[0], size as usize).map_err(|_| errno::EFAULT as i32)?;
    if raw.iter().skip(FULL).any(|&byte| byte != 0) {
        return Err(errno::E2BIG as i32);
    }
    raw.resize(FULL, 0);
    let word = |index: usize| word64(&raw, index * 8);
    let (stack, stack_size) = (word(5), word(6));
    if (stack == 0) != (stack_size == 0) || word(4) > 64 {
        return Err(errno::EINVAL as i32);
    }
    Ok(Fork {
        flags: word(0),
        pidfd: word(1),
        child_tid: word(2),
        parent_tid: word(3),
        exit_signal: word(4),
        stack: stack.wrapping_add(stack_size),
        tls: word(7),
        unusual: word(8) != 0 || word(9) != 0 || word(10) != 0,
    })
}

/// Why this fork cannot be made by halves; `None` when it can (or fails, which the host then finds).
pub(super) fn obstacle(nr: u64, args: &[u64; 6], mem: &dyn GuestMemory) -> Option<Class> {
    let fork = match parse(nr, args, mem) {
        Ok(fork) => fork,
        Err(error) => return Some(Class::Refuse(i64::from(error))),
    };
    if fork.flags & CLONE_THREAD != 0 {
        let usual = fork.flags & THREAD == THREAD && fork.flags & !MAY_THREAD == 0 && !fork.unusual;
        (!usual).then_some(Class::GoHome("unusual thread"))
    } else if fork.flags & CLONE_VM != 0 && fork.flags & CLONE_VFORK == 0 {
        Some(Class::GoHome("memory shared with a child"))
    } else if fork.unusual || fork.flags & !KNOWN != 0 {
        Some(Class::GoHome("unusual clone flags"))
    } else {
        None
    }
}
