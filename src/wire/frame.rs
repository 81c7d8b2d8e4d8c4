//! Frames: a length (`u32`, little endian), then that many bytes, which are one value of `wire::codec`.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec;

/// Longest frame that is read from a peer that has not shown that it knows the secret, or is a local user's.
pub const LIMIT_BEFORE_AUTH: usize = 64 << 10;
/// Longest frame that is read from an authenticated node.
pub const LIMIT: usize = 16 << 20;
/// Bytes of a frame's length.
pub const HEADER_LEN: usize = 4;
/// Set in the length of a frame on a Unix socket that has a descriptor attached.
pub const WITH_FD: u32 = 1 << 31;

/// The bytes of `value` as a frame.
pub fn to_frame<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    codec::encode_into(value, &mut bytes);
    let len = (bytes.len() - HEADER_LEN) as u32;
    bytes[..HEADER_LEN].copy_from_slice(&len.to_le_bytes());
    bytes
}

/// Writes `value` as one frame, in one `write` if the stream takes it.
///
/// # Errors
///
/// Those of the stream; `InvalidInput` when the value is longer than any receiver would take.
pub fn write_frame<T: Serialize + ?Sized>(stream: &mut impl Write, value: &T) -> io::Result<()> {
    let bytes = to_frame(value);
    if bytes.len() - HEADER_LEN > LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("message of {} bytes is too long", bytes.len()),
        ));
    }
    stream.write_all(&bytes)
}

/// Reads one frame of at most `limit` bytes, and not a byte more.
///
/// # Errors
///
/// `UnexpectedEof` when the stream ends, `InvalidData` when the frame is too long or not a `T`, or those of the stream.
pub fn read_frame<T: DeserializeOwned>(stream: &mut impl Read, limit: usize) -> io::Result<T> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header)?;
    let len = check_len(u32::from_le_bytes(header), limit)?;
    // Grows with what really comes: a peer that only claims a length costs nothing.
    let mut bytes = Vec::with_capacity(len.min(64 << 10));
    stream.take(len as u64).read_to_end(&mut bytes)?;
    if bytes.len() < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(codec::decode(&bytes)?)
}

/// Checks a frame's length.
fn check_len(len: u32, limit: usize) -> io::Result<usize> {
    let len = len as usize;
    if len > limit {
        let what = format!("frame of {len} bytes where at most {limit} are allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(len)
}

/// Makes frames of bytes that come in pieces.
pub struct FrameBuffer {
    bytes: Vec<u8>,
    /// What has been taken off the front.
    start: usize,
    limit: usize,
}

/// A frame that has come whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub payload: Vec<u8>,
    /// The sender attached a descriptor to it (only on Unix sockets).
    pub with_fd: bool,
}

impl FrameBuffer {
    /// A buffer for frames of at most `limit` bytes.
    pub fn new(limit: usize) -> FrameBuffer {
        FrameBuffer {
            bytes: Vec::new(),
            start: 0,
            limit,
        }
    }

    /// Changes the limit, for frames whose length has not been looked at yet.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Adds what was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Reads once from `stream` and adds what came; false at its end. Nothing to read yet is no error.
    ///
    /// # Errors
    ///
    /// Those of the stream.
    pub fn fill(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        let mut bytes = [0; 16 << 10];
        match stream.read(&mut bytes) {
            Ok(0) => Ok(false),
            Ok(n) => {
                self.feed(&bytes[..n]);
                Ok(true)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// The next value, if it has come whole.
    ///
    /// # Errors
    ///
    /// As [`FrameBuffer::take`], or when the frame is not a `T`.
    #[expect(
        clippy::should_implement_trait,
        reason = "the type of each value is the caller's to say"
    )]
    pub fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        match self.take()? {
            Some(frame) => Ok(Some(codec::decode(&frame.payload)?)),
            None => Ok(None),
        }
    }

    /// How many bytes the frame that has begun still lacks (its header first): reading no more than that leaves what
    /// follows the frame to others.
    ///
    /// # Errors
    ///
    /// When the frame is longer than the limit.
    pub fn lacking(&self) -> io::Result<usize> {
        let have = self.bytes.len() - self.start;
        match self.header() {
            None => Ok(HEADER_LEN - have),
            Some(header) => {
                let len = check_len(header & !WITH_FD, self.limit)?;
                Ok((HEADER_LEN + len).saturating_sub(have))
            }
        }
    }

    /// The next whole frame.
    ///
    /// # Errors
    ///
    /// When the frame is longer than the limit: the connection cannot be used on.
    pub fn take(&mut self) -> io::Result<Option<Frame>> {
        let Some(header) = self.header() else {
            return Ok(None);
        };
        let len = check_len(header & !WITH_FD, self.limit)?;
        let from = self.start + HEADER_LEN;
        let Some(payload) = self.bytes.get(from..from + len) else {
            return Ok(None);
        };
        let frame = Frame {
            payload: payload.to_vec(),
            with_fd: header & WITH_FD != 0,
        };
        self.start = from + len;
        if self.start == self.bytes.len() {
            // Gives back what a large frame took.
            self.bytes = Vec::new();
            self.start = 0;
        }
        Ok(Some(frame))
    }

    fn header(&self) -> Option<u32> {
        let bytes = self.bytes.get(self.start..self.start + HEADER_LEN)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cutting() {
        let mut stream = Vec::new();
        for text in ["one", "", "three three"] {
            write_frame(&mut stream, text).unwrap();
        }
        for piece in 1..stream.len() {
            let mut buffer = FrameBuffer::new(100);
            let mut got = Vec::new();
            for bytes in stream.chunks(piece) {
                buffer.feed(bytes);
                while let Some(frame) = buffer.take().unwrap() {
                    got.push(codec::decode::<String>(&frame.payload).unwrap());
                }
            }
            assert_eq!(got, ["one", "", "three three"]);
            assert_eq!(buffer.lacking().unwrap(), HEADER_LEN);
        }
    }

    #[test]
    fn reading_takes_no_byte_of_what_follows() {
        let mut stream = to_frame(&7u64);
        stream.extend_from_slice(b"rest");
        let mut reader = &stream[..];
        assert_eq!(read_frame::<u64>(&mut reader, 100).unwrap(), 7);
        assert_eq!(reader, b"rest");
        let mut buffer = FrameBuffer::new(100);
        let mut reader = &stream[..];
        while buffer.lacking().unwrap() > 0 {
            let n = buffer.lacking().unwrap().min(3);
            buffer.feed(&reader[..n]);
            reader = &reader[n..];
        }
        assert_eq!(reader, b"rest");
    }

    #[test]
    fn long_and_cut_frames_are_refused() {
        let mut stream: &[u8] = &[255, 255, 255, 127, 1, 2];
        assert_eq!(
            read_frame::<u64>(&mut stream, LIMIT).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        let mut stream: &[u8] = &[8, 0, 0, 0, 1, 2];
        assert_eq!(
            read_frame::<u64>(&mut stream, LIMIT).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        let mut buffer = FrameBuffer::new(100);
        buffer.feed(&101u32.to_le_bytes());
        assert!(buffer.take().is_err());
        assert!(buffer.lacking().is_err());
    }
}
