//! The files that a guest maps, as files in memory of its own node: so its kernel knows what of a mapping is the file's and what the
//! process's own, and where the file ends.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use crate::image::FileArea;
use crate::image::layout::Backed;
use crate::sys::backing::Backing;

/// All of a guest, in the order of `layout::files`.
#[derive(Debug, Default)]
pub struct Backings(Vec<(FileArea, Backing)>);

impl Backings {
    /// Empty ones.
    pub fn new(files: Vec<FileArea>) -> io::Result<Backings> {
        let made = files.into_iter().map(|file| Ok((file, Backing::new()?)));
        made.collect::<io::Result<_>>().map(Backings)
    }

    /// Their descriptors, for the guest to inherit.
    pub fn descriptors(&self) -> Vec<RawFd> {
        self.0
            .iter()
            .map(|(_, backing)| backing.as_raw_fd())
            .collect()
    }

    pub fn descriptor(&self, backed: &Backed) -> RawFd {
        self.0[backed.file].1.as_raw_fd()
    }

    /// Contents of a file at `skip` bytes behind the place that an area begins with; zeros if there are no `data`.
    pub fn write(
        &mut self,
        backed: &Backed,
        skip: u64,
        len: u64,
        data: Option<&[u8]>,
    ) -> io::Result<()> {
        let (_, backing) = &mut self.0[backed.file];
        match data {
            Some(data) => backing.write(backed.offset + skip, data),
            None => backing.extend(backed.offset + skip + len),
        }
    }

    /// From now on they can be mapped writable in private only.
    pub fn seal(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|(_, backing)| backing.seal())
    }

    /// What the guest's kernel calls each (an inode), and which file it is at home.
    pub fn names(self) -> io::Result<Vec<(u64, FileArea)>> {
        let named = self
            .0
            .into_iter()
            .map(|(file, backing)| Ok((backing.inode()?, file)));
        named.collect()
    }
}
