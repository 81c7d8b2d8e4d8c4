//! Leases outlive the warden that has taken them: the guard keeps a second descriptor of each file, and gives all to the next warden.
//!
//! A lease ends when the last descriptor of its file is closed. On the way from a warden to its guard each message is three words:
//! the lease's number, the process and when that began; with a descriptor it is to be kept, without one it is given back.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use crate::sys::{lease, socket};

const MESSAGE: usize = 24;

fn message(number: u64, pid: i32, born: u64) -> [u8; MESSAGE] {
    let mut bytes = [0; MESSAGE];
    for (place, word) in bytes.chunks_exact_mut(8).zip([number, pid as u64, born]) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// A leased file, for a process.
pub struct Kept {
    pub pid: i32,
    /// Its start time, as in `/proc/PID/stat`.
    pub born: u64,
    pub file: File,
}

/// What a guard keeps, by number.
#[derive(Default)]
pub struct Safe(HashMap<u64, Kept>);

impl Safe {
    /// Does what a warden says until it ends.
    pub fn serve(&mut self, warden: &UnixStream) {
        let mut bytes = [0; MESSAGE];
        loop {
            match socket::recv_with_fd(warden, &mut bytes) {
                Ok((MESSAGE, file)) => self.take(bytes, file.map(File::from)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn take(&mut self, bytes: [u8; MESSAGE], file: Option<File>) {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let (number, pid, born) = (word(0), word(8) as i32, word(16));
        match file {
            Some(file) => self.0.insert(number, Kept { pid, born, file }),
            None => self.0.remove(&number),
        };
    }
}

/// The warden's end.
pub struct Lender {
    guard: Rc<UnixStream>,
    /// Of wardens before this one.
    kept: Safe,
    next: u64,
}

impl Lender {
    /// `kept`: a copy (made by `fork`) of what the guard has.
    pub fn new(guard: UnixStream, kept: Safe) -> Lender {
        let next = kept.0.keys().max().map_or(0, |last| last + 1);
        let guard = Rc::new(guard);
        Lender { guard, kept, next }
    }

    /// A lease on `file` was taken for the process.
    pub fn keep(&mut self, kept: Kept) -> Lease {
        let lease = self.lease(self.next, kept.file);
        self.next += 1;
        let words = message(lease.number, kept.pid, kept.born);
        lease.tell(&words, true);
        lease
    }

    /// What wardens before this one have taken; from now on this one hears of those who want it back.
    pub fn inherit(&mut self) -> Vec<(i32, u64, Lease)> {
        let kept = std::mem::take(&mut self.kept.0).into_iter();
        let known = kept.map(|(number, kept)| {
            if let Err(error) = lease::hear(&kept.file) {
                log::warn!("a lease for {}: {error}", kept.pid);
            }
            (kept.pid, kept.born, self.lease(number, kept.file))
        });
        known.collect()
    }

    fn lease(&self, number: u64, file: File) -> Lease {
        let guard = Rc::clone(&self.guard);
        Lease {
            file,
            number,
            guard,
        }
    }
}

/// A lease that the guard keeps, too; dropped, it is given back.
pub struct Lease {
    file: File,
    number: u64,
    guard: Rc<UnixStream>,
}

impl Lease {
    /// Whether somebody waits for it.
    pub fn is_wanted(&self) -> bool {
        lease::is_wanted(&self.file)
    }

    fn tell(&self, words: &[u8; MESSAGE], file: bool) {
        let file = file.then(|| self.file.as_fd());
        if let Err(error) = socket::send_with_fd(&*self.guard, words, file) {
            log::debug!("no guard keeps leases: {error}");
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.tell(&message(self.number, 0, 0), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_file() -> File {
        File::open("/proc/self/exe").unwrap()
    }

    #[test]
    fn a_guard_keeps_what_is_not_given_back() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut lender = Lender::new(theirs, Safe::default());
        let kept = |pid: i32| Kept {
            pid,
            born: 70,
            file: some_file(),
        };
        let (first, second) = (lender.keep(kept(7)), lender.keep(kept(8)));
        drop(first);
        // It is killed: nothing of it is given back.
        lender.guard.shutdown(std::net::Shutdown::Both).unwrap();
        drop((lender, second));
        let mut safe = Safe::default();
        safe.serve(&ours);
        assert_eq!(safe.0.len(), 1);

        let (ours, theirs) = UnixStream::pair().unwrap();
        let numbers: Vec<u64> = safe.0.keys().copied().collect();
        let mut lender = Lender::new(theirs, safe);
        let mut inherited = lender.inherit();
        let (pid, born, lease) = inherited.pop().unwrap();
        assert!((pid, born) == (8, 70) && inherited.is_empty());
        let third = lender.keep(kept(9));
        assert!(!numbers.contains(&third.number));
        let mut safe = Safe(HashMap::from([(lease.number, kept(8))]));
        drop((lease, third, lender));
        safe.serve(&ours);
        assert!(safe.0.is_empty());
    }
}
