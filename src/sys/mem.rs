//! Memory of another process.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use super::errno::check;

/// The kernel's limit on the ranges of one transfer.
const MAX_RANGES: usize = 1024;

/// Reads memory of `pid` at `addr` into `buf`; gives how much could be read before something unreadable came.
pub fn read(pid: i32, addr: u64, buf: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    let remote = libc::iovec {
        iov_base: addr as *mut _,
        iov_len: buf.len(),
    };
    // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`; `remote` is an address of the other process.
    let n = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    Ok(check(n as i64)? as usize)
}

/// Reads all of `buf`; `EFAULT` when a part cannot be read.
pub fn read_exact(pid: i32, addr: u64, buf: &mut [u8]) -> io::Result<()> {
    complete(read(pid, addr, buf)?, buf.len())
}

/// Reads `len` bytes; `EFAULT` when a part cannot be read.
pub fn read_vec(pid: i32, addr: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::with_capacity(len);
    let local = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: len,
    };
    let remote = libc::iovec {
        iov_base: addr as *mut _,
        iov_len: len,
    };
    // SAFETY: the kernel writes at most `len` bytes into what was reserved; `remote` is an address of the other process.
    let n = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    let n = check(n as i64)? as usize;
    // SAFETY: the kernel has filled so many bytes.
    unsafe { bytes.set_len(n) };
    complete(n, len)?;
    Ok(bytes)
}

/// Writes `data` into memory of `pid` that is writable to it; gives how much could be written.
pub fn write(pid: i32, addr: u64, data: &[u8]) -> io::Result<usize> {
    let local = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    let remote = libc::iovec {
        iov_base: addr as *mut _,
        iov_len: data.len(),
    };
    // SAFETY: the kernel only reads from `data`; `remote` is an address of the other process.
    let n = unsafe { libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) };
    Ok(check(n as i64)? as usize)
}

/// Writes all of `data`; `EFAULT` when a part cannot be written.
pub fn write_all(pid: i32, addr: u64, data: &[u8]) -> io::Result<()> {
    complete(write(pid, addr, data)?, data.len())
}

/// Reads many ranges (address, length) one after the other into `buf`; gives how much could be read before something unreadable
/// came. Takes at most the first 1024 ranges.
pub fn read_many(pid: i32, ranges: &[(u64, usize)], buf: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    let remote = iovecs(ranges);
    // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`, and `remote` outlives the call.
    let n = unsafe {
        libc::process_vm_readv(
            pid,
            &raw const local,
            1,
            remote.as_ptr(),
            remote.len() as libc::c_ulong,
            0,
        )
    };
    Ok(check(n as i64)? as usize)
}

fn iovecs(ranges: &[(u64, usize)]) -> Vec<libc::iovec> {
    let one = |&(addr, len): &(u64, usize)| libc::iovec {
        iov_base: addr as *mut _,
        iov_len: len,
    };
    ranges.iter().take(MAX_RANGES).map(one).collect()
}

/// Reads a string up to its NUL (not included); `ENAMETOOLONG` when there is none within `max` bytes.
pub fn read_string(pid: i32, addr: u64, max: usize) -> io::Result<Vec<u8>> {
    const PAGE: u64 = 4096;
    let mut text = Vec::new();
    let mut at = addr;
    while text.len() < max {
        // Page by page: what lies behind the string need not be readable.
        let mut chunk = [0; PAGE as usize];
        let room = ((PAGE - at % PAGE) as usize).min(max - text.len());
        let got = read(pid, at, &mut chunk[..room])?;
        if let Some(end) = chunk[..got].iter().position(|&byte| byte == 0) {
            text.extend_from_slice(&chunk[..end]);
            return Ok(text);
        }
        complete(got, room)?;
        text.extend_from_slice(&chunk[..got]);
        at += got as u64;
    }
    Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG))
}

fn complete(done: usize, wanted: usize) -> io::Result<()> {
    if done == wanted {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::EFAULT))
    }
}

/// `/proc/PID/mem` of a traced process: reads and writes whatever the protection of its pages says.
#[derive(Debug)]
pub struct ProcMem(File);

impl ProcMem {
    pub fn open(pid: i32) -> io::Result<ProcMem> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/proc/{pid}/mem"))
            .map(ProcMem)
    }

    /// Fills `buf` from `addr`.
    pub fn read_exact(&self, addr: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, addr)
    }

    /// Writes all of `data` at `addr`, into a private copy of pages that are not writable.
    pub fn write_all(&self, addr: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_is_read_and_written() {
        let pid = std::process::id() as i32;
        let source = *b"hello\0world";
        let mut copy = [0; 11];
        read_exact(pid, source.as_ptr() as u64, &mut copy).unwrap();
        assert_eq!(copy, source);
        assert_eq!(
            read_string(pid, source.as_ptr() as u64, 100).unwrap(),
            b"hello"
        );
        assert_eq!(
            read_string(pid, source.as_ptr() as u64, 3)
                .unwrap_err()
                .raw_os_error(),
            Some(libc::ENAMETOOLONG)
        );
        let at = |offset| source.as_ptr() as u64 + offset;
        let mut parts = [0; 4];
        assert_eq!(
            read_many(pid, &[(at(0), 2), (at(6), 2)], &mut parts).unwrap(),
            4
        );
        assert_eq!(&parts, b"hewo");
        let mut target = [0u8; 8];
        write_all(pid, target.as_mut_ptr() as u64, b"abcdefgh").unwrap();
        assert_eq!(&std::hint::black_box(target), b"abcdefgh");
        assert!(read_exact(pid, 16, &mut copy).is_err());
        assert_eq!(read_vec(pid, source.as_ptr() as u64, 11).unwrap(), source);
        assert!(read_vec(pid, 16, 11).is_err());
    }
}
