//! Decisions that depend on a call's arguments: the same number may be the guest's, the host's, home's.

use super::fork;
use super::memory::{GuestMemory, Home};
use super::row::{Class, HostCall};
use super::{errno, nr};
use crate::sys::procfs;

const MAP_SHARED: u64 = 1;
const MAP_TYPE: u64 = 0xf;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_GROWSDOWN: u64 = 0x100;
const MAP_LOCKED: u64 = 0x2000;
const MAP_HUGETLB: u64 = 0x4_0000;
const PROT_WRITE: u64 = 2;

/// What to do with call `nr`, when its arguments say other than its row.
pub(super) fn by_arguments(
    nr: u64,
    args: &[u64; 6],
    mem: &dyn GuestMemory,
    home: &Home,
) -> Option<Class> {
    match nr {
        nr::MMAP => mmap(args),
        nr::OPEN => opens(args[0], None, mem, home),
        nr::OPENAT | nr::OPENAT2 => opens(args[1], Some(args[0] as i32), mem, home),
        nr::CLONE | nr::FORK | nr::VFORK | nr::CLONE3 => fork::obstacle(nr, args, mem),
        nr::PRCTL => super::shapes::prctl::class(args),
        nr::SETITIMER => (args[0] as u32 == 1 || args[0] as u32 == 2).then_some(CPU_TIMER),
        nr::TIMER_CREATE => cpu_clock(args[0]).map(|_| CPU_TIMER),
        nr::DUP2 | nr::DUP3 => home
            .channels
            .contains(args[1] as i32)
            .then_some(Class::Host(HostCall::DupOverChannel)),
        nr::CLOSE_RANGE => {
            let range = args[0] as u32..=args[1] as u32;
            let over = home
                .channels
                .iter()
                .any(|channel| range.contains(&(channel as u32)));
            (!over).then_some(Class::Forward)
        }
        nr::SETRLIMIT => (!kept_by_guest(args[0])).then_some(Class::Forward),
        nr::PRLIMIT64 => {
            let own = args[0] as i32 == 0 || args[0] as i32 == home.pid;
            (own && args[2] != 0 && kept_by_guest(args[1])).then_some(Class::Host(HostCall::Limit))
        }
        // Its target of an epoll descriptor comes by pointer.
        nr::KCMP => (args[2] as i32 == 7).then_some(Class::GoHome("kcmp of an epoll target")),
        nr::ARCH_PRCTL => (args[0] as u32 == 0x1012).then_some(Class::GoHome("CPUID faulting")),
        nr::PROCESS_VM_READV | nr::PROCESS_VM_WRITEV => {
            (args[0] as i32 == home.pid).then_some(Class::Host(HostCall::OwnMemory))
        }
        _ => None,
    }
}

const CPU_TIMER: Class = Class::GoHome("timer of CPU time");

fn mmap(args: &[u64; 6]) -> Option<Class> {
    let (prot, flags) = (args[2], args[3]);
    // 1 is MAP_SHARED, 3 MAP_SHARED_VALIDATE.
    let shared = flags & MAP_TYPE & MAP_SHARED != 0;
    if flags & MAP_HUGETLB != 0 {
        Some(Class::GoHome("huge pages"))
    } else if shared && flags & MAP_ANONYMOUS != 0 {
        Some(Class::GoHome("shared memory"))
    } else if shared && prot & PROT_WRITE != 0 {
        Some(Class::GoHome("writable shared mapping of a file"))
    } else if flags & MAP_LOCKED != 0 {
        Some(Class::GoHome("locked memory"))
    } else if flags & MAP_GROWSDOWN != 0 {
        Some(Class::GoHome("a mapping that grows"))
    } else if flags & MAP_ANONYMOUS != 0 {
        Some(Class::Host(HostCall::Native))
    } else {
        None
    }
}

/// What a process reads of its own memory is true at home only. `dir`: the descriptor that a relative path begins at.
fn opens(path: u64, dir: Option<i32>, mem: &dyn GuestMemory, home: &Home) -> Option<Class> {
    const LONGEST: usize = 64;
    const AT_FDCWD: i32 = -100;
    let bytes = mem.read_cstr(path, LONGEST).ok()?;
    let path = std::str::from_utf8(bytes.strip_suffix(&[0])?).ok()?;
    let memory = match path.starts_with('/') {
        true => procfs::tells_of_memory(path, home.pid),
        false => dir.is_some_and(|fd| fd != AT_FDCWD) && procfs::names_memory(path),
    };
    memory.then_some(Class::GoHome("reads of its own memory"))
}

/// Of a clock of CPU time: the pid it is of, 0 for the caller.
pub(super) fn cpu_clock(clock: u64) -> Option<i32> {
    const PROCESS: i32 = 2;
    const THREAD: i32 = 3;
    match clock as i32 {
        PROCESS | THREAD => Some(0),
        // The lowest three bits of a negative clock say what it is; 3 is a device's, by descriptor.
        dynamic if dynamic < 0 && dynamic & 7 != 3 => Some(!(dynamic >> 3)),
        _ => None,
    }
}

/// Limits that the kernel of the guest must keep too: CPU time, data, stack, address space, locked memory.
fn kept_by_guest(resource: u64) -> bool {
    matches!(resource as u32, 0 | 2 | 3 | 8 | 9)
}

/// A fixed answer for calls that the host's table settles.
pub(super) fn constant(call: HostCall) -> Option<i64> {
    (call == HostCall::ShmDetach).then_some(-errno::EINVAL)
}
