//! What of a process's memory its receiver has, and what is still to be sent: all at once from a stopped process, or in rounds from
//! one that runs on, of which the last is sent when it has stopped.
//!
//! A look at the process finds what was written since the look before, and from then on notes again what is written; only then is the
//! memory read. So what is written while it is read is found by the next look. Memory that is new, or has taken the place of other
//! memory, is not watched: a look finds that, and what the receiver has there counts no more.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Arc;

use crate::image::areas::is_for_monitors;
use crate::image::ranges::{Range, common, minus, push, sorted, total, union, within};
use crate::image::send::{Sender, Source};
use crate::image::squeeze::Squeeze;
use crate::image::{Area, FileArea, Kind};
use crate::sys::abi;
use crate::sys::pagemap::{Pagemap, Want};
use crate::sys::writes::WriteWatch;

/// What the receiver needs of areas that map files, besides what the process has changed in its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// What they have.
    Send,
    /// The same; they are copies that never change.
    SendCopies,
    /// Nothing: it has them.
    There,
}

/// What a look has found of anonymous memory.
#[derive(Debug, Default)]
pub struct Look {
    send: Vec<Range>,
    kept: Vec<Range>,
}

impl Look {
    /// Bytes that the receiver lacks.
    pub fn bytes(&self) -> u64 {
        total(&self.send)
    }
}

/// The memory of one process on its way to one receiver.
pub struct Copier {
    pid: i32,
    files: Files,
    watch: Option<Arc<WriteWatch>>,
    /// Anonymous memory of which the receiver has what was there at the last look.
    there: Vec<Range>,
    /// Anonymous memory of which home has what was there at the last look.
    home: Vec<Range>,
    known: Vec<Known>,
    rounds: u32,
    /// The receiver is distant.
    squeeze: Option<Squeeze>,
}

/// A file of which the receiver has something.
struct Known {
    file: FileArea,
    /// As it was then; `None`: that cannot be told.
    stamp: Option<Stamp>,
    offsets: Vec<Range>,
}

/// Time of the last change, in seconds and nanoseconds, and size.
type Stamp = (i64, i64, u64);

impl Copier {
    /// With a `watch`, there can be several rounds.
    pub fn new(pid: i32, files: Files, watch: Option<Arc<WriteWatch>>) -> Copier {
        Copier {
            pid,
            files,
            watch,
            there: Vec::new(),
            home: Vec::new(),
            known: Vec::new(),
            rounds: 0,
            squeeze: None,
        }
    }

    /// For a process that is away: home has what it has in these ranges.
    pub fn with_home(self, home: Vec<Range>) -> Copier {
        Copier { home, ..self }
    }

    /// Whether the receiver is distant: contents are packed while that is faster.
    pub fn set_distant(&mut self, distant: bool) {
        self.squeeze = distant.then(Squeeze::default);
    }

    /// Another receiver, of process `pid`. Home needs nothing of files, and has what was not written since.
    pub fn begin(&mut self, pid: i32, files: Files) {
        (self.pid, self.files) = (pid, files);
        self.forget();
        if files == Files::There {
            self.there.clone_from(&self.home);
        }
    }

    /// Whether there can be several rounds.
    pub fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    pub fn files(&self) -> Files {
        self.files
    }

    /// Of what home has the contents as they were at the last look.
    pub fn home_has(&self) -> &[Range] {
        &self.home
    }

    /// The receiver has nothing (any more).
    pub fn forget(&mut self) {
        self.there.clear();
        self.known.clear();
        self.rounds = 0;
    }

    /// The receiver has kept no more than these.
    pub fn limit(&mut self, kept: &[Range]) {
        self.there = common(&self.there, kept);
    }

    /// Looks at a process that runs; memory that is not watched yet is from now on.
    pub fn look(&mut self, areas: &[Area]) -> io::Result<Look> {
        self.look_at(areas, true)
    }

    /// Looks at a process that has stopped: the last look.
    pub fn look_stopped(&mut self, areas: &[Area]) -> io::Result<Look> {
        self.look_at(areas, false)
    }

