//! Building a guest from an image. The order of the steps:
//!
//! 1. an empty process in its own namespaces ([`sandbox`]), traced by us from here on;
//! 2. its rseq area is given up before the memory that holds it;
//! 3. the page of code by which all further calls are made ([`gadget`]);
//! 4. the kernel's vDSO aside, all else unmapped, the vDSO to where home has it (or a copy of home's, see below);
//! 5. every area, writable; those of files map copies of them that have no contents yet ([`backing`](super::backing));
//! 6. contents, first of the files, received by the process itself where that is possible;
//! 7. shared areas, protections, heap, signal actions, alternate stack, robust list, clear-tid address, rseq;
//! 8. further threads, each with its alternate stack, robust list, clear-tid address, rseq, registers and signal mask;
//! 9. the filter, for all of them; its listener goes to us;
//! 10. registers and signal mask of the first: it can run.
//!
//! Steps 5 and 6 may come several times, from images of the process as it runs on ([`relayout`](super::relayout)).
//!
//! The last four are in [`finish`](super::finish).
//!
//! Where home has another kernel, or clocks cannot be made equal, the vDSO of home is mapped as ordinary memory, with functions that
//! make plain system calls.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::image::backing::Backings;
use crate::image::gadget::{self, Call, SCRATCH, run_list};
use crate::image::layout::{self, Place, TASK_END};
use crate::image::ranges::Range;
use crate::image::relayout::Gate;
use crate::image::sandbox::{self, Empty, Numbers};
use crate::image::{Area, FileArea, Kind, Meta, MmLayout, Thread, areas, vdso};
use crate::sys::inject::Injector;
use crate::sys::mem::{self, ProcMem};
use crate::sys::process;
use crate::sys::ptrace::{EXITKILL, Now, Running, TRACECLONE, TRACEFORK, TRACEVFORK};
use crate::sys::regs::REGS;
use crate::sys::seccomp::Listener;
use crate::sys::status::Status;
use crate::sys::writes::WriteWatch;
use crate::wire::channel::STUB_SIZE;

const SYS_MMAP: u64 = 9;
const SYS_MPROTECT: u64 = 10;
const SYS_MUNMAP: u64 = 11;
const SYS_MREMAP: u64 = 25;
const SYS_RSEQ: u64 = 334;

const PROT_RW: u64 = 3;
const PROT_RX: u64 = 5;
/// MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE
const MAP_HERE: u64 = 0x02 | 0x20 | 0x4000 | 0x10_0000;
/// MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE
const MAP_COMMON: u64 = 0x01 | 0x20 | 0x4000 | 0x10_0000;
/// MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED_NOREPLACE
const MAP_FILE_HERE: u64 = 0x02 | 0x4000 | 0x10_0000;
const MAP_GROWSDOWN: u64 = 0x100;
const MREMAP_MAYMOVE_FIXED: u64 = 3;
const RSEQ_UNREGISTER: u64 = 1;
/// Distance from the stub's range to where the vDSO waits while all else is unmapped.
const ASIDE: u64 = 1 << 20;

/// The address of a `syscall` instruction in a guest.
pub fn gadget(stub: u64) -> u64 {
    stub
}

/// A guest that can be continued. It is stopped, and traced by the thread that built it.
#[derive(Debug)]
pub struct Built {
    pub pid: i32,
    pub listener: Listener,
    /// The further threads, in the order of the image.
    pub others: Vec<i32>,
    /// Process 1 of the guest's pid namespace, a child of ours to be killed after the guest; 0: none.
    pub anchor: i32,
    /// It numbers the guest's threads.
    pub numbers: Option<Numbers>,
    /// All threads have the numbers here that they have at home.
    pub numbered: bool,
    /// What must be added to the guest's monotonic and boot-time clocks, in nanoseconds, to get home's: not zero where the kernel
    /// gives it no clocks of its own. Its vDSO makes plain system calls then.
    pub clock_offsets: (i64, i64),
    /// What the clocks that it sees are ahead of this node's.
    pub ahead: (i64, i64),
    /// The files that it maps: inodes here, and what they stand for.
    pub files: Vec<(u64, FileArea)>,
    /// By which is known what it writes from now on, if that can be.
    pub watch: Option<WriteWatch>,
}

