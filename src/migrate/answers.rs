//! The answers of a stub as they come: frames cut out of a stream, with as few receives and copies as there can be.

use std::io;
use std::os::fd::AsRawFd;

use crate::sys::socket;
use crate::wire::channel::{ANSWER_LEN, Answer};

/// Room that is held ready for what a frame carries; a larger one gets its room when its length is known.
const READY_ROOM: usize = 128 << 10;
/// Room that is kept from one frame to the next.
const KEPT_ROOM: usize = 1 << 20;

/// What has come of a frame: bytes in all, those of its header, those of what it carries (and perhaps of further frames).
type Begun = (usize, [u8; ANSWER_LEN], Vec<u8>);

/// What was received and not taken yet, and room that is used again.
#[derive(Debug, Default)]
pub struct Answers {
    begun: Option<Begun>,
    spare: Vec<u8>,
}

impl Answers {
    /// Whether a part of the next frame is here already: the stream alone does not tell.
    pub fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Gives room back that a frame came in.
    pub fn reuse(&mut self, room: Vec<u8>) {
        if (self.spare.capacity()..=KEPT_ROOM).contains(&room.capacity()) {
            self.spare = room;
        }
    }

    /// Receives the beginning of the next frame, which may well carry `expected` bytes; false: the stream's own time-out was over first.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` at the end of the stream.
    pub fn begin(&mut self, stream: &impl AsRawFd, expected: usize) -> io::Result<bool> {
        if self.has_begun() {
            return Ok(true);
        }
        let mut header = [0; ANSWER_LEN];
        let mut body = std::mem::take(&mut self.spare);
        match socket::receive(stream, &mut header, &mut body, expected.min(READY_ROOM)) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(got) => {
                self.begun = Some((got, header, body));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.spare = body;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The next frame: its header and what it carries. `expected` is how much that may well be; `length` says from the header
    /// how much it is, or why there can be no such frame.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` at the end of the stream; those of `length`.
    pub fn next(
        &mut self,
        stream: &impl AsRawFd,
        expected: usize,
        length: impl FnOnce(&Answer) -> io::Result<usize>,
    ) -> io::Result<(Answer, Vec<u8>)> {
        while !self.begin(stream, expected)? {}
        let (got, mut header, mut body) = self.begun.take().unwrap_or_default();
        if got < ANSWER_LEN {
            let mut whole = header[..got].to_vec();
            socket::receive_up_to(stream, &mut whole, ANSWER_LEN)?;
            header.copy_from_slice(&whole);
        }
        let answer = Answer::decode(&header);
        let len = length(&answer)?;
        if body.len() > len {
            self.begun = Some(beginning(&body[len..]));
            body.truncate(len);
        }
        socket::receive_up_to(stream, &mut body, len)?;
        Ok((answer, body))
    }
}

/// These bytes as those of a frame.
fn beginning(bytes: &[u8]) -> Begun {
    let got = bytes.len().min(ANSWER_LEN);
    let mut header = [0; ANSWER_LEN];
    header[..got].copy_from_slice(&bytes[..got]);
    (bytes.len(), header, bytes[got..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn frame(value: u8, carried: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; ANSWER_LEN];
        bytes[0] = 1;
        bytes[4..8].copy_from_slice(&(carried.len() as u32).to_le_bytes());
        bytes[8] = value;
        bytes.extend_from_slice(carried);
        bytes
    }

    #[test]
    fn frames_are_found_however_they_come() {
        let sent = [frame(1, b""), frame(2, &[7; 300]), frame(3, b"abc")].concat();
        for piece in [1, 5, 16, 17, 100, sent.len()] {
            for expected in [0, 3, 1000] {
                let (near, mut far) = UnixStream::pair().unwrap();
                let bytes = sent.clone();
                let sender = std::thread::spawn(move || {
                    bytes
                        .chunks(piece)
                        .for_each(|part| far.write_all(part).unwrap());
                });
                let mut answers = Answers::default();
                for (value, len) in [(1, 0), (2, 300), (3, 3)] {
                    let (answer, body) = answers
                        .next(&near, expected, |answer| Ok(answer.len as usize))
                        .unwrap();
                    assert_eq!(
                        (answer.value, body.len()),
                        (value, len),
                        "{piece} {expected}"
                    );
                    assert!(value != 3 || body == b"abc");
                    answers.reuse(body);
                }
                sender.join().unwrap();
                assert!(!answers.has_begun());
                let end = answers.next(&near, expected, |_| Ok(0));
                assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            }
        }
    }

    #[test]
    fn an_end_inside_of_a_frame_is_an_error() {
        for cut in [1, ANSWER_LEN, ANSWER_LEN + 2] {
            let (near, mut far) = UnixStream::pair().unwrap();
            far.write_all(&frame(1, b"abc")[..cut]).unwrap();
            drop(far);
            let cut_off = Answers::default().next(&near, 10, |answer| Ok(answer.len as usize));
            assert_eq!(cut_off.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
