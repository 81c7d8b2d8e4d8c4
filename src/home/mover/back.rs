//! Back home: the image is written into the home process, which then goes on natively.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::home::mover::reconcile::{self, Plan};
use crate::home::mover::{FromMover, register, resume, seize};
use crate::image::clocks::Moment;
use crate::image::pages::Got;
use crate::image::ranges::{self, Range};
use crate::image::{Area, Kind, Meta, areas, pages};
use crate::migrate::deputy::Deputy;
use crate::migrate::live::Stage;
use crate::migrate::rounds::MOST_STAGES;
use crate::migrate::source::FRAME_LIMIT;
use crate::migrate::{fault, limit_silence, target};
use crate::sys::pagemap::{Pagemap, Want};
use crate::sys::{abi, mem, tracked};
use crate::wire::channel::{BIG, ROOM};
use crate::wire::client::Client;
use crate::wire::control::{Figures, Outcome};
use crate::wire::frame::{read_frame, write_frame};
use crate::wire::node::{Built, Started, Verdict};

const PAGE: u64 = 4096;
/// PROT_READ | PROT_WRITE
const READ_WRITE: u32 = 3;

/// Receives process `pid`; on failure it runs on where it was.
pub fn back(
    pid: i32,
    mut conn: TcpStream,
    warden: &mut UnixStream,
    client: &mut Client,
) -> Outcome {
    match try_back(pid, &mut conn, warden, client) {
        Ok(figures) => Outcome::Moved(figures),
        Err(error) if !tracked::alive(pid) => {
            log::info!("process {pid} ended on its way home: {error}");
            Outcome::Gone
        }
        Err(error) => {
            // The sender learns why; if it cannot be told, it sees the connection end.
            let _ = write_frame(&mut conn, &Built::Failed(error.to_string()));
            Outcome::Stayed(error.to_string())
        }
    }
}

fn try_back(
    pid: i32,
    conn: &mut TcpStream,
    warden: &mut UnixStream,
    client: &mut Client,
) -> io::Result<Figures> {
    limit_silence(conn)?;
    if !seize::is_deputy(pid)? {
        // Its memory here is the one that it runs on.
        return Err(io::Error::other("it is at home already"));
    }
    let port = register(client)?.port;
    fault::point("target.verdict")?;
    write_frame(conn, &Verdict::Accept)?;
    let mut arrival = receive(pid, conn)?;
    // Better late than back in time.
    std::thread::sleep(arrival.meta.arrived(Moment::now(0)));
    let (deputies, toll) = target::take_deputies(conn, client, port, &arrival.meta.threads)?;
    arrival.finish(deputies, Some(warden))?;
    let figures = toll.figures();
    // The sender's copy is void from the switch on, whether or not it hears this.
    let _ = write_frame(conn, &Started::Yes);
    Ok(figures)
}

/// Receives the process, stage by stage.
fn receive(pid: i32, conn: &mut TcpStream) -> io::Result<Arrival> {
    let mut waiting = BTreeMap::new();
    for _ in 0..MOST_STAGES {
        let (meta, last) = match read_frame(conn, FRAME_LIMIT)? {
            Stage::Early(meta) => {
                fault::point("target.round")?;
                meta.check_sketch()?;
                (meta, false)
            }
            Stage::Last(meta) => {
                fault::point("target.meta")?;
                meta.check()?;
                (meta, true)
            }
        };
        let mut arrival = Arrival::of(pid, *meta, waiting)?;
        if last {
            arrival.check_files()?;
        }
        fault::point("target.pages")?;
        pages::receive(conn, &mut |addr, got| arrival.got(addr, got))?;
        if last {
            return Ok(arrival);
        }
        waiting = arrival.waiting;
    }
    Err(invalid("the image comes in too many parts"))
}

/// A process that is coming home.
pub(super) struct Arrival {
    pid: i32,
    meta: Meta,
    plan: Plan,
    /// Contents of areas that do not exist at home yet, page by page.
    waiting: BTreeMap<u64, Vec<u8>>,
    /// What of `plan.kept` maps no file.
    anonymous: Vec<Range>,
    /// What the last stage has mentioned so far.
    right: Vec<Range>,
}

