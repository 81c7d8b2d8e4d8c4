//! A guest's memory as seen by its host, and where things may be put in the memory of its deputy.

use crate::sys::mem;

/// The guest cannot read (or write) all of the bytes asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

/// Why a string could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrError {
    /// A byte before its end is not readable.
    Fault,
    /// It has no end within the bytes allowed.
    TooLong,
}

/// The memory of a guest; its protections count as for the guest itself.
pub trait GuestMemory {
    /// Fills `buf` from `addr` on.
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), Fault>;
    /// The `len` bytes from `addr` on.
    fn read_vec(&self, addr: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; len];
        self.read(addr, &mut bytes)?;
        Ok(bytes)
    }
    /// Stores `data` at `addr`.
    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Fault>;

    /// Stores several parts in order; an implementation may do so in one step. On `Err` any of them may be stored.
    fn write_parts(&self, parts: &[(u64, &[u8])]) -> Result<(), Fault> {
        parts
            .iter()
            .try_for_each(|&(addr, data)| self.write(addr, data))
    }

    /// The bytes from `addr` up to and including the first NUL, at most `max` bytes.
    fn read_cstr(&self, addr: u64, max: usize) -> Result<Vec<u8>, StrError> {
        let mut bytes = Vec::new();
        while bytes.len() < max {
            let at = addr
                .checked_add(bytes.len() as u64)
                .ok_or(StrError::Fault)?;
            let to_page_end = (PAGE - at % PAGE) as usize;
            // Most strings are short: little at first, then by pages.
            let step = if bytes.is_empty() { 256 } else { PAGE as usize };
            let mut part = vec![0; to_page_end.min(step).min(max - bytes.len())];
            self.read(at, &mut part).map_err(|_| StrError::Fault)?;
            match part.iter().position(|&byte| byte == 0) {
                Some(end) => {
                    bytes.extend_from_slice(&part[..=end]);
                    return Ok(bytes);
                }
                None => bytes.extend_from_slice(&part),
            }
        }
        Err(StrError::TooLong)
    }
}

/// The memory of another process, of which this is a thread's number.
pub struct ProcessMemory(pub i32);

impl GuestMemory for ProcessMemory {
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), Fault> {
        mem::read_exact(self.0, addr, buf).map_err(|_| Fault)
    }

    fn read_vec(&self, addr: u64, len: usize) -> Result<Vec<u8>, Fault> {
        mem::read_vec(self.0, addr, len).map_err(|_| Fault)
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Fault> {
        mem::write_all(self.0, addr, data).map_err(|_| Fault)
    }
}

/// A set of small descriptor numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fds([u64; Fds::END as usize / 64]);

impl Fds {
    /// Numbers below this can be members.
    pub const END: i32 = 1024;

    /// The set of one number.
    pub const fn one(fd: i32) -> Fds {
        let mut fds = Fds([0; Fds::END as usize / 64]);
        if 0 <= fd && fd < Fds::END {
            fds.0[fd as usize / 64] = 1 << (fd % 64);
        }
        fds
    }

    pub fn contains(&self, fd: i32) -> bool {
        (0..Fds::END).contains(&fd) && self.0[fd as usize / 64] >> (fd % 64) & 1 == 1
    }

    pub fn insert(&mut self, fd: i32) {
        if (0..Fds::END).contains(&fd) {
            self.0[fd as usize / 64] |= 1 << (fd % 64);
        }
    }

    pub fn remove(&mut self, fd: i32) {
        if (0..Fds::END).contains(&fd) {
            self.0[fd as usize / 64] &= !(1 << (fd % 64));
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = i32> {
        (0..Fds::END).filter(|fd| self.contains(*fd))
    }
}

/// Where a request may put things in its deputy's memory, and what must stay hidden there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// Base of the stub's range.
    pub stub: u64,
    /// A larger area mapped at home by an earlier request: address and length in bytes.
    pub big: Option<(u64, u64)>,
    /// Numbers of the channels' descriptors, which the program must not see.
    pub channels: Fds,
    /// The program's pid, as it knows it.
    pub pid: i32,
}

pub(super) const PAGE: u64 = 4096;
/// First address that no program can have (four-level page tables).
pub(super) const TASK_END: u64 = 0x7fff_ffff_f000;
/// Addresses below this are never mapped: they pass through, so that the home kernel finds the fault (or takes NULL as such).
pub(super) const LOWEST: u64 = 0x1_0000;
/// Stands for a pointer that the guest itself could not use: the home kernel refuses it where it would have refused the
/// original, so that errors come in the kernel's own order.
pub(super) const BAD: u64 = 0xffff_8000_0000_0000;

pub(super) fn bytes(mem: &dyn GuestMemory, addr: u64, len: usize) -> Result<Vec<u8>, Fault> {
    mem.read_vec(addr, len)
}

pub(super) fn u64_at(mem: &dyn GuestMemory, addr: u64) -> Result<u64, Fault> {
    let mut word = [0; 8];
    mem.read(addr, &mut word)?;
    Ok(u64::from_le_bytes(word))
}

/// As many of the `len` bytes at `addr` as are readable from its beginning, found page by page when not all are.
pub(super) fn readable(mem: &dyn GuestMemory, addr: u64, len: usize) -> Vec<u8> {
    if let Ok(all) = mem.read_vec(addr, len) {
        return all;
    }
    let mut buf = vec![0; len];
    let mut done = 0;
    while done < len {
        let Some(at) = addr.checked_add(done as u64) else {
            break;
        };
        let step = ((PAGE - at % PAGE) as usize).min(len - done);
        if mem.read(at, &mut buf[done..done + step]).is_err() {
            break;
        }
        done += step;
    }
    buf.truncate(done);
    buf
}

pub(super) fn word32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(super) fn word64(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
