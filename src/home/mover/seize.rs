//! Getting into a running process: stop it by ptrace, put the stub in, let go. From then on everything is asked over the channel.
//!
//! Between the first register change and the last the process is not its own; should the mover be killed in those microseconds,
//! it cannot be saved. Everything before and after is safe: the stub rolls back by itself.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::home::mover::{FromMover, times};
use crate::image::{Area, Kind, Thread, areas, capture, check, vdso};
use crate::migrate::deputy::Deputy;
use crate::migrate::fault;
use crate::migrate::source::Stayed;
use crate::migrate::tracee;
use crate::sys::inject::Injector;
use crate::sys::process::random;
use crate::sys::ptrace::{Running, Stopped};
use crate::sys::socket::{AbstractListener, peer_pid};
use crate::sys::status::Status;
use crate::sys::stub;
use crate::sys::{abi, mem, tracked};
use crate::wire::channel::{CODE, DATA, FRAME, FRAME_SIZE, STACK_TOP, STUB_SIZE};
use crate::wire::frame::write_frame;

/// How long a process may stay in the kernel before a move is given up.
const STOP_WAIT: Duration = Duration::from_secs(2);
/// Where the stub is put if nothing is there: far from what any program maps by itself.
const PLACES: [u64; 6] = [
    0x2f00_0000_0000,
    0x2e00_0000_0000,
    0x3100_0000_0000,
    0x4200_0000_0000,
    0x5300_0000_0000,
    0x1900_0000_0000,
];
/// Descriptor numbers for the channel, from the highest that is tried down.
const HIGHEST_FD: u64 = 1023;

/// An alternate stack that `rt_sigreturn` finds invalid and therefore ignores: the process keeps the one that it has, which cannot be
/// read from outside.
const KEEP_ALTSTACK: (u64, i32, u64) = (0, 7, 0);

/// A process that stands in its stub and serves the mover.
pub struct Held {
    pub deputy: Deputy,
    pub thread: Thread,
    pub areas: Vec<Area>,
}

/// Stops `pid`, puts the stub in and connects it. On failure the process runs on.
pub fn seize(pid: i32, filters: u32, warden: &mut UnixStream, lost: &str) -> Result<Held, Stayed> {
    fault::point("source.stop")?;
    Running::seize(pid, 0)?;
    let entered = stop(pid, warden).and_then(|()| enter(pid, filters, lost));
    match entered {
        Ok(entry) => accept(entry),
        Err(why) => {
            // Detaching lets it run on; if it died meanwhile there is nothing to detach from.
            let _ = tracee::detach(pid);
            Err(why)
        }
    }
}

/// Waits for the stop; signals that come first are delivered as they would have been.
fn stop(pid: i32, warden: &mut UnixStream) -> Result<(), Stayed> {
    tracee::interrupt(pid)?;
    write_frame(warden, &FromMover::Seized)?;
    let deadline = Instant::now() + STOP_WAIT;
    loop {
        let Some(status) = tracee::wait_until(pid, deadline)? else {
            return Err(Stayed(
                "it is busy in the kernel and cannot be stopped now".to_owned(),
            ));
        };
        match status {
            Status::Event(..) => return Ok(capture::mend_interruption(pid)?),
            Status::SignalStop(signo) => {
                capture::mend_interruption(pid)?;
                tracee::cont(pid, signo)?;
                tracee::interrupt(pid)?;
            }
            Status::GroupStop(_) => return Err(Stayed("it is stopped".to_owned())),
            Status::Exited(_) | Status::Signaled(..) => return Err(Stayed("it ended".to_owned())),
            Status::Continued | Status::SyscallStop => {}
        }
    }
}

/// Why a deputy is left alone.
pub const AWAY: &str = "it is away, or another mover has it";

/// Whether the process is a deputy, that is away. To be stopped would interrupt what it does for its guest.
pub fn is_deputy(pid: i32) -> io::Result<bool> {
    let mut serving = [0; 4];
    if let Some(base) = areas::areas(pid)?
        .iter()
        .find_map(|area| stub_at(pid, area))
    {
        mem::read_exact(pid, base + stub::serving(), &mut serving)?;
    }
    Ok(serving != [0; 4])
}

/// Index of the instruction pointer in `user_regs_struct`.
const RIP: usize = 16;

struct Entry {
    pid: i32,
    listener: AbstractListener,
    base: u64,
    channel_fd: i32,
    thread: Thread,
    areas: Vec<Area>,
}

