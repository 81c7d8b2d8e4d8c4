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
//! Where home has another kernel, or clocks cannot be made equal, the vDSO of home is mapped as ordinary memory, with functions that
//! make plain system calls.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::image::backing::Backings;
use crate::image::gadget::{self, Call, DATA, SCRATCH, run_list};
use crate::image::layout::{self, Place, TASK_END};
use crate::image::sandbox::{self, Empty, Numbers};
use crate::image::{Area, FileArea, Kind, Meta, MmLayout, Thread, areas, vdso};
use crate::sys::inject::Injector;
use crate::sys::mem::{self, ProcMem};
use crate::sys::process;
use crate::sys::ptrace::{
    EXITKILL, Now, Running, Stopped, TRACECLONE, TRACEFORK, TRACEVFORK, wait_stop,
};
use crate::sys::regs::{REGS, Regs};
use crate::sys::seccomp::{self, Listener};
use crate::sys::status::Status;
use crate::wire::channel::STUB_SIZE;

const SYS_MMAP: u64 = 9;
const SYS_MPROTECT: u64 = 10;
const SYS_MUNMAP: u64 = 11;
const SYS_RT_SIGACTION: u64 = 13;
const SYS_MREMAP: u64 = 25;
const SYS_MADVISE: u64 = 28;
const SYS_CLOSE: u64 = 3;
const SYS_SETRLIMIT: u64 = 160;
const SYS_SIGALTSTACK: u64 = 131;
const SYS_GETPID: u64 = 39;
const SYS_CLONE: u64 = 56;
const SYS_PRCTL: u64 = 157;
const SYS_SET_TID_ADDRESS: u64 = 218;
const SYS_SET_ROBUST_LIST: u64 = 273;
const SYS_SECCOMP: u64 = 317;
const SYS_RSEQ: u64 = 334;
const SYS_CLOSE_RANGE: u64 = 436;
const SYS_MSEAL: u64 = 462;

/// CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM
const THREAD_FLAGS: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;
const PROT_NONE: u64 = 0;
const PROT_RW: u64 = 3;
const PROT_RX: u64 = 5;
/// MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE
const MAP_HERE: u64 = 0x02 | 0x20 | 0x4000 | 0x10_0000;
/// MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED_NOREPLACE
const MAP_FILE_HERE: u64 = 0x02 | 0x4000 | 0x10_0000;
/// MAP_SHARED | MAP_FIXED_NOREPLACE
const MAP_VIEW_HERE: u64 = 0x01 | 0x10_0000;
const MAP_GROWSDOWN: u64 = 0x100;
const MREMAP_MAYMOVE_FIXED: u64 = 3;
const MADV_DONTNEED: u64 = 4;
const PR_SET_MM: u64 = 35;
const PR_SET_MM_MAP: u64 = 14;
const RSEQ_UNREGISTER: u64 = 1;
const SIGTRAP: u64 = 5;
/// Signals whose actions cannot be set: `SIGKILL`, `SIGSTOP`.
const FIXED_SIGNALS: [u64; 2] = [9, 19];
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
    /// The files that it maps: inodes here, and what they stand for.
    pub files: Vec<(u64, FileArea)>,
}

/// A guest under construction. Dropped, it is no more.
pub struct GuestBuilder {
    pub(super) empty: Empty,
    injector: Option<Injector>,
    pub(super) stub: u64,
    pub(super) places: Vec<Place>,
    pub(super) files: Backings,
    /// The copy of home's vDSO that is to be patched, when this kernel's is not used: its address and bytes.
    pub(super) copy: Option<(u64, Vec<u8>)>,
    pub(super) forced: ProcMem,
    pub(super) conn: Option<i32>,
    threads: Vec<Thread>,
    actions: Vec<[u64; 4]>,
    mm: MmLayout,
    /// Soft limits of data and of the address space.
    limits: [(u32, u64); 2],
}