impl Arrival {
    /// All of it comes at once.
    pub(super) fn new(pid: i32, meta: Meta) -> io::Result<Arrival> {
        meta.check()?;
        let arrival = Arrival::of(pid, meta, BTreeMap::new())?;
        arrival.check_files()?;
        Ok(arrival)
    }

    /// One more stage; what is `waiting` came in those before.
    fn of(pid: i32, meta: Meta, waiting: BTreeMap<u64, Vec<u8>>) -> io::Result<Arrival> {
        let plan = reconcile::plan(&areas::areas(pid)?, &meta.areas, reserved(&meta));
        let own = plan.kept.iter().filter(|(_, file)| !file);
        let anonymous = ranges::sorted(own.map(|(range, _)| *range).collect());
        Ok(Arrival {
            anonymous,
            pid,
            meta,
            plan,
            waiting,
            right: Vec::new(),
        })
    }

    fn check_files(&self) -> io::Result<()> {
        match self.plan.lacking.first() {
            Some((start, _)) => Err(invalid(&format!("no file is mapped at {start:#x} at home"))),
            None => Ok(()),
        }
    }

    /// What is said about a run of pages.
    pub(super) fn got(&mut self, addr: u64, got: Got<'_>) -> io::Result<()> {
        match got {
            Got::Contents(data) => self.page(addr, data),
            Got::Kept(len) => self.kept(addr, len),
        }
    }

    /// Contents for one run of pages. They go straight into the home process where it has the area: it does not use its
    /// memory while it is away, and the host has told it to forget the way back.
    fn page(&mut self, addr: u64, data: &[u8]) -> io::Result<()> {
        let mut at = addr;
        let end = addr + data.len() as u64;
        while at < end {
            let slice = |to: u64| &data[(at - addr) as usize..(to - addr) as usize];
            let next = self
                .plan
                .kept
                .partition_point(|((_, kept_end), _)| *kept_end <= at);
            match self.plan.kept.get(next).copied() {
                Some(((start, stop), file)) if start <= at => {
                    let to = stop.min(end);
                    write_home(self.pid, at, slice(to), file)?;
                    while let Some(page) = self.waiting.range(at..to).next().map(|(at, _)| *at) {
                        self.waiting.remove(&page);
                    }
                    at = to;
                }
                other => {
                    let to = other.map_or(end, |((start, _), _)| start.min(end));
                    for (page, data) in (at..)
                        .step_by(PAGE as usize)
                        .zip(slice(to).chunks(PAGE as usize))
                    {
                        self.waiting.insert(page, data.to_vec());
                    }
                    at = to;
                }
            }
        }
        self.right.push((addr, end));
        Ok(())
    }

    /// What it has not written while it was away is still here; or it came in an earlier stage.
    fn kept(&mut self, addr: u64, len: u64) -> io::Result<()> {
        let end = addr + len;
        for (from, to) in ranges::minus(&[(addr, end)], &self.anonymous) {
            let waiting = self.waiting.range(from..to).count() as u64;
            if waiting != (to - from) / PAGE {
                return Err(invalid("contents that never came"));
            }
        }
        self.right.push((addr, end));
        Ok(())
    }

    /// Lets the process go on. `warden`: it has been away, and the warden is told so just before.
    pub(super) fn finish(
        &mut self,
        mut deputies: Vec<Deputy>,
        warden: Option<&mut UnixStream>,
    ) -> io::Result<()> {
        let deputy = &mut deputies[0];
        deputy.call(abi::SYS_BRK, [self.meta.mm.brk, 0, 0, 0, 0, 0])?;
        self.grow_stack(deputy)?;
        let plan = reconcile::plan(
            &areas::areas(self.pid)?,
            &self.meta.areas,
            reserved(&self.meta),
        );
        // The larger staging areas, which lie behind all stubs.
        for area in areas::areas(self.pid)? {
            if reserved(&self.meta).0 + BIG <= area.start && area.end <= reserved(&self.meta).1 {
                deputy.call(abi::SYS_MUNMAP, [area.start, area.len(), 0, 0, 0, 0])?;
            }
        }
        for (start, end) in &plan.unmap {
            deputy.call(abi::SYS_MUNMAP, [*start, end - start, 0, 0, 0, 0])?;
        }
        for area in &plan.map {
            map(deputy, area)?;
        }
        for (start, end, prot) in &plan.protect {
            protect(deputy, *start, *end, *prot)?;
        }
        let right = ranges::sorted(std::mem::take(&mut self.right));
        self.forget_stale(&right, deputy)?;
        let waiting = self.waiting.iter();
        for (addr, data) in waiting.filter(|(at, _)| ranges::holds(&right, **at, **at + 1)) {
            force(self.pid, *addr, data)?;
        }
        let closed = |area: &&Area| area.kind == Kind::Common && area.prot != READ_WRITE;
        for area in plan.map.iter().filter(closed) {
            protect(deputy, area.start, area.end, area.prot)?;
        }
        if let Some(warden) = warden {
            let told = FromMover::Home {
                cpu_ns: self.meta.cpu_away_ns,
                nmigs: self.meta.nmigs.saturating_add(1),
            };
            // A warden that was killed learns nothing; the process goes on all the same.
            let _ = write_frame(warden, &told);
        }
        resume::resume(self.pid, &self.meta, deputies)
    }

