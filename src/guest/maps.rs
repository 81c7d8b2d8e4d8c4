//! Files mapped into the guest.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;

use crate::guest::filter;
use crate::guest::host::{Host, Phase, Thread};
use crate::image::capture::Calls;
use crate::image::{Area, FileArea};
use crate::migrate::tracee;
use crate::sys::abi::{self, ENOMEM};
use crate::sys::backing::Backing;
use crate::sys::inject::Injector;
use crate::sys::procfs;
use crate::sys::ptrace::Stopped;
use crate::sys::seccomp::{Notification, Response};
use crate::wire::channel::{BIG, BIG_AREAS, BIG_SIZE, STUB_SIZE, THREADS};
use crate::wire::ctl::FromHost;

const PAGE: u64 = 4096;
/// Contents are fetched in parts of this size.
const PART: u64 = 1 << 20;
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

/// Which file of home each file is that the guest maps: by its inode here.
#[derive(Clone, Debug, Default)]
pub struct FileMaps(HashMap<u64, FileArea>);

impl FileMaps {
    pub fn new(files: Vec<(u64, FileArea)>) -> FileMaps {
        FileMaps(files.into_iter().collect())
    }

    /// The same while the guest runs on: what it has mapped just now is left out.
    pub fn label_known(&self, areas: &mut Vec<Area>) {
        areas.retain(|area| match &area.file {
            Some(here) => !area.is_program() || self.0.contains_key(&here.inode),
            None => true,
        });
        for area in areas.iter_mut().filter(|area| area.is_program()) {
            if let Some(here) = &mut area.file
                && let Some(file) = self.0.get(&here.inode)
            {
                let offset = here.offset;
                *here = FileArea {
                    offset,
                    ..file.clone()
                };
            }
        }
    }

    /// Gives areas their files' names at home.
    pub fn label(&self, areas: &mut [Area]) -> io::Result<()> {
        for area in areas.iter_mut().filter(|area| area.is_program()) {
            let Some(here) = &area.file else { continue };
            let known = self.0.get(&here.inode).cloned();
            let file = known.ok_or_else(|| io::Error::other(format!("{} is mapped", here.path)))?;
            area.file = Some(FileArea {
                offset: here.offset,
                ..file
            });
        }
        Ok(())
    }
}

/// Where the larger staging area of the thread with this stub is.
fn big_area(first: u64, stub: u64) -> Option<u64> {
    let at = if stub == first {
        0
    } else {
        (stub - first - THREADS) / STUB_SIZE + 1
    };
    (at < BIG_AREAS).then(|| first + BIG + at * BIG_SIZE)
}

/// What `fstat` says of a mapped file.
struct FileFacts {
    dev: u64,
    inode: u64,
    regular: bool,
    size: u64,
}

impl Host {
    /// `mmap` of a file: the deputy maps it too, at the same address, and the contents come from there.
    pub fn map_file(&mut self, t: usize, notification: &Notification) -> io::Result<()> {
        let [_, len, _, flags, fd, offset] = notification.args;
        let facts = match self.file_facts(t, fd)? {
            Ok(facts) => facts,
            Err(errno) => return self.complete(t, notification, errno),
        };
        if !facts.regular {
            return self.go_home_for(t, notification, "maps a device");
        }
        if len == 0 || offset % PAGE != 0 {
            return self.complete(t, notification, -i64::from(abi::EINVAL));
        }
        if flags & abi::MAP_SHARED != 0 {
            let (pid, tid) = (self.home_pid(), self.threads[t].home_tid);
            self.threads[t].phase = Phase::Asking(*notification);
            self.tell(&FromHost::View {
                pid,
                tid,
                fd: fd as i32,
            });
            return Ok(());
        }
        self.map_regular(t, notification, &facts)
    }

    /// The warden says whether a file may be mapped shared: nobody writes it, and whoever wants to waits for this guest.
    pub fn view_answered(&mut self, home_tid: i32, lent: bool) -> io::Result<()> {
        let asked = |thread: &Thread| match thread.phase {
            Phase::Asking(notification) if thread.home_tid == home_tid => Some(notification),
            _ => None,
        };
        let mut threads = self.threads.iter().enumerate();
        let Some((t, notification)) = threads.find_map(|(t, thread)| Some((t, asked(thread)?)))
        else {
            return Ok(());
        };
        if !lent {
            return self.go_home_for(t, &notification, "maps a file shared that somebody writes");
        }
        match self.file_facts(t, notification.args[4])? {
            Ok(facts) => self.map_regular(t, &notification, &facts),
            Err(errno) => self.complete(t, &notification, errno),
        }
    }

