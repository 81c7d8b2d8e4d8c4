//! Getting into a running process: stop it by ptrace, put the stub in, let go. From then on everything is asked over the channel.
//!
//! Between the first register change and the last the process is not its own; should the mover be killed in those microseconds,
//! it cannot be saved. Everything before and after is safe: the stub rolls back by itself.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::home::mover::{FromMover, times};
use crate::image::{Area, Kind, Thread, areas, capture, check, vdso};
use crate::migrate::deputy::Deputy;
use crate::migrate::fault;
use crate::migrate::source::Stayed;
use crate::migrate::tracee;
use crate::sys::errno::is_gone;
use crate::sys::inject::Injector;
use crate::sys::process::random;
use crate::sys::ptrace::{Running, Stopped};
use crate::sys::regs::index::RIP;
use crate::sys::socket::{AbstractListener, peer_pid};
use crate::sys::status::Status;
use crate::sys::stub;
use crate::sys::{abi, mem, procfs, tracked};
use crate::syscall::Fds;
use crate::wire::channel::{
    BIG, CODE, DATA, FRAME, FRAME_SIZE, PLACES, ROOM, STACK_TOP, STUB_SIZE, THREADS, stub_of,
};
use crate::wire::frame::write_frame;

/// How long a process may stay in the kernel before a move is given up.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// An alternate stack that `rt_sigreturn` finds invalid and therefore ignores: the process keeps the one that it has, which cannot be
/// read from outside.
const KEEP_ALTSTACK: (u64, i32, u64) = (0, 7, 0);

/// One thread of a process that stands in its stub and serves the mover.
pub struct HeldThread {
    pub deputy: Deputy,
    pub thread: Thread,
}

/// A process all of whose threads do. The first is the one whose stub has the process's signal handler.
pub struct Held {
    pub threads: Vec<HeldThread>,
    pub areas: Vec<Area>,
}

/// Stops `pid`, puts the stubs in and connects them; `tids` are the threads that are stopped already. On failure the process runs
/// on.
pub fn seize(
    pid: i32,
    mut tids: Vec<i32>,
    filters: u32,
    warden: &mut UnixStream,
    lost: &str,
) -> Result<Held, Stayed> {
    fault::point("source.stop")?;
    let entered = stop(pid, &mut tids, warden).and_then(|()| enter(pid, &tids, filters, lost));
    match entered {
        Ok(entry) => accept(entry),
        Err(why) => {
            // Detaching lets them run on; from what died meanwhile, or is on its way already, there is nothing to detach.
            for tid in tids {
                let _ = tracee::detach(tid);
            }
            Err(why)
        }
    }
}

