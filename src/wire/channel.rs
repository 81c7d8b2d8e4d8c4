//! The channel between a host (or mover) and a deputy's stub: fixed little-endian layouts that the stub's code knows by offset.
//!
//! One request at a time; the stub answers each with one `REPLY` frame, preceded by one `SIGNAL` frame for each signal that it
//! caught. It sends `SIGNAL` frames on its own only between requests (a request may cross them on the wire).
//!
//! ```text
//! request  0 flags   8 nr   16 args[6]   64 in_len   72 in_ptr   80 out_ptr   88 out_fixed   96 out_max   104 child_fd   112 end
//! answer   0 kind:u32   4 len:u32   8 value:i64   16 len bytes
//! ```
//!
//! `in_len` bytes follow the request and are stored at `in_ptr` (0: right behind the header in the staging area, at
//! [`INLINE_IN`]; then header and input together must fit in the staging area). The answer carries `out_fixed` bytes from `out_ptr`,
//! plus, with [`OUT_BY_RESULT`], `min(max(value, 0) × unit, out_max)` more.

pub use crate::sys::stub::layout::*;

/// One request. All addresses are of the deputy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub flags: u64,
    pub nr: u64,
    pub args: [u64; 6],
    pub in_len: u64,
    pub in_ptr: u64,
    pub out_ptr: u64,
    pub out_fixed: u64,
    pub out_max: u64,
    pub child_fd: u64,
}

impl Request {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; REQUEST_LEN] {
        let words = [
            self.flags,
            self.nr,
            self.args[0],
            self.args[1],
            self.args[2],
            self.args[3],
            self.args[4],
            self.args[5],
            self.in_len,
            self.in_ptr,
            self.out_ptr,
            self.out_fixed,
            self.out_max,
            self.child_fd,
        ];
        let mut bytes = [0; REQUEST_LEN];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// The header of an answer frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub kind: u32,
    pub len: u32,
    pub value: i64,
}

impl Answer {
    pub fn decode(bytes: &[u8; ANSWER_LEN]) -> Answer {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Answer {
            kind: word(0),
            len: word(4),
            value: i64::from(word(8)) | (i64::from(word(12) as i32) << 32),
        }
    }
}

/// First bytes of a channel connection, before its token.
pub const CHANNEL_MAGIC: &[u8; 8] = b"MOSCHAN1";
/// Bytes of a channel's one-time token.
pub const TOKEN_LEN: usize = 24;
pub type Token = [u8; TOKEN_LEN];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_decode_negative_values() {
        let mut bytes = [0; ANSWER_LEN];
        bytes[0] = 1;
        bytes[4] = 7;
        bytes[8..].copy_from_slice(&(-5000i64).to_le_bytes());
        assert_eq!(
            Answer::decode(&bytes),
            Answer {
                kind: KIND_REPLY,
                len: 7,
                value: ABORTED
            }
        );
    }

    #[test]
    fn requests_have_the_documented_offsets() {
        let bytes = Request {
            flags: 1,
            nr: 2,
            in_len: 3,
            child_fd: 4,
            ..Request::default()
        }
        .encode();
        assert_eq!((bytes[0], bytes[8], bytes[64], bytes[104]), (1, 2, 3, 4));
    }
}