    /// The stack grows by being touched, so that it stays one area.
    fn grow_stack(&mut self, deputy: &mut Deputy) -> io::Result<()> {
        let Some(stack) = self.meta.areas.iter().find(|area| area.kind == Kind::Stack) else {
            return Ok(());
        };
        let there = areas::areas(self.pid)?
            .iter()
            .any(|area| (area.start..area.end).contains(&stack.start));
        if !there {
            deputy.write_memory(stack.start, &[0])?;
        }
        Ok(())
    }

    /// Pages of its own that home still has and the image has not are dropped: they are zero now, or the file's.
    fn forget_stale(&self, right: &[Range], deputy: &mut Deputy) -> io::Result<()> {
        let map = Pagemap::open(self.pid)?;
        for ((start, end), file) in &self.plan.kept {
            let want = if *file { Want::Own } else { Want::Contents };
            let there = map.ranges(*start, *end, want)?;
            for (from, to) in ranges::minus(&there, right) {
                deputy.call(
                    abi::SYS_MADVISE,
                    [from, to - from, abi::MADV_DONTNEED, 0, 0, 0],
                )?;
            }
        }
        Ok(())
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn reserved(meta: &Meta) -> (u64, u64) {
    (meta.stub, meta.stub + ROOM)
}

/// Writes contents; what covers a part of a file that the file no longer has is lost, as it would have been here.
fn write_home(pid: i32, addr: u64, data: &[u8], file: bool) -> io::Result<()> {
    match force(pid, addr, data) {
        Err(_) if file && tracked::alive(pid) => {
            for (at, page) in (addr..)
                .step_by(PAGE as usize)
                .zip(data.chunks(PAGE as usize))
            {
                if let Err(error) = force(pid, at, page) {
                    log::info!("process {pid}: a page of a file that was cut at {at:#x}: {error}");
                }
            }
            Ok(())
        }
        result => result,
    }
}

/// Writes whatever the program itself may do there.
fn force(pid: i32, addr: u64, data: &[u8]) -> io::Result<()> {
    match mem::write_all(pid, addr, data) {
        Ok(()) => Ok(()),
        Err(_) => mem::ProcMem::open(pid)?.write_all(addr, data),
    }
}

/// As the program would have mapped it, so that it becomes one with what lies beside it.
fn map(deputy: &mut Deputy, area: &Area) -> io::Result<()> {
    let (kind, prot) = match area.kind {
        Kind::Stack => (abi::MAP_PRIVATE | abi::MAP_GROWSDOWN, area.prot),
        // Its contents cannot be written by force.
        Kind::Common => (abi::MAP_SHARED, READ_WRITE),
        _ => (abi::MAP_PRIVATE, area.prot),
    };
    let flags = kind | abi::MAP_ANONYMOUS | abi::MAP_FIXED;
    let args = [area.start, area.len(), u64::from(prot), flags, u64::MAX, 0];
    deputy.call(abi::SYS_MMAP, args).map(drop)
}

fn protect(deputy: &mut Deputy, start: u64, end: u64, prot: u32) -> io::Result<()> {
    let args = [start, end - start, u64::from(prot), 0, 0, 0];
    deputy.call(abi::SYS_MPROTECT, args).map(drop)
}
