//! The last steps of building a guest: what its kernel keeps, its threads, the filter, and registers (steps 7 to 10 of `restore`).

use std::io;
use std::os::fd::AsFd;

use crate::image::gadget::{Call, DATA, SCRATCH, TIMES, run_list};
use crate::image::layout::Place;
use crate::image::restore::{Built, GuestBuilder, gadget, invalid};
use crate::image::{Kind, MmLayout, Thread, vdso};
use crate::sys::inject::Injector;
use crate::sys::mem;
use crate::sys::process;
use crate::sys::ptrace::{Stopped, wait_stop};
use crate::sys::regs::{REGS, Regs};
use crate::sys::seccomp::{self, Listener};

const SYS_MMAP: u64 = 9;
const SYS_MPROTECT: u64 = 10;
const SYS_RT_SIGACTION: u64 = 13;
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
/// MAP_SHARED | MAP_FIXED_NOREPLACE
const MAP_VIEW_HERE: u64 = 0x01 | 0x10_0000;
const MADV_DONTNEED: u64 = 4;
const PR_SET_MM: u64 = 35;
const PR_SET_MM_MAP: u64 = 14;
const SIGTRAP: u64 = 5;
/// Signals whose actions cannot be set: `SIGKILL`, `SIGSTOP`.
const FIXED_SIGNALS: [u64; 2] = [9, 19];

impl GuestBuilder {
    /// Steps 7 to 10, with the filter's program.
    pub fn finish(mut self, filter: &[u8]) -> io::Result<Built> {
        self.drop_the_rest()?;
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
        let watch = self.watch.take();
        Ok(Built {
            pid: task.pid(),
            others,
            listener,
            anchor: empty.anchor,
            numbers: empty.numbers,
            numbered,
            clock_offsets: empty.clock_offsets,
            ahead: empty.ahead,
            files,
            watch,
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
        let rest_len = TIMES - 2 * SCRATCH;
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
