//! Back home: the image is written into the home process, which then goes on natively.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use crate::home::mover::reconcile::{self, Plan};
use crate::home::mover::{FromMover, register, resume, seize};
use crate::image::{Area, Kind, Meta, areas, pages};
use crate::migrate::deputy::Deputy;
use crate::migrate::source::FRAME_LIMIT;
use crate::migrate::{fault, limit_silence, target};
use crate::sys::pagemap::{Pagemap, Want};
use crate::sys::{abi, mem, tracked};
use crate::wire::channel::{BIG, NO_CALL, ROOM, Request};
use crate::wire::client::Client;
use crate::wire::control::Outcome;
use crate::wire::frame::{read_frame, write_frame};
use crate::wire::node::{Built, Started, Verdict};

const PAGE: u64 = 4096;

/// Receives process `pid`; on failure it runs on where it was.
pub fn back(
    pid: i32,
    mut conn: TcpStream,
    warden: &mut UnixStream,
    client: &mut Client,
) -> Outcome {
    match try_back(pid, &mut conn, warden, client) {
        Ok(()) => Outcome::Done,
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
) -> io::Result<()> {
    limit_silence(conn)?;
    if !seize::is_deputy(pid)? {
        // Its memory here is the one that it runs on.
        return Err(io::Error::other("it is at home already"));
    }
    let (_, port) = register(client)?;
    fault::point("target.verdict")?;
    write_frame(conn, &Verdict::Accept)?;
    let meta: Meta = read_frame(conn, FRAME_LIMIT)?;
    fault::point("target.meta")?;
    let mut arrival = Arrival::new(pid, meta)?;
    fault::point("target.pages")?;
    pages::receive(conn, &mut |addr, data| arrival.page(addr, data))?;
    let deputies = target::take_deputies(conn, client, port, &arrival.meta.threads)?;
    arrival.finish(deputies, Some(warden))?;
    // The sender's copy is void from the switch on, whether or not it hears this.
    let _ = write_frame(conn, &Started::Yes);
    Ok(())
}

/// A process that is coming home.
pub(super) struct Arrival {
    pid: i32,
    meta: Meta,
    plan: Plan,
    /// Contents of areas that do not exist at home yet.
    waiting: BTreeMap<u64, Vec<u8>>,
    /// Ranges of `plan.kept` that were written, in ascending order of arrival.
    written: Vec<(u64, u64)>,
}

impl Arrival {
    pub(super) fn new(pid: i32, meta: Meta) -> io::Result<Arrival> {
        meta.check()?;
        let plan = reconcile::plan(&areas::areas(pid)?, &meta.areas, reserved(&meta));
        if let Some((start, _)) = plan.lacking.first() {
            let what = format!("no file is mapped at {start:#x} at home");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Arrival {
            pid,
            meta,
            plan,
            waiting: BTreeMap::new(),
            written: Vec::new(),
        })
    }

    /// Contents for one run of pages. They go straight into the home process where it has the area: it does not use its
    /// memory while it is away, and the host has told it to forget the way back.
    pub(super) fn page(&mut self, addr: u64, data: &[u8]) -> io::Result<()> {
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
                    self.written.push((at, to));
                    at = to;
                }
                other => {
                    let to = other.map_or(end, |((start, _), _)| start.min(end));
                    self.waiting.insert(at, slice(to).to_vec());
                    at = to;
                }
            }
        }
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
            deputy.call(
                abi::SYS_MPROTECT,
                [*start, end - start, u64::from(*prot), 0, 0, 0],
            )?;
        }
        self.forget_stale(deputy)?;
        for (addr, data) in &self.waiting {
            force(self.pid, *addr, data)?;
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
        let request = Request {
            flags: NO_CALL,
            in_len: 1,
            in_ptr: stack.start,
            ..Request::default()
        };
        let there = areas::areas(self.pid)?
            .iter()
            .any(|area| (area.start..area.end).contains(&stack.start));
        if !there {
            deputy.rpc(&request, &[0])?;
        }
        Ok(())
    }

    /// Pages of its own that home still has and the image has not are dropped: they are zero now, or the file's.
    fn forget_stale(&mut self, deputy: &mut Deputy) -> io::Result<()> {
        self.written.sort_unstable();
        let map = Pagemap::open(self.pid)?;
        for ((start, end), file) in &self.plan.kept {
            let want = if *file { Want::Own } else { Want::Contents };
            for (from, to) in map.ranges(*start, *end, want)? {
                for (from, to) in without(from, to, &self.written) {
                    deputy.call(
                        abi::SYS_MADVISE,
                        [from, to - from, abi::MADV_DONTNEED, 0, 0, 0],
                    )?;
                }
            }
        }
        Ok(())
    }
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
    let grows = if area.kind == Kind::Stack {
        abi::MAP_GROWSDOWN
    } else {
        0
    };
    let flags = abi::MAP_PRIVATE | abi::MAP_ANONYMOUS | abi::MAP_FIXED | grows;
    let len = area.end - area.start;
    deputy
        .call(
            abi::SYS_MMAP,
            [area.start, len, u64::from(area.prot), flags, u64::MAX, 0],
        )
        .map(drop)
}

/// The parts of a range that no range of a sorted list covers.
fn without(from: u64, to: u64, covered: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut rest = Vec::new();
    let mut at = from;
    let first = covered.partition_point(|(_, end)| *end <= from);
    for (start, end) in covered[first..].iter().take_while(|(start, _)| *start < to) {
        if *start > at {
            rest.push((at, *start));
        }
        at = at.max(*end);
    }
    if at < to {
        rest.push((at, to));
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn gaps_between_written_ranges_are_found() {
        let written = [(0, 4), (8, 12), (20, 24)];
        assert_eq!(without(2, 22, &written), [(4, 8), (12, 20)]);
        assert_eq!(without(8, 12, &written), []);
        assert_eq!(without(24, 30, &written), [(24, 30)]);
    }
}
