//! A stopped process as data: what capture makes, what restore builds, what a migration sends and a checkpoint writes.

pub mod areas;
pub mod backing;
pub mod capture;
pub mod check;
pub mod clocks;
mod contents;
pub mod copier;
mod finish;
mod frames;
pub mod gadget;
pub mod layout;
pub mod pages;
pub mod ranges;
pub mod relayout;
pub mod restore;
pub mod sandbox;
mod send;
mod squeeze;
pub mod store;
mod track;
pub mod vdso;

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::image::clocks::Moment;
use crate::image::ranges::Range;
use crate::sys::cpu;
use crate::sys::process::realtime_ns;
use crate::sys::regs::REGS;
use crate::wire::channel::SIGINFO_LEN;
use crate::wire::channel::{BIG, THREADS};
use crate::wire::cpu::Cpu;

/// Register state that is in use in every process, because the kernel sets it: access by memory protection keys.
const KERNELS: u64 = 1 << 9;
/// Processes with more threads stay at home.
pub const MAX_THREADS: usize = 500;

/// All of a process but the contents of its memory. Encoded as one length-prefixed frame before the pages.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    pub home: HomeId,
    /// Base of the first stub's range, the same at home and in every guest.
    pub stub: u64,
    pub threads: Vec<Thread>,
    pub areas: Vec<Area>,
    pub mm: MmLayout,
    /// Entry `n` is the action of signal `n + 1`, as `rt_sigaction` gives it: handler, flags, restorer, mask.
    pub actions: Vec<[u64; 4]>,
    /// Soft and hard RLIMIT_STACK, needed where the stack grows.
    pub stack_limit: (u64, u64),
    /// Soft RLIMIT_DATA and RLIMIT_AS, in bytes.
    pub memory_limits: [u64; 2],
    /// CLOCK_MONOTONIC and CLOCK_BOOTTIME of the home node minus CLOCK_REALTIME, in nanoseconds.
    pub monotonic_offset_ns: i64,
    pub boottime_offset_ns: i64,
    /// When it was made.
    pub sent: Moment,
    /// SHA-256 of the vDSO's code that the process has seen at home.
    pub vdso_hash: String,
    /// CPU time at other nodes so far, in nanoseconds.
    pub cpu_away_ns: u64,
    pub nmigs: u32,
    /// What it may have come to depend on.
    pub needs: Cpu,
    /// Name (`/proc/PID/comm`).
    pub comm: String,
    /// User's word on the program interface (`-e`, `-w`, …) that the host must know.
    pub unsupported: u8,
    /// Anonymous memory of which home has the same contents as this image, in ascending order; `None`: all of it.
    pub home_has: Option<Vec<Range>>,
}

impl Meta {
    /// Takes register state out that the process does not depend on: the receiver may not have it.
    pub fn cut_state(&mut self) {
        let state = self.needs.state();
        for thread in &mut self.threads {
            cpu::keep_components(&mut thread.xsave, state);
        }
    }

    /// As [`Meta::cut_state`], if nothing is lost by it.
    ///
    /// # Errors
    ///
    /// In words, when the process uses register state that it was not to see.
    pub fn fit_state(&mut self) -> io::Result<()> {
        let state = self.needs.state() | KERNELS;
        let mut used = self
            .threads
            .iter()
            .map(|thread| cpu::xsave_in_use(&thread.xsave));
        if let Some(more) = used.find(|used| used & !state != 0) {
            let component = (more & !state).trailing_zeros();
            return Err(io::Error::other(format!(
                "it uses register state {component}, which it was not to see"
            )));
        }
        self.cut_state();
        Ok(())
    }

    /// What can be told of an early image by itself: of its threads, it has but the first one's number.
    ///
    /// # Errors
    ///
    /// `InvalidData` when it cannot be the image of a process.
    pub fn check_sketch(&self) -> io::Result<()> {
        match self.stub < layout::TASK_END && self.threads.len() == 1 {
            true => Ok(()),
            false => Err(incomplete()),
        }
    }

    /// What can be told of an image from the wire by itself.
    ///
    /// # Errors
    ///
    /// `InvalidData` when it cannot be the image of a process.
    pub fn check(&self) -> io::Result<()> {
        let signal =
            |info: &Vec<u8>| info.len() == SIGINFO_LEN && matches!(info[..4], [1..=64, 0, 0, 0]);
        let listed = self.home_has.as_deref().unwrap_or_default();
        let ascends = |pair: &[Range]| pair[0].1 <= pair[1].0;
        if !listed.windows(2).all(ascends) || listed.iter().any(|range| range.0 >= range.1) {
            return Err(incomplete());
        }
        let first = self.stub;
        let stub = |stub: u64| stub == first || (first + THREADS..first + BIG).contains(&stub);
        let whole = |thread: &Thread| {
            let state = thread.regs.len() == REGS && thread.pending.iter().all(signal);
            state && stub(thread.stub) && thread.channel_fd >= 0
        };
        let number = (1..=MAX_THREADS).contains(&self.threads.len());
        // The stub and what lies behind it must not wrap around.
        if first < layout::TASK_END
            && number
            && self.threads.iter().all(whole)
            && self.actions.len() == 64
        {
            return Ok(());
        }
        Err(incomplete())
    }
}

