//! The empty process that a guest is made of: its own namespaces, no files, no rights.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use crate::image::Meta;
use crate::image::clocks::Clocks;
use crate::sys::namespace::{
    self, NEW_IPC, NEW_MOUNT, NEW_NET, NEW_PID, NEW_TIME, NEW_UTS, fork_sibling,
};
use crate::sys::process::{self, SIGKILL};
use crate::sys::ptrace::wait_for;

/// For guests of root.
const NOBODY: u32 = 65534;
/// Messages on the pipe: from the helper, with two pids and a flag; from the process when it is ready.
const STARTED: u8 = b'S';
const READY: u8 = b'R';
const STARTED_LEN: usize = 10;

/// A process that waits to be filled. It is a child of the caller.
#[derive(Debug, Default)]
pub struct Empty {
    pub pid: i32,
    /// Process 1 of its pid namespace, a child of the caller as well; 0: there is no such namespace.
    pub anchor: i32,
    /// Process 1 sets the number of the next thread, if the kernel lets it.
    pub numbers: Option<Numbers>,
    /// What must be added to its monotonic and boot-time clocks to get those of home, in nanoseconds: what the kernel does not add.
    pub clock_offsets: (i64, i64),
    /// What home's are ahead of ours.
    pub ahead: (i64, i64),
}

/// Starts one; it keeps copies of these descriptors, under the same numbers. What the kernel does not permit is left out, but for what makes the
/// process powerless.
pub fn start(meta: &Meta, kept: Vec<RawFd>) -> io::Result<Empty> {
    attempt(meta, &kept, true).or_else(|_| attempt(meta, &kept, false))
}

fn attempt(meta: &Meta, kept: &[RawFd], own_users: bool) -> io::Result<Empty> {
    let (reader, writer) = io::pipe()?;
    let (asks, serves) = UnixStream::pair()?;
    let offsets = meta.ahead(&Clocks::here());
    let plan = Plan {
        uid: if meta.home.uid == 0 {
            NOBODY
        } else {
            meta.home.uid
        },
        gid: if meta.home.gid == 0 {
            NOBODY
        } else {
            meta.home.gid
        },
        name: &meta.comm,
        stack: meta.stack_limit.0,
        offsets,
        own_users,
        kept,
        first: meta.threads.first().map_or(0, |thread| thread.tid),
    };
    let mut numbers = Numbers(asks);
    let helper = process::fork(|| exit_code(help(&plan, &writer, &mut numbers, &serves)))?;
    drop(writer);
    drop(serves);
    let (started, ready) = await_start(reader);
    wait_for(helper)?;
    let Some((pid, anchor, clocks)) = started else {
        return Err(io::Error::other("no process could be made for the guest"));
    };
    let clock_offsets = if clocks { (0, 0) } else { offsets };
    let empty = Empty {
        pid,
        anchor,
        numbers: (anchor > 0).then_some(numbers),
        clock_offsets,
        ahead: offsets,
    };
    if ready {
        return Ok(empty);
    }
    empty.destroy();
    Err(io::Error::other(
        "the guest could not be shut off from this machine",
    ))
}

impl Empty {
    /// Ends the processes.
    pub fn destroy(&self) {
        for pid in [self.pid, self.anchor].into_iter().filter(|pid| *pid > 0) {
            // One that ended already has nothing left to end; reports of stops come before that of the end.
            let _ = process::kill(pid, SIGKILL);
            while wait_for(pid).is_ok_and(|status| !status.is_end()) {}
        }
    }
}

struct Plan<'a> {
    uid: u32,
    gid: u32,
    name: &'a str,
    /// Wanted soft limit of the stack.
    stack: u64,
    offsets: (i64, i64),
    own_users: bool,
    kept: &'a [RawFd],
    /// The number that the process is to have in its namespace.
    first: i32,
}

/// Asks process 1 of a guest's pid namespace to number its next thread.
#[derive(Debug)]
pub struct Numbers(UnixStream);

impl Numbers {
    /// The next thread that is made in the namespace gets `number`, if the kernel allows that (it is for the caller to check).
    pub fn next(&mut self, number: i32) -> io::Result<()> {
        self.0.write_all(&number.to_le_bytes())?;
        self.0.read_exact(&mut [0])
    }
}

fn exit_code(result: io::Result<()>) -> i32 {
    i32::from(result.is_err())
}

