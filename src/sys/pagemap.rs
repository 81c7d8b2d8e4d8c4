//! Which pages of a process are there.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::errno::check;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// Which pages are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// All that have contents: in memory or swapped out, other than the shared page of zeros.
    Contents,
    /// Of those, only the process's own: not those of a mapped file.
    Own,
}

/// `struct pm_scan_arg`.
#[repr(C)]
struct ScanArg {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

const PAGEMAP_SCAN: u64 = 0xc060_6610;
const PROTECT_MATCHING: u64 = 1 << 0;
const CHECK_WATCHED: u64 = 1 << 1;
const IS_WRITTEN: u64 = 1 << 1;
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
const IS_PFNZERO: u64 = 1 << 5;
/// Regions of one scan.
const REGIONS: usize = 512;

/// Bits of a word of `/proc/PID/pagemap`.
const MAP_PRESENT: u64 = 1 << 63;
const MAP_SWAPPED: u64 = 1 << 62;
const MAP_FILE: u64 = 1 << 61;

/// `/proc/PID/pagemap`, open.
pub struct Pagemap(File);

impl Pagemap {
    pub fn open(pid: i32) -> io::Result<Pagemap> {
        File::open(format!("/proc/{pid}/pagemap")).map(Pagemap)
    }

    /// Ranges (start, end) of wanted pages between two addresses, ascending and merged.
    pub fn ranges(&self, start: u64, end: u64, want: Want) -> io::Result<Vec<(u64, u64)>> {
        match self.scan(start, end, want) {
            // Kernels before 6.7 do not know the request.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)) => {
                self.read(start, end, want)
            }
            result => result,
        }
    }

    /// Pages with contents between two addresses of watched memory that were written since this was last asked; from now on they
    /// count as not written. `None`: not all of it is watched (see [`WriteWatch`](super::writes::WriteWatch)).
    pub fn take_written(&self, start: u64, end: u64) -> io::Result<Option<Vec<(u64, u64)>>> {
        let flags = PROTECT_MATCHING | CHECK_WATCHED;
        match self.scan_for(start, end, (IS_WRITTEN, IS_PFNZERO), flags) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(None),
            result => result.map(Some),
        }
    }

    fn scan(&self, start: u64, end: u64, want: Want) -> io::Result<Vec<(u64, u64)>> {
        let without = match want {
            Want::Contents => IS_PFNZERO,
            Want::Own => IS_PFNZERO | IS_FILE,
        };
        self.scan_for(start, end, (0, without), 0)
    }

    /// Pages in memory or swapped out that are all of `with` and nothing of `without`.
    fn scan_for(
        &self,
        start: u64,
        end: u64,
        (with, without): (u64, u64),
        flags: u64,
    ) -> io::Result<Vec<(u64, u64)>> {
        let mut regions = [Region::default(); REGIONS];
        let mut found = Vec::new();
        let mut at = start;
        while at < end {
            let mut arg = ScanArg {
                size: size_of::<ScanArg>() as u64,
                flags,
                start: at,
                end,
                walk_end: 0,
                vec: regions.as_mut_ptr() as u64,
                vec_len: REGIONS as u64,
                max_pages: 0,
                category_inverted: without,
                category_mask: with | without,
                category_anyof_mask: IS_PRESENT | IS_SWAPPED,
                return_mask: IS_PRESENT | IS_SWAPPED,
            };
            // SAFETY: the request reads and writes one `ScanArg`, and writes at most `vec_len` regions to `vec`.
            let result = unsafe { libc::ioctl(self.0.as_raw_fd(), PAGEMAP_SCAN, &raw mut arg) };
            let count = check(i64::from(result))? as usize;
            for region in regions.iter().take(count) {
                push(&mut found, region.start, region.end);
            }
            if arg.walk_end <= at {
                break;
            }
            at = arg.walk_end;
        }
        Ok(found)
    }

    fn read(&self, start: u64, end: u64, want: Want) -> io::Result<Vec<(u64, u64)>> {
        let mut words = [0u8; 8192];
        let mut found = Vec::new();
        let mut at = start;
        while at < end {
            let pages = ((end - at) / PAGE).min(words.len() as u64 / 8) as usize;
            if pages == 0 {
                break;
            }
            self.0
                .read_exact_at(&mut words[..pages * 8], at / PAGE * 8)?;
            for word in words[..pages * 8].chunks_exact(8) {
                let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
                let there = word & (MAP_PRESENT | MAP_SWAPPED) != 0;
                if there && (want == Want::Contents || word & MAP_FILE == 0) {
                    push(&mut found, at, at + PAGE);
                }
                at += PAGE;
            }
        }
        Ok(found)
    }
}

fn push(found: &mut Vec<(u64, u64)>, start: u64, end: u64) {
    match found.last_mut() {
        Some(last) if last.1 == start => last.1 = end,
        _ => found.push((start, end)),
    }
}

/// Pages of a process that have contents between two addresses.
pub fn present(pid: i32, start: u64, end: u64) -> io::Result<Vec<(u64, u64)>> {
    Pagemap::open(pid)?.ranges(start, end, Want::Contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_pages_are_found() {
        const LEN: usize = 64 * PAGE as usize;
        let (prot, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping wherever the kernel likes.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), LEN, prot, flags, -1, 0) } as u64;
        let pid = std::process::id() as i32;
        for page in [3, 4, 9] {
            crate::sys::mem::write_all(pid, base + page * PAGE, &[7]).unwrap();
        }
        // Read only: the page of zeros has no contents.
        crate::sys::mem::read_exact(pid, base + 20 * PAGE, &mut [0]).unwrap();
        let range = |from, to| (base + from * PAGE, base + to * PAGE);
        let map = Pagemap::open(pid).unwrap();
        let (start, end) = range(1, 40);
        let wanted = [range(3, 5), range(9, 10)];
        assert_eq!(map.ranges(start, end, Want::Contents).unwrap(), wanted);
        assert_eq!(map.ranges(start, end, Want::Own).unwrap(), wanted);
        let slow = map.read(start, end, Want::Own).unwrap();
        assert!(wanted.iter().all(|range| slow.contains(range)));
        // SAFETY: nothing refers to the mapping.
        unsafe { libc::munmap(base as *mut _, LEN) };
    }
}