fn incomplete() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the image is not complete")
}

/// Whose process it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeId {
    pub node: Ipv4Addr,
    pub pid: i32,
    pub tree: u64,
    pub uid: u32,
    pub gid: u32,
}

impl Default for HomeId {
    fn default() -> Self {
        HomeId {
            node: Ipv4Addr::UNSPECIFIED,
            pid: 0,
            tree: 0,
            uid: 0,
            gid: 0,
        }
    }
}

/// One thread, stopped outside of the kernel: a call that was interrupted is set up to be made again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// As home numbers it.
    pub tid: i32,
    /// Base of its stub's range at home.
    pub stub: u64,
    /// Number of its channel's descriptor in the deputy.
    pub channel_fd: i32,
    /// `user_regs_struct`: 27 words in the kernel's order (r15 … gs).
    pub regs: Vec<u64>,
    /// XSAVE area in the standard (uncompacted) format, as NT_X86_XSTATE gives it.
    pub xsave: Vec<u8>,
    pub mask: u64,
    /// `stack_t`: pointer, flags, size.
    pub altstack: (u64, i32, u64),
    /// rseq: address, size, signature; address 0 when not registered.
    pub rseq: (u64, u32, u32),
    /// The home kernel knows that too: the thread was not made elsewhere.
    pub rseq_at_home: bool,
    /// Robust list head and its length; 0 when none.
    pub robust: (u64, u64),
    pub clear_tid: u64,
    /// Signals taken at home, not yet delivered: `siginfo_t` of 128 bytes each.
    pub pending: Vec<Vec<u8>>,
    pub resume: Resume,
    /// The call that it will repeat, and the kernel's code for how (512 … 516, negative): a handler that runs first may
    /// make it fail with `EINTR` instead.
    pub interrupted: Option<(u64, i64)>,
}

/// How the call that a thread will repeat first is to be continued rather than begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resume {
    #[default]
    Nothing,
    /// The kernel's restart block at home holds it: the first call is continued by `restart_syscall` in the deputy.
    RestartBlock { nr: u64 },
    /// A call with a time-out that ends at this time: CLOCK_REALTIME in nanoseconds, so that the time on the way counts.
    TimeLeft { nr: u64, until: u64 },
    /// A write that has transferred this many bytes already.
    Written { nr: u64, bytes: u64 },
}

/// One area of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    pub start: u64,
    pub end: u64,
    /// PROT_READ | PROT_WRITE | PROT_EXEC.
    pub prot: u32,
    pub kind: Kind,
    pub shared: bool,
    /// Backing file, for areas that map one: path as `/proc/PID/maps` shows it, offset, device and inode.
    pub file: Option<FileArea>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileArea {
    pub path: String,
    pub offset: u64,
    pub dev: u64,
    pub inode: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    #[default]
    Normal,
    Heap,
    Stack,
    Vdso,
    Vvar,
    Vsyscall,
    /// The stub's own range.
    Stub,
    /// Shared anonymous memory (without a file that anyone could name). It moves with the only process that maps it.
    Common,
}

/// `prctl_mm_map` without its pointers to auxv and exe; read from `/proc/PID/stat` and, for brk, from the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MmLayout {
    pub start_code: u64,
    pub end_code: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub brk: u64,
    pub start_stack: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
}

impl Resume {
    /// Call `nr` has this much time left, now.
    pub fn until(nr: u64, left: Duration) -> Resume {
        let now = realtime_ns().max(0) as u64;
        Resume::TimeLeft {
            nr,
            until: now.saturating_add(left.as_nanos().min(u128::from(u64::MAX)) as u64),
        }
    }

    /// The call that it is about.
    pub fn nr(&self) -> Option<u64> {
        match self {
            Resume::Nothing => None,
            Resume::RestartBlock { nr }
            | Resume::TimeLeft { nr, .. }
            | Resume::Written { nr, .. } => Some(*nr),
        }
    }

    /// The time that is left now.
    pub fn left(&self) -> Option<Duration> {
        match self {
            Resume::TimeLeft { until, .. } => Some(Duration::from_nanos(
                until.saturating_sub(realtime_ns().max(0) as u64),
            )),
            _ => None,
        }
    }
}
