//! Files mapped into the guest: the deputy maps them too, at the same address, and their contents come from there.

use std::io;

use crate::guest::filter;
use crate::guest::host::Host;
use crate::image::capture::Calls;
use crate::image::{Area, FileArea};
use crate::migrate::tracee;
use crate::sys::abi::{self, ENOMEM};
use crate::sys::inject::Injector;
use crate::sys::mem;
use crate::sys::ptrace::Stopped;
use crate::sys::seccomp::{Notification, Response};
use crate::wire::channel::{BIG, BIG_AREAS, BIG_SIZE, STUB_SIZE, THREADS};

const PAGE: u64 = 4096;
/// Contents are fetched in parts of this size.
const PART: u64 = 1 << 20;
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;

/// Ranges of the guest that map files at home.
#[derive(Clone, Debug, Default)]
pub struct FileMaps(Vec<Area>);

impl FileMaps {
    pub fn new(areas: &[Area]) -> FileMaps {
        FileMaps(
            areas
                .iter()
                .filter(|area| area.file.is_some())
                .cloned()
                .collect(),
        )
    }

    pub fn overlaps(&self, start: u64, end: u64) -> bool {
        self.0
            .iter()
            .any(|area| area.start < end && start < area.end)
    }

    /// Records a mapping; what it replaces is cut out.
    pub fn add(&mut self, new: Area) {
        self.cut(new.start, new.end);
        self.0.push(new);
    }

    /// Forgets what lies in a range.
    pub fn cut(&mut self, start: u64, end: u64) {
        let mut rest = Vec::with_capacity(self.0.len() + 1);
        for area in self.0.drain(..) {
            rest.extend(part(&area, area.start, area.end.min(start)));
            rest.extend(part(&area, area.start.max(end), area.end));
        }
        self.0 = rest;
    }

    /// Gives areas of the guest's own map their files: anonymous areas that lie in a file's range are divided along it.
    pub fn label(&self, areas: Vec<Area>) -> Vec<Area> {
        let mut files = self.0.clone();
        files.sort_by_key(|area| area.start);
        let mut labelled = Vec::with_capacity(areas.len());
        for area in areas {
            let mut at = area.start;
            for file in files
                .iter()
                .filter(|file| file.start < area.end && area.start < file.end)
            {
                let (start, end) = (file.start.max(area.start), file.end.min(area.end));
                labelled.extend(part(&area, at, start));
                let inside = part(file, start, end).and_then(|piece| piece.file);
                labelled.extend(part(&area, start, end).map(|piece| Area {
                    file: inside,
                    shared: file.shared,
                    ..piece
                }));
                at = end;
            }
            labelled.extend(part(&area, at, area.end));
        }
        labelled
    }
}

/// The part of an area between two addresses, if there is any.
fn part(area: &Area, start: u64, end: u64) -> Option<Area> {
    (start < end).then(|| {
        let file = area.file.as_ref().map(|file| FileArea {
            offset: file.offset + (start - area.start),
            ..file.clone()
        });
        Area {
            start,
            end,
            file,
            ..area.clone()
        }
    })
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
    /// `mmap` of a file: private, or shared without the right to write.
    pub fn map_file(&mut self, t: usize, notification: &Notification) -> io::Result<()> {
        let [_, len, prot, flags, fd, offset] = notification.args;
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
        // Out of the call, so that calls can be injected; its result is put into the register afterwards.
        tracee::interrupt(self.threads[t].tid)?;
        self.threads[t].phase = crate::guest::host::Phase::Running;
        self.listener.send(notification.id, Response::Value(0))?;
        if !self.await_event_stop(t)? {
            return Ok(());
        }
        let result = self.map_here(t, notification.args, &facts)?;
        if result > 0 {
            let file = FileArea {
                path: String::new(),
                offset,
                dev: facts.dev,
                inode: facts.inode,
            };
            let (start, end) = (result as u64, result as u64 + len.div_ceil(PAGE) * PAGE);
            let shared = flags & abi::MAP_SHARED != 0;
            self.files.add(Area {
                start,
                end,
                prot: prot as u32,
                shared,
                file: Some(file),
                ..Area::default()
            });
        }
        let mut regs = tracee::regs(self.threads[t].tid)?;
        regs.rax = result as u64;
        tracee::set_regs(self.threads[t].tid, &regs)?;
        if self.leaving {
            self.leave_if_stopped()
        } else {
            self.go_on(t, 0)
        }
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

    /// Maps the range here and at home and fills it. The result of the call, or `-errno`.
    fn map_here(&mut self, t: usize, args: [u64; 6], facts: &FileFacts) -> io::Result<i64> {
        let [addr, len, prot, flags, fd, offset] = args;
        let place_flags = flags & (abi::MAP_FIXED | abi::MAP_FIXED_NOREPLACE)
            | abi::MAP_PRIVATE
            | abi::MAP_ANONYMOUS;
        let read_write = abi::PROT_READ | abi::PROT_WRITE;
        let mapped = self.inject(
            t,
            abi::SYS_MMAP,
            [
                addr,
                len,
                read_write,
                place_flags | abi::MAP_NORESERVE,
                u64::MAX,
                0,
            ],
        );
        let at = match mapped {
            Ok(at) => at,
            Err(error) => return Ok(-i64::from(error.raw_os_error().unwrap_or(ENOMEM))),
        };
        let home_flags = flags & !abi::MAP_FIXED_NOREPLACE | abi::MAP_FIXED;
        let home = self.threads[t].deputy.raw_call(
            abi::SYS_MMAP,
            [at, len, prot | abi::PROT_READ, home_flags, fd, offset],
        )?;
        if home < 0 {
            self.inject(t, abi::SYS_MUNMAP, [at, len, 0, 0, 0, 0])?;
            return Ok(home);
        }
        self.fill(t, at, len.min(facts.size.saturating_sub(offset)))?;
        if prot & abi::PROT_READ == 0 {
            self.threads[t]
                .deputy
                .raw_call(abi::SYS_MPROTECT, [at, len, prot, 0, 0, 0])?;
        }
        if prot != read_write {
            self.inject(t, abi::SYS_MPROTECT, [at, len, prot, 0, 0, 0])?;
        }
        Ok(at as i64)
    }

    fn fill(&mut self, t: usize, at: u64, len: u64) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let part = PART.min(len - done);
            let bytes = self.threads[t].deputy.read_memory(at + done, part)?;
            if bytes.is_empty() {
                break;
            }
            mem::write_all(self.threads[t].tid, at + done, &bytes)?;
            done += bytes.len() as u64;
        }
        Ok(())
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