    fn look_at(&mut self, areas: &[Area], running: bool) -> io::Result<Look> {
        let map = Pagemap::open(self.pid)?;
        let (mut void, mut present) = (Vec::new(), Vec::new());
        for area in areas.iter().filter(|area| is_anonymous(area)) {
            // What is not watched is written all the time.
            if self.written(area, &map, running, &mut void)? || !running {
                for range in map.ranges(area.start, area.end, Want::Contents)? {
                    push(&mut present, range);
                }
            }
        }
        self.there = minus(&self.there, &void);
        self.home = minus(&self.home, &void);
        Ok(Look {
            send: minus(&present, &self.there),
            kept: common(&present, &self.there),
        })
    }

    /// Adds to `void` what has changed of an area; whether it is watched.
    fn written(
        &self,
        area: &Area,
        map: &Pagemap,
        running: bool,
        void: &mut Vec<Range>,
    ) -> io::Result<bool> {
        let whole = (area.start, area.end);
        if let Some(watch) = &self.watch {
            if let Some(written) = map.take_written(whole.0, whole.1)? {
                written.into_iter().for_each(|range| push(void, range));
                return Ok(true);
            }
            push(void, whole);
            // It may be gone already.
            return Ok(running
                && watch.add(whole.0, whole.1).is_ok()
                && map.take_written(whole.0, whole.1)?.is_some());
        }
        push(void, whole);
        Ok(false)
    }

    /// Sends what a look has found while the process runs on; gives how many bytes of contents that were, as they were sent.
    pub fn send_round(
        &mut self,
        areas: &[Area],
        look: &Look,
        out: &mut impl Write,
    ) -> io::Result<u64> {
        let mut squeeze = self.squeeze;
        let mut sender = Sender::new(self.pid, out, squeeze.as_mut());
        self.send_files_early(areas, &mut sender)?;
        // Fresh memory is zeros. What came before, or is at home, must be told that it is now.
        let fresh = self.rounds == 0 && self.files != Files::There;
        let source = if fresh {
            Source::Anonymous
        } else {
            Source::Own
        };
        for area in areas.iter().filter(|area| is_anonymous(area)) {
            for (start, end) in within(&look.send, area.start, area.end) {
                sender.range(start, end, source)?;
            }
        }
        sender.finish()?;
        let unread = sorted(std::mem::take(&mut sender.unread));
        self.there = union(&self.there, &minus(&look.send, &unread));
        self.rounds += 1;
        let bytes = sender.bytes;
        self.squeeze = squeeze;
        Ok(bytes)
    }

    /// Sends all that the receiver still lacks of a stopped process, and says what it has; gives how many bytes of contents that were.
    pub fn send_last(
        &mut self,
        areas: &[Area],
        look: &Look,
        out: &mut impl Write,
    ) -> io::Result<u64> {
        let map = Pagemap::open(self.pid)?;
        let mut squeeze = self.squeeze;
        let mut sender = Sender::new(self.pid, out, squeeze.as_mut());
        self.forget_changed();
        self.send_files(areas, &mut sender)?;
        for area in areas.iter().filter(|area| !area.shared) {
            // What is there of common memory the tables of the process do not tell.
            if matches!(area.kind, Kind::Vdso | Kind::Common) {
                sender.range(area.start, area.end, Source::Own)?;
            } else if area.is_program() && area.file.is_some() {
                for (start, end) in map.ranges(area.start, area.end, Want::Own)? {
                    sender.range(start, end, Source::Own)?;
                }
            }
        }
        for area in areas.iter().filter(|area| is_anonymous(area)) {
            for (start, end) in within(&look.send, area.start, area.end) {
                sender.range(start, end, Source::Anonymous)?;
            }
            for (start, end) in within(&look.kept, area.start, area.end) {
                sender.mention(start, end, Source::Kept)?;
            }
        }
        sender.finish()?;
        Ok(sender.bytes)
    }

    /// Sends what is the files' and not known to the receiver.
    fn send_files(
        &mut self,
        areas: &[Area],
        sender: &mut Sender<'_, impl Write>,
    ) -> io::Result<()> {
        if self.files == Files::There {
            return Ok(());
        }
        let map = Pagemap::open(self.pid)?;
        for area in areas.iter().filter(|area| area.is_program()) {
            let Some(file) = &area.file else { continue };
            let own = match area.shared {
                true => Vec::new(),
                false => map.ranges(area.start, area.end, Want::Own)?,
            };
            for (start, end) in self.lacking(area, file, &own) {
                sender.range(start, end, Source::File)?;
            }
            for (start, end) in own {
                sender.mention(start, end, Source::Covered)?;
            }
        }
        sender.flush()
    }

