//! Waiting for descriptors.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::errno::check;

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

/// A descriptor to watch. Each has a serial number, as the number of a closed descriptor is soon that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    fd: RawFd,
    serial: u64,
}

impl Source {
    /// Nothing ever comes from it.
    pub const NONE: Source = Source { fd: -1, serial: 0 };

    /// To be made once for each descriptor, when it is new.
    pub fn new(fd: &impl AsRawFd) -> Source {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        Source {
            fd: fd.as_raw_fd(),
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// Descriptors that are waited for again and again: the kernel keeps the list, so that each wait costs little.
#[derive(Debug)]
pub struct Watch {
    epoll: OwnedFd,
    watched: Vec<Source>,
}

impl Watch {
    pub fn new() -> io::Result<Watch> {
        // SAFETY: takes no pointers.
        let fd = check(i64::from(unsafe {
            libc::epoll_create1(libc::EPOLL_CLOEXEC)
        }))?;
        // SAFETY: the kernel has just given us this descriptor.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        Ok(Watch {
            epoll,
            watched: Vec::new(),
        })
    }

    /// Waits until one of `sources` can be read (or is broken, or at its end), or the time is over; a signal ends the wait too.
    /// `ready` says which of them, in their order; what is ready and left out is there in the next wait.
    pub fn wait(
        &mut self,
        sources: &[Source],
        timeout: Duration,
        ready: &mut Vec<bool>,
    ) -> io::Result<()> {
        const AT_ONCE: usize = 16;
        if self.watched != sources {
            self.watch(sources)?;
        }
        let limit = libc::timespec {
            tv_sec: timeout.as_secs().min(1 << 40) as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; AT_ONCE];
        // SAFETY: the events are live and as many as said; the time-out is live; no signal mask is given.
        let result = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                events.as_mut_ptr(),
                AT_ONCE,
                &raw const limit,
                std::ptr::null::<libc::sigset_t>(),
                0,
            )
        };
        let count = match check(result) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other? as usize,
        };
        ready.clear();
        ready.resize(sources.len(), false);
        for event in &events[..count] {
            ready[event.u64 as usize] = true;
        }
        Ok(())
    }

    /// Watches these instead of what was watched before.
    fn watch(&mut self, sources: &[Source]) -> io::Result<()> {
        for old in self.watched.drain(..).filter(|old| old.fd >= 0) {
            // One that was closed is no longer in the list; another that has got its number is not yet.
            let _ = change(&self.epoll, libc::EPOLL_CTL_DEL, old.fd, 0);
        }
        for (at, source) in sources
            .iter()
            .enumerate()
            .filter(|(_, source)| source.fd >= 0)
        {
            change(&self.epoll, libc::EPOLL_CTL_ADD, source.fd, at as u64)?;
        }
        self.watched.extend_from_slice(sources);
        Ok(())
    }
}

fn change(epoll: &OwnedFd, what: i32, fd: RawFd, at: u64) -> io::Result<()> {
    let mut event = libc::epoll_event {
        events: libc::EPOLLIN as u32,
        u64: at,
    };
    // SAFETY: the event is live.
    let result = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), what, fd, &raw mut event) };
    check(i64::from(result)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_watch_sees_what_took_the_number_of_a_closed_descriptor() {
        const SOON: Duration = Duration::from_millis(1);
        const LATER: Duration = Duration::from_secs(60);
        fn wait(watch: &mut Watch, sources: &[Source], timeout: Duration) -> io::Result<Vec<bool>> {
            let mut ready = vec![true];
            watch.wait(sources, timeout, &mut ready).map(|()| ready)
        }
        let mut watch = Watch::new().unwrap();
        let (old, mut sender) = UnixStream::pair().unwrap();
        let sources = [Source::NONE, Source::new(&old)];
        assert_eq!(wait(&mut watch, &sources, SOON).unwrap(), [false, false]);
        sender.write_all(b"x").unwrap();
        assert_eq!(wait(&mut watch, &sources, LATER).unwrap(), [false, true]);
        let number = old.as_raw_fd();
        drop((old, sender));
        // Other tests may take the number first.
        let (mut new, mut sender) = UnixStream::pair().unwrap();
        let sources = [Source::new(&new), Source::NONE];
        sender.write_all(b"y").unwrap();
        assert_eq!(
            wait(&mut watch, &sources, LATER).unwrap(),
            [true, false],
            "{number}"
        );
        new.read_exact(&mut [0]).unwrap();
        assert_eq!(wait(&mut watch, &sources, SOON).unwrap(), [false, false]);
        drop(sender);
        assert_eq!(wait(&mut watch, &sources, LATER).unwrap(), [true, false]);
    }
}