impl GuestBuilder {
    /// Steps 1 to 5. With `conn`, the connection on which the contents will come, [`GuestBuilder::receive`] is fast.
    pub fn create(meta: &Meta, conn: Option<BorrowedFd<'_>>) -> io::Result<GuestBuilder> {
        let places = layout::places(meta)?;
        let whole = |thread: &Thread| thread.regs.len() == REGS;
        if meta.threads.is_empty() || !meta.threads.iter().all(whole) || meta.actions.len() != 64 {
            return Err(invalid("the image is not complete"));
        }
        let files = Backings::new(layout::files(&meta.areas))?;
        let mut kept = files.descriptors();
        kept.extend(conn.map(|fd| fd.as_raw_fd()));
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
            threads: meta.threads.clone(),
            actions: meta.actions.clone(),
            mm: meta.mm,
            limits: limits(meta, &places),
            places,
        };
        builder.seize()?;
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

    /// Steps 7 to 10, with the filter's program.
    pub fn finish(mut self, filter: &[u8]) -> io::Result<Built> {
        self.write_copy()?;
        let calls = self.last_calls()?;
        let stub = self.stub;
        run_list(self.injector()?, stub, &calls)?;
        let mut numbered = self.number_of_first()? == self.threads[0].tid;
        let mut others = Vec::with_capacity(self.threads.len() - 1);
        for at in 1..self.threads.len() {
            let (tid, number) = self.another_thread(at)?;
            numbered &= number == self.threads[at].tid;
            others.push(tid);
        }
        // The list's end was a trap, which takes the action of SIGTRAP away.
        let trap = self.action_at(SIGTRAP);
        self.injector()?
            .call(SYS_RT_SIGACTION, [SIGTRAP, trap, 0, 8, 0, 0])?;
        let listener = self.install(filter)?;
        let task = self.let_go()?;
        let empty = std::mem::take(&mut self.empty);
        let files = std::mem::take(&mut self.files).names()?;
        Ok(Built {
            pid: task.pid(),
            others,
            listener,
            anchor: empty.anchor,
            numbers: empty.numbers,
            numbered,
            clock_offsets: empty.clock_offsets,
            files,
        })
    }

    fn number_of_first(&mut self) -> io::Result<i32> {
        Ok(self.injector()?.call(SYS_GETPID, [0; 6])? as i32)
    }

    /// Step 8 for one thread, which stays stopped: its number here, and in the guest's namespace.
    fn another_thread(&mut self, at: usize) -> io::Result<(i32, i32)> {
        if let Some(numbers) = &mut self.empty.numbers {
            numbers.next(self.threads[at].tid)?;
        }
        let injector = self.injector()?;
        let number = injector.call(SYS_CLONE, [THREAD_FLAGS, 0, 0, 0, 0, 0])? as i32;
        let tid = injector.take_child().ok_or_else(crate::sys::errno::gone)?;
        wait_stop(tid)?;
        let mut inside = Injector::new(Stopped::known(tid), gadget(self.stub))?;
        let thread = self.threads[at].clone();
        let (stack, flags, size) = thread.altstack;
        let altstack: Vec<u8> = [stack, u64::from(flags as u32), size]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        mem::write_all(tid, self.stub + SCRATCH, &altstack)?;
        let mut calls = vec![Call::may(
            SYS_SIGALTSTACK,
            [self.stub + SCRATCH, 0, 0, 0, 0, 0],
        )];
        calls.extend(self.thread_calls(&thread)?);
        run_list(&mut inside, self.stub, &calls)?;
        *inside.saved_mut() = registers(&thread)?;
        inside.set_mask(thread.mask);
        inside.finish()?.set_xsave(&thread.xsave)?;
        Ok((tid, number))
    }

    /// What a thread's kernel side has beyond registers, mask and alternate stack.
    fn thread_calls(&mut self, thread: &Thread) -> io::Result<Vec<Call>> {
        let mut calls = Vec::new();
        if thread.robust.0 != 0 {
            let (head, len) = thread.robust;
            calls.push(Call::may(SYS_SET_ROBUST_LIST, [head, len, 0, 0, 0, 0]));
        }
        calls.push(Call::may(
            SYS_SET_TID_ADDRESS,
            [thread.clear_tid, 0, 0, 0, 0, 0],
        ));
        calls.extend(self.rseq(thread)?);
        Ok(calls)
    }