    /// Nobody can say it: it is so at home in any case.
    pub fn views_unanswered(&mut self) -> io::Result<()> {
        let asking = |thread: &&Thread| matches!(thread.phase, Phase::Asking(_));
        match self
            .threads
            .iter()
            .find(asking)
            .map(|thread| thread.home_tid)
        {
            Some(tid) => self.view_answered(tid, false),
            None => Ok(()),
        }
    }

    fn map_regular(
        &mut self,
        t: usize,
        notification: &Notification,
        facts: &FileFacts,
    ) -> io::Result<()> {
        if self.comes_home_live() {
            // It is mapped at home as well, where memory is being written.
            return self.go_home_for(t, notification, "maps a file while it is on its way home");
        }
        let mut backing = Backing::new()?;
        let there = self
            .listener
            .add_fd(notification.id, backing.as_fd(), None, true, false)?;
        // Out of the call, so that calls can be injected; its result is put into the register afterwards.
        tracee::interrupt(self.threads[t].tid)?;
        self.threads[t].phase = Phase::Running;
        self.listener.send(notification.id, Response::Value(0))?;
        if !self.await_event_stop(t)? {
            return Ok(());
        }
        let result = self.map_here(t, notification.args, facts, (&mut backing, there))?;
        self.inject(t, abi::SYS_CLOSE, [there as u64, 0, 0, 0, 0, 0])?;
        if result > 0 {
            let path = String::new();
            let (dev, inode) = (facts.dev, facts.inode);
            let file = FileArea {
                path,
                offset: 0,
                dev,
                inode,
            };
            self.files.0.insert(backing.inode()?, file);
        }
        let mut regs = tracee::regs(self.threads[t].tid)?;
        regs.rax = result as u64;
        tracee::set_regs(self.threads[t].tid, &regs)?;
        if self.leaving {
            self.leave_if_stopped()
        } else if self.halted {
            Ok(())
        } else {
            self.go_on(t, 0)
        }
    }

    /// Whether a descriptor is of a regular file, whose transfers the kernel does not interrupt.
    pub fn is_file(&mut self, t: usize, fd: u64) -> io::Result<bool> {
        Ok(self.file_facts(t, fd)?.is_ok_and(|facts| facts.regular))
    }

    fn file_facts(&mut self, t: usize, fd: u64) -> io::Result<Result<FileFacts, i64>> {
        if self.channels.contains(fd as i32) {
            return Ok(Err(-i64::from(abi::EBADF)));
        }
        let (value, stat) =
            self.threads[t]
                .deputy
                .call_out(abi::SYS_FSTAT, [fd, 0, 0, 0, 0, 0], 1, 144)?;
        if value < 0 {
            return Ok(Err(value));
        }
        let word =
            |at: usize| u64::from_le_bytes(stat[at..at + 8].try_into().expect("eight bytes"));
        let mode = u32::from_le_bytes(stat[24..28].try_into().expect("four bytes"));
        Ok(Ok(FileFacts {
            dev: word(0),
            inode: word(8),
            regular: mode & S_IFMT == S_IFREG,
            size: word(48),
        }))
    }

    /// Maps the range at home and here, where a descriptor of `backing` is. The result of the call, or `-errno`.
    fn map_here(
        &mut self,
        t: usize,
        args: [u64; 6],
        facts: &FileFacts,
        (backing, fd_here): (&mut Backing, i32),
    ) -> io::Result<i64> {
        let [addr, len, prot, flags, fd, offset] = args;
        let fixed = flags & abi::MAP_FIXED != 0;
        let at = match self.find_place(t, addr, len, flags) {
            Ok(at) => at,
            Err(error) => return Ok(-i64::from(error.raw_os_error().unwrap_or(ENOMEM))),
        };
        let home_flags = flags & !abi::MAP_FIXED_NOREPLACE | abi::MAP_FIXED;
        let readable = prot | abi::PROT_READ;
        let home = self.threads[t]
            .deputy
            .raw_call(abi::SYS_MMAP, [at, len, readable, home_flags, fd, offset])?;
        if home < 0 {
            if !fixed {
                self.inject(t, abi::SYS_MUNMAP, [at, len, 0, 0, 0, 0])?;
            }
            return Ok(home);
        }
        let in_file = len.min(facts.size.saturating_sub(offset));
        self.fill(t, backing, (at, offset), in_file)?;
        if prot & abi::PROT_READ == 0 {
            self.threads[t]
                .deputy
                .raw_call(abi::SYS_MPROTECT, [at, len, prot, 0, 0, 0])?;
        }
        backing.seal()?;
        let kind = match flags & abi::MAP_SHARED {
            0 => abi::MAP_PRIVATE,
            _ => abi::MAP_SHARED,
        };
        let flags = kind | abi::MAP_FIXED | abi::MAP_NORESERVE;
        let args = [at, len, prot, flags, fd_here as u64, offset];
        self.inject(t, abi::SYS_MMAP, args)?;
        Ok(at as i64)
    }