/// A guest under construction. Dropped, it is no more.
pub struct GuestBuilder {
    pub(super) empty: Empty,
    pub(super) injector: Option<Injector>,
    pub(super) stub: u64,
    pub(super) places: Vec<Place>,
    pub(super) files: Backings,
    /// The copy of home's vDSO that is to be patched, when this kernel's is not used: its address and bytes.
    pub(super) copy: Option<(u64, Vec<u8>)>,
    pub(super) forced: ProcMem,
    pub(super) conn: Option<i32>,
    /// Descriptors for files that later layouts map go through it.
    pub(super) gate: Gate,
    pub(super) watch: Option<WriteWatch>,
    /// Contents have come before, for an earlier layout.
    pub(super) has_contents: bool,
    /// What of that the last change of the layout has left.
    pub(super) kept: Vec<Range>,
    /// Anonymous memory that this round has been about so far, zeros apart.
    pub(super) mentioned: Vec<Range>,
    pub(super) threads: Vec<Thread>,
    pub(super) actions: Vec<[u64; 4]>,
    pub(super) mm: MmLayout,
    /// Soft limits of data and of the address space.
    pub(super) limits: [(u32, u64); 2],
}

impl GuestBuilder {
    /// Steps 1 to 5. With `conn`, the connection on which the contents will come, [`GuestBuilder::receive`] is fast.
    pub fn create(meta: &Meta, conn: Option<BorrowedFd<'_>>) -> io::Result<GuestBuilder> {
        check_whole(meta)?;
        GuestBuilder::sketch(meta, conn)
    }

    /// As `create`, from an image without the state of its threads, which a later one will have.
    pub fn sketch(meta: &Meta, conn: Option<BorrowedFd<'_>>) -> io::Result<GuestBuilder> {
        let places = layout::places(meta)?;
        let files = Backings::new(layout::files(&meta.areas))?;
        let gate = Gate::new()?;
        let mut kept = files.descriptors();
        kept.extend(conn.map(|fd| fd.as_raw_fd()));
        kept.push(gate.inner());
        let empty = sandbox::start(meta, kept)?;
        let forced = ProcMem::open(empty.pid);
        let mut builder = GuestBuilder {
            injector: None,
            stub: meta.stub,
            files,
            copy: None,
            forced: match forced {
                Ok(forced) => forced,
                Err(error) => {
                    empty.destroy();
                    return Err(error);
                }
            },
            empty,
            conn: conn.map(|fd| fd.as_raw_fd()),
            gate,
            watch: None,
            has_contents: false,
            kept: Vec::new(),
            mentioned: Vec::new(),
            threads: meta.threads.clone(),
            actions: meta.actions.clone(),
            mm: meta.mm,
            limits: limits(meta, &places),
            places,
        };
        builder.seize()?;
        builder.open_watch()?;
        builder.clear_and_map(meta)?;
        Ok(builder)
    }

    /// Pid of the process.
    pub fn pid(&self) -> i32 {
        self.empty.pid
    }

    pub(super) fn injector(&mut self) -> io::Result<&mut Injector> {
        self.injector.as_mut().ok_or_else(crate::sys::errno::gone)
    }

    fn seize(&mut self) -> io::Result<()> {
        let options = EXITKILL | TRACECLONE | TRACEFORK | TRACEVFORK;
        let mut running = Running::seize(self.empty.pid, options)?;
        let task = loop {
            match running.stop()? {
                Now::Stopped(task, Status::Event(..)) => break task,
                Now::Stopped(task, _) => running = task.cont(0)?,
                Now::Ended(_) => return Err(crate::sys::errno::gone()),
            }
        };
        let own = areas::areas(self.empty.pid)?;
        let call = vdso::find_syscall(self.empty.pid, &own)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no system call in the vDSO"))?;
        let rseq = task.rseq()?;
        let mut injector = Injector::new(task, call)?;
        if rseq.address != 0 {
            let (size, signature) = (u64::from(rseq.size), u64::from(rseq.signature));
            injector.call(
                SYS_RSEQ,
                [rseq.address, size, RSEQ_UNREGISTER, signature, 0, 0],
            )?;
        }
        injector.call(
            SYS_MMAP,
            [self.stub, STUB_SIZE, PROT_RW, MAP_HERE, u64::MAX, 0],
        )?;
        mem::write_all(self.empty.pid, self.stub, &gadget::code())?;
        injector.call(SYS_MPROTECT, [self.stub, SCRATCH, PROT_RX, 0, 0, 0])?;
        injector.set_gadget(gadget(self.stub));
        self.injector = Some(injector);
        Ok(())
    }

