//! The daemon's side of a control connection: frames in, frames with descriptors out, never blocking.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};

use mio::net::UnixStream;
use serde::Serialize;

use crate::sys::socket;
use crate::wire::frame::{self, Frame, FrameBuffer, HEADER_LEN, WITH_FD};

/// Bytes read in one turn: then others have theirs.
const TURN: usize = 256 << 10;
/// Bytes that may wait for a client that does not read before its connection is given up.
const MAX_QUEUED: usize = 4 << 20;

/// What a turn of reading ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing more to read for now: the poll will tell.
    Drained,
    /// There may be more: the caller must ask for another turn itself.
    More,
    /// The other end has closed; what came before is still in the buffer.
    Closed,
}

/// A control connection.
pub struct LocalConn {
    pub stream: UnixStream,
    input: FrameBuffer,
    output: VecDeque<Outgoing>,
    queued: usize,
}

struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// Goes with the first byte.
    fd: Option<OwnedFd>,
}

impl LocalConn {
    pub fn new(stream: UnixStream) -> LocalConn {
        LocalConn {
            stream,
            input: FrameBuffer::new(frame::LIMIT_BEFORE_AUTH),
            output: VecDeque::new(),
            queued: 0,
        }
    }

    /// From now on frames may be as long as an authenticated node's.
    pub fn trust(&mut self) {
        self.input.set_limit(frame::LIMIT);
    }

    /// Reads what has come, up to a turn's share.
    ///
    /// # Errors
    ///
    /// Those of the socket: it is of no use any more.
    pub fn read(&mut self) -> io::Result<Turn> {
        let mut total = 0;
        let mut bytes = [0; 16 << 10];
        while total < TURN {
            // Plain reading: descriptors that someone sends along are closed by the kernel.
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(Turn::Closed),
                Ok(n) => {
                    total += n;
                    self.input.feed(&bytes[..n]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Turn::Drained);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Turn::More)
    }

    /// The next whole frame.
    ///
    /// # Errors
    ///
    /// When it is too long.
    pub fn take(&mut self) -> io::Result<Option<Frame>> {
        self.input.take()
    }

    /// Queues a message and sends what can be sent.
    ///
    /// # Errors
    ///
    /// When the connection is broken or its client does not read.
    pub fn send<T: Serialize>(&mut self, message: &T, fd: Option<OwnedFd>) -> io::Result<()> {
        let mut bytes = frame::to_frame(message);
        if fd.is_some() {
            bytes[HEADER_LEN - 1] |= (WITH_FD >> 24) as u8;
        }
        self.queued += bytes.len();
        if self.queued > MAX_QUEUED {
            return Err(io::Error::other("it does not read what it is sent"));
        }
        self.output.push_back(Outgoing { bytes, sent: 0, fd });
        self.flush()
    }

    /// Sends what waits, as far as the socket takes it.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(first) = self.output.front_mut() {
            let fd = first.fd.as_ref().map(AsFd::as_fd);
            match socket::send_with_fd(&self.stream, &first.bytes[first.sent..], fd) {
                Ok(n) => {
                    first.fd = None;
                    first.sent += n;
                    self.queued -= n;
                    if first.sent == first.bytes.len() {
                        self.output.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec;

    fn pair() -> (LocalConn, LocalConn) {
        let (a, b) = UnixStream::pair().unwrap();
        (LocalConn::new(a), LocalConn::new(b))
    }

    #[test]
    fn more_than_the_socket_takes_waits_its_turn() {
        let (mut a, mut b) = pair();
        let text = "x".repeat(50_000);
        for _ in 0..20 {
            a.send(&text, None).unwrap();
        }
        let mut got = 0;
        while got < 20 {
            a.flush().unwrap();
            assert_ne!(b.read().unwrap(), Turn::Closed);
            while let Some(frame) = b.take().unwrap() {
                assert_eq!(codec::decode::<String>(&frame.payload).unwrap(), text);
                got += 1;
            }
        }
        drop(a);
        assert_eq!(b.read().unwrap(), Turn::Closed);
    }

    #[test]
    fn who_does_not_read_is_given_up() {
        let (mut a, _b) = pair();
        let text = "x".repeat(60_000);
        let mut sent = 0;
        while a.send(&text, None).is_ok() {
            sent += 1;
            assert!(sent < 1000);
        }
    }

    #[test]
    fn long_frames_are_for_the_trusted() {
        let (mut a, mut b) = pair();
        let text = "x".repeat(100_000);
        a.send(&text, None).unwrap();
        b.read().unwrap();
        assert!(b.take().is_err());
        b.trust();
        loop {
            a.flush().unwrap();
            b.read().unwrap();
            if b.take().unwrap().is_some() {
                break;
            }
        }
    }
}
