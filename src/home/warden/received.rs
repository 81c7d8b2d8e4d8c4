//! The listener, and which notifications were received from it. The guard keeps a record of these for the next warden: what a warden
//! has received cannot be received again, and until it is answered its caller waits and takes nothing but a deadly signal.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use crate::sys::seccomp::{Listener, Notification, Response};

/// The kernel numbers notifications one by one. The last one that was received may not be in the record yet: it is looked for so
/// many numbers behind the last that is.
const AHEAD: u64 = 1024;
/// The lowest number that was not answered and the highest that was received.
const RECORD: usize = 16;

/// A listener that records what it receives.
pub struct Received {
    listener: Listener,
    record: File,
    unanswered: BTreeSet<u64>,
}

impl Received {
    pub fn new(listener: OwnedFd, record: File) -> Received {
        Received {
            listener: Listener::from(listener),
            record,
            unanswered: BTreeSet::new(),
        }
    }

    /// As `Listener::recv`.
    pub fn recv(&mut self) -> io::Result<Option<Notification>> {
        let notification = self.listener.recv()?;
        if let Some(Notification { id, .. }) = notification {
            self.unanswered.insert(id);
            let lowest = self.unanswered.first().copied().unwrap_or(id);
            self.record.write_all_at(&encode(lowest, id), 0)?;
        }
        Ok(notification)
    }

    /// As `Listener::send`.
    pub fn send(&mut self, id: u64, response: Response) -> io::Result<bool> {
        self.unanswered.remove(&id);
        self.listener.send(id, response)
    }

    /// As `Listener::add_fd`, for a call that is answered later.
    pub fn add_fd(&self, id: u64, fd: BorrowedFd<'_>) -> io::Result<i32> {
        self.listener.add_fd(id, fd, None, false, false)
    }

    /// Calls that an earlier warden has received and not answered go on natively: nobody knows any more what they waited for.
    pub fn release_all(&self) -> io::Result<()> {
        let mut record = [0; RECORD];
        if self.record.metadata()?.len() < RECORD as u64 {
            return Ok(());
        }
        self.record.read_exact_at(&mut record, 0)?;
        for id in numbers(record) {
            // One that is not there was answered; one that was not received yet (EINPROGRESS) is received now.
            if let Ok(true) = self.listener.send(id, Response::Continue) {
                log::info!("a call that the last warden held goes on");
            }
        }
        Ok(())
    }
}

impl AsRawFd for Received {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

fn encode(lowest: u64, highest: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[..8].copy_from_slice(&lowest.to_le_bytes());
    record[8..].copy_from_slice(&highest.to_le_bytes());
    record
}

/// The numbers that may be unanswered.
fn numbers(record: [u8; RECORD]) -> std::ops::RangeInclusive<u64> {
    let number = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&record[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    number(0)..=number(8).saturating_add(AHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_may_be_unanswered_is_looked_for() {
        assert_eq!(numbers(encode(5, 9)), 5..=9 + AHEAD);
        assert_eq!(numbers(encode(5, u64::MAX)), 5..=u64::MAX);
    }
}
