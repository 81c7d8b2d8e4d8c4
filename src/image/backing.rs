//! The files that a guest maps, as files in memory of its own node: so its kernel knows what of a mapping is the file's and what the
//! process's own, and where the file ends.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use crate::image::FileArea;
use crate::image::layout::Backed;
use crate::sys::backing::Backing;

/// All of a guest: those of its first layout in the order of `layout::files`, and behind them those that later ones added. Each has
/// its descriptor's number in the guest.
#[derive(Debug, Default)]
pub struct Backings(Vec<(FileArea, Backing, RawFd)>);

impl Backings {
    /// Empty ones.
    pub fn new(files: Vec<FileArea>) -> io::Result<Backings> {
        let made = files.into_iter().map(|file| {
            let backing = Backing::new()?;
            let inherited = backing.as_raw_fd();
            Ok((file, backing, inherited))
        });
        made.collect::<io::Result<_>>().map(Backings)
    }

    /// Which it is that stands for this file.
    pub fn of(&self, file: &FileArea) -> Option<usize> {
        self.0.iter().position(|(known, ..)| known.is_of(file))
    }

    /// One more, of which the guest has the descriptor `there`; which it is.
    pub fn add(&mut self, file: FileArea, backing: Backing, there: RawFd) -> usize {
        self.0.push((file, backing, there));
        self.0.len() - 1
    }

    /// Their descriptors, for the guest to inherit.
    pub fn descriptors(&self) -> Vec<RawFd> {
        self.0.iter().map(|(_, _, there)| *there).collect()
    }

    pub fn descriptor(&self, backed: &Backed) -> RawFd {
        self.0[backed.file].2
    }

    /// Contents of a file at `skip` bytes behind the place that an area begins with; zeros if there are no `data`.
    pub fn write(
        &mut self,
        backed: &Backed,
        skip: u64,
        len: u64,
        data: Option<&[u8]>,
    ) -> io::Result<()> {
        let (_, backing, _) = &mut self.0[backed.file];
        match data {
            Some(data) => backing.write(backed.offset + skip, data),
            None => backing.extend(backed.offset + skip + len),
        }
    }

    /// From now on they can be mapped writable in private only.
    pub fn seal(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|(_, backing, _)| backing.seal())
    }

    /// What the guest's kernel calls each (an inode), and which file it is at home.
    pub fn names(self) -> io::Result<Vec<(u64, FileArea)>> {
        let named = self
            .0
            .into_iter()
            .map(|(file, backing, _)| Ok((backing.inode()?, file)));
        named.collect()
    }
}
