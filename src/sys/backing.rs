//! A file in memory that stands for a file of another node.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use super::errno::check;
use super::pagemap::PAGE;

/// Its size is that of the file it stands for, up to a whole page.
#[derive(Debug)]
pub struct Backing {
    file: File,
    size: u64,
}

impl Backing {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// When memory or descriptors have run out.
    pub fn new() -> io::Result<Backing> {
        // Systems may want it said that no program is executed from it; kernels before 6.3 do not know how.
        let sealable = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        let raw = create(sealable | libc::MFD_NOEXEC_SEAL).or_else(|_| create(sealable))?;
        // SAFETY: a new descriptor that nobody else owns.
        let file = unsafe { File::from_raw_fd(raw) };
        Ok(Backing { file, size: 0 })
    }

    /// Contents at an offset in bytes.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)?;
        self.extend(offset + data.len() as u64)
    }

    /// Makes it at least so long.
    pub fn extend(&mut self, end: u64) -> io::Result<()> {
        let end = end.next_multiple_of(PAGE);
        if end > self.size {
            self.file.set_len(end)?;
            self.size = end;
        }
        Ok(())
    }

    /// Nobody can write it from now on, nor map it shared for writing.
    pub fn seal(&self) -> io::Result<()> {
        let seals = libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
        // SAFETY: takes no pointers.
        let result = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_ADD_SEALS, seals) };
        check(i64::from(result)).map(drop)
    }

    /// By which the kernel names it in `/proc/PID/maps`; no other file in memory has it as long as this one is mapped.
    pub fn inode(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.ino())
    }
}

fn create(flags: u32) -> io::Result<RawFd> {
    // SAFETY: the name is a C string.
    let raw = unsafe { libc::memfd_create(c"mos-file".as_ptr(), flags) };
    check(i64::from(raw)).map(|fd| fd as RawFd)
}

impl AsRawFd for Backing {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

impl AsFd for Backing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_where_its_file_ends_and_can_be_closed_to_writers() {
        let mut backing = Backing::new().unwrap();
        backing.write(8192, b"text").unwrap();
        backing.extend(5000).unwrap();
        assert_eq!(backing.file.metadata().unwrap().len(), 3 * PAGE);
        let mut there = [1; 8];
        backing.file.read_exact_at(&mut there, 8190).unwrap();
        assert_eq!(&there, b"\0\0text\0\0");
        assert!(backing.inode().unwrap() > 0);
        backing.seal().unwrap();
        assert!(backing.write(0, b"x").is_err());
    }
}