    /// The same while the process runs on, as far as changes of a file can be told. It is read itself: in the process, something else may be
    /// mapped in its place by now.
    fn send_files_early(
        &mut self,
        areas: &[Area],
        sender: &mut Sender<'_, impl Write>,
    ) -> io::Result<()> {
        if self.files != Files::Send {
            return Ok(());
        }
        let map = Pagemap::open(self.pid)?;
        for area in areas.iter().filter(|area| area.is_program()) {
            let Some(file) = &area.file else { continue };
            let known = self.known_file(file);
            if self.known[known].stamp.is_none() {
                continue;
            }
            let Some(contents) = open(file) else { continue };
            let own = match area.shared {
                true => Vec::new(),
                false => map.ranges(area.start, area.end, Want::Own)?,
            };
            for (start, end) in self.lacking(area, file, &own) {
                sender.contents((start, end), &contents, start - area.start + file.offset)?;
            }
        }
        Ok(())
    }

    /// Ranges of an area with what the receiver lacks of its file; from now on it has that. Another mapping of the same has nothing to add.
    fn lacking(&mut self, area: &Area, file: &FileArea, own: &[Range]) -> Vec<Range> {
        let known = self.known_file(file);
        let theirs = minus(&[(area.start, area.end)], own);
        let offsets = shifted(&theirs, area.start, file.offset);
        let lacking = minus(&offsets, &self.known[known].offsets);
        self.known[known].offsets = union(&self.known[known].offsets, &lacking);
        shifted(&lacking, file.offset, area.start)
    }

    fn known_file(&mut self, file: &FileArea) -> usize {
        let is = |known: &Known| known.file.is_of(file);
        self.known.iter().position(is).unwrap_or_else(|| {
            self.known.push(Known {
                file: file.clone(),
                stamp: self.stamp(file),
                offsets: Vec::new(),
            });
            self.known.len() - 1
        })
    }

    fn forget_changed(&mut self) {
        for at in 0..self.known.len() {
            let now = self.stamp(&self.known[at].file);
            let known = &mut self.known[at];
            if now.is_none() || now != known.stamp {
                known.offsets.clear();
            }
        }
    }

    fn stamp(&self, file: &FileArea) -> Option<Stamp> {
        if self.files == Files::SendCopies {
            return Some((0, 0, 0));
        }
        if is_for_monitors(&file.path) {
            // Its process writes it without a call.
            return None;
        }
        let facts = fs::metadata(&file.path).ok()?;
        let is_it = facts.ino() == file.inode;
        is_it.then(|| (facts.mtime(), facts.mtime_nsec(), facts.size()))
    }
}

/// Sends all memory of a stopped process to one who has its files and vDSO.
pub fn send_own(pid: i32, areas: &[Area], out: &mut impl Write) -> io::Result<()> {
    let mut own = areas.to_vec();
    own.retain(Area::is_program);
    let mut copier = Copier::new(pid, Files::There, None);
    let look = copier.look_stopped(&own)?;
    copier.send_last(&own, &look, out).map(drop)
}

/// The file that an area maps, to be read; `None` if it cannot be, or is another by now.
fn open(file: &FileArea) -> Option<File> {
    let mut open = File::options();
    open.read(true).custom_flags(abi::O_NONBLOCK as i32);
    let opened = open.open(&file.path).ok()?;
    let facts = opened.metadata().ok()?;
    (facts.is_file() && facts.ino() == file.inode).then_some(opened)
}

/// What only the process itself has, and can be watched.
pub fn is_anonymous(area: &Area) -> bool {
    area.is_program() && !area.shared && area.file.is_none() && area.kind != Kind::Common
}

/// Ranges counted from `to` instead of `from`.
fn shifted(ranges: &[Range], from: u64, to: u64) -> Vec<Range> {
    let shift = |at: u64| at - from + to;
    ranges
        .iter()
        .map(|range| (shift(range.0), shift(range.1)))
        .collect()
}

#[cfg(test)]
mod tests;