    /// Fresh memory where the process has some, or its copy of a file's.
    fn mapping(&self, place: &Place) -> Call {
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
            None => (MAP_HERE | grows, u64::MAX, 0),
        };
        let args = [place.start, len, prot, flags, fd, offset];
        Call::must("map memory", SYS_MMAP, args)
    }

    /// A view of a file whose contents are complete.
    fn view(&self, place: &Place) -> Option<Call> {
        let backed = place.file.as_ref().filter(|_| place.shared)?;
        let (len, prot) = (place.end - place.start, u64::from(place.prot));
        let fd = self.files.descriptor(backed) as u64;
        let args = [place.start, len, prot, MAP_VIEW_HERE, fd, backed.offset];
        Some(Call::must("map a file", SYS_MMAP, args))
    }

    fn write_copy(&mut self) -> io::Result<()> {
        let Some((start, mut bytes)) = self.copy.take() else {
            return Ok(());
        };
        vdso::patch(&mut bytes)?;
        mem::write_all(self.empty.pid, start, &bytes)
    }

    /// Address of a signal's action in the data that `last_calls` has put there.
    fn action_at(&self, signo: u64) -> u64 {
        self.stub + DATA + (signo - 1) * 32
    }

    /// Step 7.
    fn last_calls(&mut self) -> io::Result<Vec<Call>> {
        let base = self.stub + DATA;
        let mut data: Vec<u64> = self.actions.iter().flatten().copied().collect();
        let place = |data: &mut Vec<u64>, words: &[u64]| {
            let at = base + data.len() as u64 * 8;
            data.extend_from_slice(words);
            at
        };
        let first = self.threads[0].clone();
        let (stack, flags, size) = first.altstack;
        let altstack = place(&mut data, &[stack, u64::from(flags as u32), size]);
        let layout = mm_map(&self.mm);
        let mm = place(&mut data, &layout);
        let mut limits = Vec::new();
        for (resource, soft) in self.limits {
            // The hard limit, which it has from us, is not ours to raise.
            let (_, hard) = process::limit(0, resource)?;
            limits.push(place(&mut data, &[soft.min(hard), hard]));
        }
        let bytes: Vec<u8> = data.iter().flat_map(|word| word.to_le_bytes()).collect();
        mem::write_all(self.empty.pid, base, &bytes)?;

        let program = self
            .places
            .iter()
            .filter(|place| place.prot != place.first_prot() && !place.shared);
        let own = program.filter(|place| place.kind != Kind::Vvar && (place.kind != Kind::Vdso));
        let mut calls: Vec<Call> = own.map(protection).collect();
        self.files.seal()?;
        calls.extend(self.places.iter().filter_map(|place| self.view(place)));
        let copied = self.places.iter().find(|place| place.kind == Kind::Vdso);
        // A vDSO of this kernel's is protected as it must be already, and cannot be changed.
        calls.extend(copied.map(|place| Call {
            must: None,
            ..protection(place)
        }));
        calls.push(Call::must(
            "set up the heap",
            SYS_PRCTL,
            [PR_SET_MM, PR_SET_MM_MAP, mm, layout.len() as u64 * 8, 0, 0],
        ));
        for signo in (1..=64).filter(|signo| !FIXED_SIGNALS.contains(signo)) {
            let args = [signo, self.action_at(signo), 0, 8, 0, 0];
            calls.push(Call::must("set a signal's action", SYS_RT_SIGACTION, args));
        }
        calls.push(Call::may(SYS_SIGALTSTACK, [altstack, 0, 0, 0, 0, 0]));
        calls.extend(self.thread_calls(&first)?);
        for ((resource, _), at) in self.limits.iter().zip(limits) {
            let args = [u64::from(*resource), at, 0, 0, 0, 0];
            calls.push(Call::must("set a limit", SYS_SETRLIMIT, args));
        }
        // The connection, and whatever it had no time to close itself.
        let all = [0, u64::from(u32::MAX), 0, 0, 0, 0];
        calls.push(Call::must("close descriptors", SYS_CLOSE_RANGE, all));
        Ok(calls)
    }

    /// The kernel wants the area as it was before its first registration.
    fn rseq(&mut self, thread: &Thread) -> io::Result<Option<Call>> {
        let (address, size, signature) = thread.rseq;
        if address == 0 {
            return Ok(None);
        }
        let unregistered = [0, u32::MAX].map(u32::to_le_bytes).concat();
        self.write(address, &unregistered)?;
        let args = [address, u64::from(size), 0, u64::from(signature), 0, 0];
        Ok(Some(Call::must("register rseq", SYS_RSEQ, args)))
    }

    /// Step 9. What is left of the room for building goes first.
    fn install(&mut self, filter: &[u8]) -> io::Result<Listener> {
        const FPROG: usize = 16;
        let pid = self.empty.pid;
        let (scratch, rest) = (self.stub + SCRATCH, self.stub + 2 * SCRATCH);
        if filter.len() + FPROG > SCRATCH as usize {
            return Err(invalid("the filter is too long"));
        }
        let program = scratch + FPROG as u64;
        mem::write_all(pid, scratch, &seccomp::fprog_bytes(filter, program))?;
        mem::write_all(pid, program, filter)?;
        let rest_len = STUB_SIZE - 2 * SCRATCH;
        let code = gadget(self.stub);
        let injector = self.injector()?;
        // The program cannot change the code by which its host makes calls in it. Kernels before 6.10 have no seals.
        let _ = injector.call(SYS_MSEAL, [code, SCRATCH, 0, 0, 0, 0]);
        injector.call(SYS_MADVISE, [rest, rest_len, MADV_DONTNEED, 0, 0, 0])?;
        injector.call(SYS_MPROTECT, [rest, rest_len, PROT_NONE, 0, 0, 0])?;
        let args = [
            seccomp::SET_MODE_FILTER,
            seccomp::INSTALL_FLAGS | seccomp::ALL_THREADS,
            scratch,
            0,
            0,
            0,
        ];
        let fd = injector.call(SYS_SECCOMP, args)?;
        let pidfd = process::pidfd_open(pid)?;
        let listener = Listener::from(process::pidfd_getfd(pidfd.as_fd(), fd as i32)?);
        // Older kernels do not have it, and are slower.
        let _ = listener.set_sync_wake_up();
        injector.call_through(SYS_CLOSE, [fd, 0, 0, 0, 0, 0], &listener, &mut Vec::new())?;
        Ok(listener)
    }

    /// Step 10.
    fn let_go(&mut self) -> io::Result<Stopped> {
        let first = &self.threads[0];
        let regs = registers(first)?;
        let mut injector = self.injector.take().ok_or_else(crate::sys::errno::gone)?;
        *injector.saved_mut() = regs;
        injector.set_mask(first.mask);
        let task = injector.finish()?;
        task.set_xsave(&first.xsave)?;
        Ok(task)
    }
}

fn registers(thread: &Thread) -> io::Result<Regs> {
    let words: [u64; REGS] = thread
        .regs
        .as_slice()
        .try_into()
        .map_err(|_| invalid("registers"))?;
    Ok(Regs::from_array(words))
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

fn protection(place: &Place) -> Call {
    let args = [
        place.start,
        place.end - place.start,
        u64::from(place.prot),
        0,
        0,
        0,
    ];
    Call::must("protect memory", SYS_MPROTECT, args)
}

/// `struct prctl_mm_map` without auxiliary vector and program.
fn mm_map(mm: &MmLayout) -> [u64; 13] {
    const NO_FILE: u64 = 0xffff_ffff << 32;
    [
        mm.start_code,
        mm.end_code,
        mm.start_data,
        mm.end_data,
        mm.start_brk,
        mm.brk,
        mm.start_stack,
        mm.arg_start,
        mm.arg_end,
        mm.env_start,
        mm.env_end,
        0,
        NO_FILE,
    ]
}