/// What the helper and the process have to say, up to the end of the pipe: pids and whether the clocks are home's; whether it is ready.
fn await_start(mut pipe: PipeReader) -> (Option<(i32, i32, bool)>, bool) {
    let mut started = None;
    let mut ready = false;
    let mut tag = [0];
    while !(started.is_some() && ready) && pipe.read_exact(&mut tag).is_ok() {
        if tag[0] == READY {
            ready = true;
            continue;
        }
        let mut rest = [0; STARTED_LEN - 1];
        if pipe.read_exact(&mut rest).is_err() {
            break;
        }
        let number =
            |at: usize| i32::from_le_bytes(rest[at..at + 4].try_into().expect("four bytes"));
        started = Some((number(0), number(4), rest[8] != 0));
    }
    (started, ready)
}

/// The helper enters the namespaces and makes the process, as its sibling, in them.
fn help(
    plan: &Plan<'_>,
    pipe: &PipeWriter,
    numbers: &mut Numbers,
    serves: &UnixStream,
) -> io::Result<()> {
    if plan.own_users {
        if namespace::is_root() {
            process::set_user(plan.uid, plan.gid)?;
        }
        process::set_dumpable(true)?;
        namespace::unshare_user()?;
    }
    // When memory runs out, guests go first.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    for kind in [NEW_NET, NEW_IPC, NEW_UTS] {
        // Each is one wall more; the filter stands without them.
        let _ = namespace::unshare(kind);
    }
    let clocks = plan.offsets == (0, 0)
        || (namespace::unshare(NEW_TIME).is_ok()
            && namespace::set_time_offsets(plan.offsets.0, plan.offsets.1).is_ok());
    let own_pids = namespace::unshare(NEW_PID).is_ok();
    let last = OpenOptions::new()
        .write(true)
        .open("/proc/sys/kernel/ns_last_pid")
        .ok();
    if namespace::unshare(NEW_MOUNT).is_ok() {
        let _ = namespace::empty_root();
    }
    let anchor = if own_pids {
        fork_sibling(|| exit_code(anchor(serves, last.as_ref())))?
    } else {
        0
    };
    if own_pids {
        numbers.next(plan.first)?;
    }
    let pid = fork_sibling(|| exit_code(become_empty(plan, pipe)))?;
    let mut message = vec![STARTED];
    message.extend_from_slice(&pid.to_le_bytes());
    message.extend_from_slice(&anchor.to_le_bytes());
    message.push(u8::from(clocks));
    (&*pipe).write_all(&message)
}

/// Process 1 of the namespace only exists, so that the guest, which is not process 1, dies of signals like any other, and numbers
/// the guest's threads.
fn anchor(serves: &UnixStream, last: Option<&File>) -> io::Result<()> {
    let kept = last
        .map(|file| file.as_raw_fd())
        .into_iter()
        .chain([serves.as_raw_fd()]);
    close_all_but(kept)?;
    process::set_parent_death_signal(SIGKILL)?;
    let mut serves = serves;
    let mut number = [0; 4];
    while serves.read_exact(&mut number).is_ok() {
        let before = i32::from_le_bytes(number).saturating_sub(1);
        if let Some(file) = last {
            // Without the right to it, threads have other numbers here than at home.
            let _ = file.write_at(before.to_string().as_bytes(), 0);
        }
        serves.write_all(&[0])?;
    }
    Ok(())
}

fn become_empty(plan: &Plan<'_>, pipe: &PipeWriter) -> io::Result<()> {
    process::setsid()?;
    process::reset_signals()?;
    close_all_but(plan.kept.iter().copied().chain([pipe.as_raw_fd()]))?;
    if !plan.own_users && namespace::is_root() {
        process::set_user(plan.uid, plan.gid)?;
    }
    process::set_limit(0, process::RLIMIT_CORE, (0, 0))?;
    // The hard limit here is not ours to raise.
    let (_, hard) = process::limit(0, process::RLIMIT_STACK)?;
    process::set_limit(0, process::RLIMIT_STACK, (plan.stack.min(hard), hard))?;
    process::set_name(plan.name)?;
    process::drop_capabilities()?;
    process::set_no_new_privs()?;
    process::set_dumpable(true)?;
    process::set_parent_death_signal(SIGKILL)?;
    // From now on it may be stopped at any instruction: the builder closes what is open.
    (&*pipe).write_all(&[READY])?;
    loop {
        process::pause();
    }
}

fn close_all_but(kept: impl Iterator<Item = i32>) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.map(|fd| fd as u32).collect();
    kept.sort_unstable();
    let mut from = 0;
    for fd in kept {
        if from < fd {
            process::close_range(from, fd - 1)?;
        }
        from = fd + 1;
    }
    process::close_range(from, u32::MAX)
}