/// Seizes and stops every thread, also those that come up meanwhile; `tids` are those seized, in the order of their numbers but
/// for the first.
pub fn stop(pid: i32, tids: &mut Vec<i32>, warden: &mut UnixStream) -> Result<(), Stayed> {
    let deadline = Instant::now() + STOP_WAIT;
    loop {
        let found = procfs::threads(pid)?;
        let new: Vec<i32> = found
            .into_iter()
            .filter(|tid| !tids.contains(tid))
            .collect();
        if new.is_empty() {
            break;
        }
        let before = tids.len();
        for tid in new {
            match Running::seize(tid, 0) {
                Ok(_) => tids.push(tid),
                // It ended since it was listed.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let seized = tids[before..].to_vec();
        for tid in &seized {
            match tracee::interrupt(*tid) {
                Err(error) if !is_gone(&error) => return Err(error.into()),
                _ => {}
            }
        }
        write_frame(warden, &FromMover::Seized)?;
        for tid in seized {
            if !stopped(tid, deadline)? {
                tids.retain(|known| *known != tid);
            }
        }
    }
    if tids.contains(&pid) {
        Ok(())
    } else {
        Err(Stayed("its first thread has ended".to_owned()))
    }
}

/// Waits for the stop; signals that come first are delivered as they would have been. False: the thread has ended.
fn stopped(tid: i32, deadline: Instant) -> Result<bool, Stayed> {
    loop {
        let Some(status) = tracee::wait_until(tid, deadline)? else {
            return Err(Stayed(
                "it is busy in the kernel and cannot be stopped now".to_owned(),
            ));
        };
        match status {
            Status::Event(..) => {
                capture::mend_interruption(tid)?;
                return Ok(true);
            }
            Status::SignalStop(signo) => {
                capture::mend_interruption(tid)?;
                tracee::cont(tid, signo)?;
                tracee::interrupt(tid)?;
            }
            Status::GroupStop(_) => return Err(Stayed("it is stopped".to_owned())),
            Status::Exited(_) | Status::Signaled(..) => return Ok(false),
            Status::Continued | Status::SyscallStop => {}
        }
    }
}

/// Why a deputy is left alone.
pub const AWAY: &str = "it is away, or another mover has it";

/// Whether the process is a deputy, that is away. To be stopped would interrupt what it does for its guest.
pub fn is_deputy(pid: i32) -> io::Result<bool> {
    serving(pid).map(|base| base.is_some())
}

/// The base of the first stub of a process that is a deputy.
pub fn serving(pid: i32) -> io::Result<Option<u64>> {
    let areas = areas::areas(pid)?;
    let Some(base) = areas.iter().find_map(|area| stub_at(pid, area)) else {
        return Ok(None);
    };
    let mut serving = [0; 4];
    mem::read_exact(pid, base + stub::serving(), &mut serving)?;
    Ok((serving != [0; 4]).then_some(base))
}

struct Entry {
    pid: i32,
    listener: AbstractListener,
    threads: Vec<Thread>,
    areas: Vec<Area>,
}

fn enter(pid: i32, tids: &[i32], filters: u32, lost: &str) -> Result<Entry, Stayed> {
    let mut areas = areas::areas(pid)?;
    if let Some(why) = check::why_not(pid, &areas, filters) {
        return Err(Stayed(why));
    }
    let mut threads = Vec::with_capacity(tids.len());
    for tid in tids {
        threads.push(capture::thread_state(*tid, &areas)?);
    }
    let (base, fresh) = place(pid, &areas)?;
    for thread in &mut threads {
        if (base..base + ROOM).contains(&words(&thread.regs)?[RIP]) {
            return Err(Stayed(AWAY.to_owned()));
        }
        times::leaves(pid, base, thread)?;
    }
    mark_ours(base, &mut areas)?;
    let channels = free_descriptors(pid, threads.len())?;
    for ((at, thread), channel_fd) in (0..).zip(&mut threads).zip(channels) {
        thread.stub = stub_of(base, at);
        thread.channel_fd = channel_fd;
        thread.rseq_at_home = true;
    }
    let mut name = [0; 16];
    random(&mut name)?;
    let name = format!("mos-mover-{:032x}", u128::from_le_bytes(name));
    let listener = AbstractListener::bind(&name)?;
    fault::point("source.stub")?;
    map_stubs(pid, base, fresh, threads.len() as u64 - 1, &areas)?;
    for thread in &threads {
        write_stub(pid, base, thread, &name, lost)?;
    }
    for thread in &threads {
        start(thread.tid, thread.stub)?;
    }
    Ok(Entry {
        pid,
        listener,
        threads,
        areas,
    })
}

/// Tells what is ours from the program's, which may have nothing where its guest's threads get their stubs.
pub fn mark_ours(base: u64, areas: &mut [Area]) -> Result<(), Stayed> {
    let room = base..base + ROOM;
    for area in areas.iter_mut().filter(|area| room.contains(&area.start)) {
        let first = (area.start, area.end) == (base, base + STUB_SIZE);
        let others = base + THREADS <= area.start && area.end <= base + BIG;
        if !is_like_stub(area) || !(first || others) {
            return Err(Stayed("it has memory in the room for its stubs".to_owned()));
        }
        area.kind = Kind::Stub;
    }
    Ok(())
}

fn is_like_stub(area: &Area) -> bool {
    let rwx = (abi::PROT_READ | abi::PROT_WRITE | abi::PROT_EXEC) as u32;
    area.prot == rwx && area.file.is_none() && !area.shared
}

/// The frame in the stub at `at` by which a thread goes on where it was, without us; `None`: it has no room there.
pub fn way_back(thread: &Thread, at: u64) -> io::Result<Option<Vec<u8>>> {
    let (regs, place) = (words(&thread.regs)?, at + FRAME);
    let frame = stub::frame::build(&regs, &thread.xsave, thread.mask, KEEP_ALTSTACK, place);
    Ok(Some(frame).filter(|frame| frame.len() as u64 <= FRAME_SIZE))
}

fn write_stub(pid: i32, base: u64, thread: &Thread, name: &str, lost: &str) -> Result<(), Stayed> {
    let at = thread.stub;
    let frame = way_back(thread, at)?
        .ok_or_else(|| Stayed("its processor state is larger than the stub's frame".to_owned()))?;
    let data = stub::Data::new(thread.channel_fd)
        .connect_abstract(name)
        .greeting(&thread.tid.to_le_bytes())
        .rollback(at + FRAME)
        .follows(base)
        .lost(lost)
        .encode();
    mem::write_all(pid, at + CODE, stub::code())?;
    mem::write_all(pid, at + DATA, &data)?;
    mem::write_all(pid, at + FRAME, &frame)?;
    Ok(())
}

/// The stub's base, and whether it must be mapped: a process that has been away before still has its range.
pub fn place(pid: i32, areas: &[Area]) -> Result<(u64, bool), Stayed> {
    if let Some(base) = areas.iter().find_map(|area| stub_at(pid, area)) {
        return Ok((base, false));
    }
    let free = |start: u64| {
        areas
            .iter()
            .all(|area| area.end <= start || start + ROOM <= area.start)
    };
    PLACES
        .into_iter()
        .find(|start| free(*start))
        .map(|start| (start, true))
        .ok_or_else(|| Stayed("its address space has no room for the stub".to_owned()))
}

/// Whether a process waits in its stub.
pub fn in_stub(pid: i32) -> bool {
    let inside = |sp: u64| {
        PLACES
            .iter()
            .any(|base| (*base..base + STUB_SIZE).contains(&sp))
    };
    tracked::stack_pointer(pid).is_ok_and(inside)
}

/// The base of the stub that is in this area.
fn stub_at(pid: i32, area: &Area) -> Option<u64> {
    let like = area.len() == STUB_SIZE && is_like_stub(area);
    let mut code = vec![0; stub::code().len()];
    let is_stub = like
        && PLACES.contains(&area.start)
        && mem::read_exact(pid, area.start + CODE, &mut code).is_ok()
        && code == stub::code();
    is_stub.then_some(area.start)
}

/// Maps the first stub if it is not there, and `more` others.
pub fn map_stubs(
    pid: i32,
    base: u64,
    fresh: bool,
    more: u64,
    areas: &[Area],
) -> Result<(), Stayed> {
    let gadget = vdso::find_syscall(pid, areas)
        .ok_or_else(|| Stayed("it has no vDSO to make a system call from".to_owned()))?;
    let prot = abi::PROT_READ | abi::PROT_WRITE | abi::PROT_EXEC;
    let flags = abi::MAP_PRIVATE | abi::MAP_ANONYMOUS | abi::MAP_NORESERVE;
    let first = fresh.then_some((base, STUB_SIZE, flags | abi::MAP_FIXED_NOREPLACE));
    let others = (more > 0).then_some((base + THREADS, more * STUB_SIZE, flags | abi::MAP_FIXED));
    for (start, len, flags) in first.into_iter().chain(others) {
        let args = [start, len, prot, flags, u64::MAX, 0];
        if Injector::new(Stopped::known(pid), gadget)?.call(abi::SYS_MMAP, args)? != start {
            return Err(Stayed("the stub could not be mapped".to_owned()));
        }
    }
    Ok(())
}

/// Numbers for the channels that the process does not use, under its limit.
pub fn free_descriptors(pid: i32, wanted: usize) -> Result<Vec<i32>, Stayed> {
    let limit = tracked::open_files_limit(pid)?.min(Fds::END as u64);
    let used = tracked::descriptors(pid)?;
    let free: Vec<i32> = (3..limit as i32)
        .rev()
        .filter(|fd| !used.contains(fd))
        .take(wanted)
        .collect();
    if free.len() == wanted {
        Ok(free)
    } else {
        Err(Stayed(
            "it has no free file descriptor for its channel".to_owned(),
        ))
    }
}

/// Sends the process into the stub, all signals blocked, and lets go of it.
fn start(pid: i32, base: u64) -> io::Result<()> {
    tracee::set_sigmask(pid, !0)?;
    let mut regs = tracee::regs(pid)?;
    regs.rip = base + stub::ENTRY;
    regs.rsp = base + STACK_TOP;
    regs.orig_rax = u64::MAX;
    regs.rax = 0;
    tracee::set_regs(pid, &regs)?;
    tracee::detach(pid)
}

/// Takes the connections of all threads, each of which says its number.
fn accept(entry: Entry) -> Result<Held, Stayed> {
    let Entry {
        pid,
        listener,
        threads,
        areas,
    } = entry;
    let mut channels = BTreeMap::new();
    for _ in &threads {
        let channel: OwnedFd = listener.accept(STOP_WAIT).map_err(|error| {
            Stayed(format!(
                "it could not connect to its mover (another network namespace?): {error}"
            ))
        })?;
        if peer_pid(&channel)? != pid {
            return Err(Stayed("something else connected to the mover".to_owned()));
        }
        let mut stream = UnixStream::from(channel);
        let mut tid = [0; 4];
        stream.read_exact(&mut tid)?;
        channels.insert(i32::from_le_bytes(tid), OwnedFd::from(stream));
    }
    let mut held = Vec::with_capacity(threads.len());
    for thread in threads {
        let channel = channels
            .remove(&thread.tid)
            .ok_or_else(|| Stayed("a thread did not connect to the mover".to_owned()))?;
        held.push(HeldThread {
            deputy: Deputy::new(channel, thread.stub, thread.channel_fd),
            thread,
        });
    }
    Ok(Held {
        threads: held,
        areas,
    })
}

/// The registers as `stub::frame` takes them.
pub fn words(regs: &[u64]) -> io::Result<[u64; 27]> {
    regs.try_into().map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the image has no complete registers",
        )
    })
}