    /// Steps 4 and 5.
    fn clear_and_map(&mut self, meta: &Meta) -> io::Result<()> {
        let own = areas::areas(self.empty.pid)?;
        let kernels = |areas: &[Area]| -> Vec<Area> {
            let mut found = areas.to_vec();
            found.retain(|area| matches!(area.kind, Kind::Vdso | Kind::Vvar));
            found
        };
        let (here, home) = (kernels(&own), kernels(&meta.areas));
        let same_code = vdso::hash(self.empty.pid, &own)? == meta.vdso_hash;
        let usable = same_code && same_shape(&here, &home) && self.empty.clock_offsets == (0, 0);
        let mut calls = Vec::new();
        let mut kept = vec![(self.stub, self.stub + STUB_SIZE)];
        if usable {
            let aside = self.stub + STUB_SIZE + ASIDE;
            let by = |area: &Area| aside + (area.start - here[0].start);
            calls.extend(here.iter().map(|area| moved(area, area.start, by(area))));
            kept.push((
                by(&here[0]),
                by(&here[here.len() - 1]) + here[here.len() - 1].len(),
            ));
            calls.extend(cleared(&kept));
            let back = here.iter().zip(&home);
            calls.extend(back.map(|(from, to)| moved(from, by(from), to.start)));
        } else {
            calls.extend(cleared(&kept));
            let vdso = home.iter().find(|area| area.kind == Kind::Vdso);
            self.copy = vdso.map(|area| (area.start, vec![0; area.len() as usize]));
        }
        let program = self
            .places
            .iter()
            .filter(|place| place.kind != Kind::Vvar && !place.shared);
        let wanted = program.filter(|place| !usable || place.kind != Kind::Vdso);
        calls.extend(wanted.map(|place| self.mapping(place)));
        let stub = self.stub;
        run_list(self.injector()?, stub, &calls).map(drop)
    }

    /// What does not concern the layout is as this image has it, which is the last one.
    pub(super) fn set_state(&mut self, meta: &Meta) -> io::Result<()> {
        check_whole(meta)?;
        self.threads = meta.threads.clone();
        self.actions = meta.actions.clone();
        self.mm = meta.mm;
        self.limits = limits(meta, &self.places);
        Ok(())
    }

    /// Fresh memory where the process has some, or its copy of a file's.
    pub(super) fn mapping(&self, place: &Place) -> Call {
        let grows = if place.kind == Kind::Stack {
            MAP_GROWSDOWN
        } else {
            0
        };
        let (len, prot) = (place.end - place.start, u64::from(place.first_prot()));
        let (flags, fd, offset) = match &place.file {
            Some(backed) => (
                MAP_FILE_HERE,
                self.files.descriptor(backed) as u64,
                backed.offset,
            ),
            None if place.kind == Kind::Common => (MAP_COMMON, u64::MAX, 0),
            None => (MAP_HERE | grows, u64::MAX, 0),
        };
        let args = [place.start, len, prot, flags, fd, offset];
        Call::must("map memory", SYS_MMAP, args)
    }
}

fn check_whole(meta: &Meta) -> io::Result<()> {
    let whole = |thread: &Thread| thread.regs.len() == REGS;
    if meta.threads.is_empty() || !meta.threads.iter().all(whole) || meta.actions.len() != 64 {
        return Err(invalid("the image is not complete"));
    }
    Ok(())
}

impl Drop for GuestBuilder {
    fn drop(&mut self) {
        self.empty.destroy();
    }
}

pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The program's limits, and above them what is only here: the room for calls, and the stack that is mapped before it is used.
fn limits(meta: &Meta, places: &[Place]) -> [(u32, u64); 2] {
    let stack = |kind: Kind| kind == Kind::Stack;
    let whole = places.iter().filter(|place| stack(place.kind));
    let used = meta.areas.iter().filter(|area| stack(area.kind));
    let whole: u64 = whole.map(|place| place.end - place.start).sum();
    let more = STUB_SIZE + whole.saturating_sub(used.map(Area::len).sum());
    let [data, space] = meta.memory_limits;
    [
        (process::RLIMIT_DATA, data.saturating_add(STUB_SIZE)),
        (process::RLIMIT_AS, space.saturating_add(more)),
    ]
}

/// Whether two sets of the kernel's areas differ in their place only.
fn same_shape(here: &[Area], home: &[Area]) -> bool {
    let (Some(first_here), Some(first_home)) = (here.first(), home.first()) else {
        return false;
    };
    let shape = |area: &Area, first: &Area| (area.start - first.start, area.len(), area.kind);
    here.len() == home.len()
        && here
            .iter()
            .zip(home)
            .all(|(a, b)| shape(a, first_here) == shape(b, first_home))
}

fn moved(area: &Area, from: u64, to: u64) -> Call {
    let args = [from, area.len(), area.len(), MREMAP_MAYMOVE_FIXED, to, 0];
    Call::must("move the vDSO", SYS_MREMAP, args)
}

fn cleared(kept: &[(u64, u64)]) -> Vec<Call> {
    debug_assert!(kept.iter().all(|(_, end)| *end <= TASK_END));
    let ranges = layout::outside(kept).into_iter();
    ranges
        .map(|(start, end)| {
            Call::must("clear memory", SYS_MUNMAP, [start, end - start, 0, 0, 0, 0])
        })
        .collect()
}
