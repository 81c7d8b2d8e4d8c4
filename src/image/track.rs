//! A guest's kernel notes what the guest writes, from before it runs: only that need travel when it goes home.

use std::io;
use std::os::fd::AsFd;

use crate::image::restore::GuestBuilder;
use crate::sys::pagemap::Pagemap;
use crate::sys::process;
use crate::sys::writes::{OPEN, WriteWatch};

const SYS_CLOSE: u64 = 3;

impl GuestBuilder {
    /// The descriptor can only be made by the guest itself. It does not keep it; and where the kernel has no such thing, the guest
    /// does without.
    pub(super) fn open_watch(&mut self) -> io::Result<()> {
        let (pid, (nr, flags)) = (self.pid(), OPEN);
        let injector = self.injector()?;
        if let Ok(fd) = injector.call(nr, [flags, 0, 0, 0, 0, 0]) {
            let ours = process::pidfd_getfd(process::pidfd_open(pid)?.as_fd(), fd as i32);
            injector.call(SYS_CLOSE, [fd, 0, 0, 0, 0, 0])?;
            self.watch = ours.and_then(WriteWatch::new).ok();
        }
        Ok(())
    }

    /// What it has now counts as not written.
    pub(super) fn note_writes(&mut self) -> io::Result<()> {
        let Some(watch) = &self.watch else {
            return Ok(());
        };
        let map = Pagemap::open(self.pid())?;
        for place in self.places.iter().filter(|place| place.is_anonymous()) {
            // What cannot be watched counts as written for ever.
            if watch.add(place.start, place.end).is_ok() {
                map.take_written(place.start, place.end)?;
            }
        }
        Ok(())
    }
}