    /// Where a mapping goes: where the program says, or where its kernel here finds room, which is taken at once.
    fn find_place(&mut self, t: usize, addr: u64, len: u64, flags: u64) -> io::Result<u64> {
        if flags & abi::MAP_FIXED != 0 {
            return Ok(addr);
        }
        let kept = abi::MAP_FIXED_NOREPLACE | abi::MAP_32BIT;
        let reserve = flags & kept | abi::MAP_PRIVATE | abi::MAP_ANONYMOUS | abi::MAP_NORESERVE;
        let none = [addr, len, abi::PROT_NONE, reserve, u64::MAX, 0];
        self.inject(t, abi::SYS_MMAP, none)
    }

    /// Copies contents from where the deputy has mapped them, up to the end of the file.
    fn fill(
        &mut self,
        t: usize,
        backing: &mut Backing,
        (at, offset): (u64, u64),
        len: u64,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let part = PART.min(len - done);
            let bytes = self.threads[t].deputy.read_memory(at + done, part)?;
            if bytes.is_empty() {
                break;
            }
            backing.write(offset + done, &bytes)?;
            done += bytes.len() as u64;
        }
        Ok(())
    }

    /// Whether the guest maps a file anywhere in a range.
    pub fn maps_file(&self, start: u64, len: u64) -> io::Result<bool> {
        let end = start.saturating_add(len);
        Ok(procfs::file_mapping(self.guest(), start)?.is_some_and(|next| next < end))
    }

    /// `mremap`: what maps a file moves, grows and shrinks at home. The kernel would not see memory as one of which a part only is watched.
    pub fn remap(&mut self, t: usize, notification: &Notification) -> io::Result<()> {
        let [start, len, ..] = notification.args;
        if self.maps_file(start, len.max(1))? {
            return self.go_home_for(t, notification, "moves a mapped file");
        }
        if start.is_multiple_of(PAGE) && len > 0 {
            let end = start
                .checked_add(len)
                .and_then(|end| end.checked_next_multiple_of(PAGE));
            if let (Some(watch), Some(end)) = (&self.written, end) {
                // Where nothing is mapped the program's own call fails as well.
                let _ = watch.remove(start, end);
            }
        }
        self.let_through(t, notification)
    }

    /// A call injected into the stopped guest. The guest's filter notifies some of them, like any call of the guest's.
    pub fn inject(&mut self, t: usize, nr: u64, args: [u64; 6]) -> io::Result<u64> {
        let gadget = crate::image::restore::gadget(self.meta.stub);
        let mut injector = Injector::new(Stopped::known(self.threads[t].tid), gadget)?;
        if filter::is_notified(nr, &args) {
            injector.call_through(nr, args, &self.listener, &mut self.early)
        } else {
            injector.call(nr, args)
        }
    }

    /// A larger staging area at home, at least `len` bytes.
    pub fn grow_big(&mut self, t: usize, len: u64) -> io::Result<Result<(), i64>> {
        if let Some((addr, old)) = self.threads[t].big.take() {
            self.threads[t]
                .deputy
                .raw_call(abi::SYS_MUNMAP, [addr, old, 0, 0, 0, 0])?;
        }
        let len = len.div_ceil(PAGE) * PAGE;
        let read_write = abi::PROT_READ | abi::PROT_WRITE;
        // The stub stands where nothing is mapped for a long way, so no mapping of the guest collides with this one.
        let flags = abi::MAP_PRIVATE | abi::MAP_ANONYMOUS | abi::MAP_NORESERVE;
        let (place, flags) = match big_area(self.meta.stub, self.threads[t].deputy.base) {
            Some(place) if len <= BIG_SIZE => (place, flags | abi::MAP_FIXED),
            _ => (0, flags),
        };
        let addr = self.threads[t]
            .deputy
            .raw_call(abi::SYS_MMAP, [place, len, read_write, flags, u64::MAX, 0])?;
        if addr < 0 {
            return Ok(Err(addr));
        }
        self.threads[t].big = Some((addr as u64, len));
        Ok(Ok(()))
    }
}