fn enter(pid: i32, filters: u32, lost: &str) -> Result<Entry, Stayed> {
    let mut areas = areas::areas(pid)?;
    if let Some(why) = check::why_not(pid, &areas, filters) {
        return Err(Stayed(why));
    }
    let mut thread = capture::thread_state(pid, &areas)?;
    let (base, fresh) = place(pid, &mut areas)?;
    if (base..base + STUB_SIZE).contains(&words(&thread.regs)?[RIP]) {
        return Err(Stayed(AWAY.to_owned()));
    }
    times::leaves(pid, (!fresh).then_some(base), &mut thread)?;
    let channel_fd = free_descriptor(pid)?;
    let mut name = [0; 16];
    random(&mut name)?;
    let name = format!("mos-mover-{:032x}", u128::from_le_bytes(name));
    let listener = AbstractListener::bind(&name)?;
    fault::point("source.stub")?;
    if fresh {
        map_stub(pid, base, &areas)?;
    }
    let frame = stub::frame::build(
        &words(&thread.regs)?,
        &thread.xsave,
        thread.mask,
        KEEP_ALTSTACK,
        base + FRAME,
    );
    if frame.len() as u64 > FRAME_SIZE {
        return Err(Stayed(
            "its processor state is larger than the stub's frame".to_owned(),
        ));
    }
    let data = stub::Data::new(channel_fd)
        .connect_abstract(&name)
        .rollback(base + FRAME)
        .lost(lost)
        .encode();
    mem::write_all(pid, base + CODE, stub::code())?;
    mem::write_all(pid, base + DATA, &data)?;
    mem::write_all(pid, base + FRAME, &frame)?;
    start(pid, base)?;
    Ok(Entry {
        pid,
        listener,
        base,
        channel_fd,
        thread,
        areas,
    })
}

/// The stub's base, and whether it must be mapped: a process that has been away before still has its range.
fn place(pid: i32, areas: &mut [Area]) -> Result<(u64, bool), Stayed> {
    for area in areas.iter_mut() {
        if let Some(base) = stub_at(pid, area) {
            area.kind = Kind::Stub;
            return Ok((base, false));
        }
    }
    // A gigabyte above the stub is for the larger staging area.
    let free = |start: u64| {
        areas
            .iter()
            .all(|area| area.end <= start || start + (4 << 30) <= area.start)
    };
    PLACES
        .into_iter()
        .find(|start| free(*start))
        .map(|start| (start, true))
        .ok_or_else(|| Stayed("its address space has no room for the stub".to_owned()))
}

/// The base of the stub that is in this area.
fn stub_at(pid: i32, area: &Area) -> Option<u64> {
    let rwx = (abi::PROT_READ | abi::PROT_WRITE | abi::PROT_EXEC) as u32;
    let size = area.end - area.start == STUB_SIZE;
    let like = size && area.prot == rwx && area.file.is_none() && !area.shared;
    let mut code = vec![0; stub::code().len()];
    let is_stub = like
        && PLACES.contains(&area.start)
        && mem::read_exact(pid, area.start + CODE, &mut code).is_ok()
        && code == stub::code();
    is_stub.then_some(area.start)
}

fn map_stub(pid: i32, base: u64, areas: &[Area]) -> Result<(), Stayed> {
    let gadget = vdso::find_syscall(pid, areas)
        .ok_or_else(|| Stayed("it has no vDSO to make a system call from".to_owned()))?;
    let prot = abi::PROT_READ | abi::PROT_WRITE | abi::PROT_EXEC;
    let flags =
        abi::MAP_PRIVATE | abi::MAP_ANONYMOUS | abi::MAP_FIXED_NOREPLACE | abi::MAP_NORESERVE;
    let at = Injector::new(Stopped::known(pid), gadget)?
        .call(abi::SYS_MMAP, [base, STUB_SIZE, prot, flags, u64::MAX, 0])?;
    if at == base {
        Ok(())
    } else {
        Err(Stayed("the stub could not be mapped".to_owned()))
    }
}

/// A number for the channel that the process does not use, under its limit.
fn free_descriptor(pid: i32) -> Result<i32, Stayed> {
    let limit = tracked::open_files_limit(pid)?.min(HIGHEST_FD + 1);
    let used = tracked::descriptors(pid)?;
    (3..limit as i32)
        .rev()
        .find(|fd| !used.contains(fd))
        .ok_or_else(|| Stayed("it has no free file descriptor for its channel".to_owned()))
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

fn accept(entry: Entry) -> Result<Held, Stayed> {
    let Entry {
        pid,
        listener,
        base,
        channel_fd,
        thread,
        areas,
    } = entry;
    let channel: OwnedFd = listener.accept(STOP_WAIT).map_err(|error| {
        Stayed(format!(
            "it could not connect to its mover (another network namespace?): {error}"
        ))
    })?;
    if peer_pid(&channel)? != pid {
        return Err(Stayed("something else connected to the mover".to_owned()));
    }
    Ok(Held {
        deputy: Deputy::new(channel, base, channel_fd),
        thread,
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
