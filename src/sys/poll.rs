//! Waiting for descriptors.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    Read,
    Write,
}

/// What happened to a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    pub readable: bool,
    pub writable: bool,
    /// The other end is gone, or the descriptor is in error.
    pub hung_up: bool,
}

impl Events {
    pub fn any(self) -> bool {
        self.readable || self.writable || self.hung_up
    }
}

/// Waits until something happens to one of the descriptors, or the time is over (`None`: for ever). A signal ends the wait
/// without events.
pub fn wait_events(
    fds: &[(RawFd, Interest)],
    timeout: Option<Duration>,
) -> io::Result<Vec<Events>> {
    let mut entries: Vec<libc::pollfd> = fds
        .iter()
        .map(|&(fd, interest)| {
            let events = if interest == Interest::Read {
                libc::POLLIN
            } else {
                libc::POLLOUT
            };
            libc::pollfd {
                fd,
                events,
                revents: 0,
            }
        })
        .collect();
    let limit = timeout.map(|time| libc::timespec {
        tv_sec: time.as_secs().min(1 << 40) as i64,
        tv_nsec: i64::from(time.subsec_nanos()),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the entries are live and as many as said; the time-out is null or a live timespec; no signal mask is given.
    let result = unsafe {
        libc::ppoll(
            entries.as_mut_ptr(),
            entries.len() as libc::nfds_t,
            limit,
            std::ptr::null(),
        )
    };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted {
            Ok(vec![Events::default(); fds.len()])
        } else {
            Err(error)
        };
    }
    let gone = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;
    Ok(entries
        .iter()
        .map(|entry| Events {
            readable: entry.revents & libc::POLLIN != 0,
            writable: entry.revents & libc::POLLOUT != 0,
            hung_up: entry.revents & gone != 0,
        })
        .collect())
}

/// As [`wait_events`]: whether anything happened to each.
pub fn wait(fds: &[(RawFd, Interest)], timeout: Option<Duration>) -> io::Result<Vec<bool>> {
    Ok(wait_events(fds, timeout)?
        .into_iter()
        .map(Events::any)
        .collect())
}
