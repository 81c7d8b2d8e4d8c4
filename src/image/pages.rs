//! Contents of memory on a connection.
//!
//! ```text
//! batch   0 pieces:u32 (0: the end)   4 bytes:u32   8 pieces × { addr:u64 len:u32 what:u32 }   then `bytes` bytes
//! ```
//!
//! With the highest bit of `pieces` set, the contents are packed (raw deflate): their packed length:u32 and so many bytes follow instead.
//!
//! `what` is 0 for contents, which follow in the order of the pieces, and 1 for zeros, which do not. In areas that map files, those are
//! the process's own; 2 and 3 are the same for what is the file's. That comes first, and mentions all up to the file's end (what
//! the process has its own of as zeros), so that the receiver need not have the file. 4 is what the receiver has already.
//!
//! Memory may come in several rounds, each ended by such a mark. The last one mentions all that the process has, but for anonymous pages
//! of zeros: whatever else the receiver has got earlier is void.

use std::io::{self, Read};

use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// Most bytes of contents in a batch.
pub const BATCH_BYTES: usize = 1 << 19;
/// Most pieces in a batch.
pub const BATCH_PIECES: usize = 512;
pub(super) const HEADER: usize = 8;
pub(super) const PIECE: usize = 16;
/// Set in the number of a batch's pieces: its contents are packed.
pub(super) const PACKED: u32 = 1 << 31;
const DATA: u32 = 0;
const ZERO: u32 = 1;
const FILE: u32 = 2;
const KEPT: u32 = 4;
/// Zeros are given to a receiver in parts of this size.
pub static ZEROS: [u8; 1 << 18] = [0; 1 << 18];

/// One piece of a batch, as it is on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    pub addr: u64,
    pub len: u32,
    /// Its contents are zeros and do not follow.
    pub zero: bool,
    /// It is of the file that is mapped there.
    pub file: bool,
    /// The receiver has its contents: they are as they were in an earlier round.
    pub kept: bool,
}

impl Piece {
    /// Whether its contents follow.
    pub fn follows(&self) -> bool {
        !self.zero && !self.kept
    }

    pub(super) fn what(&self) -> u32 {
        let bit = |set: bool, value: u32| if set { value } else { DATA };
        bit(self.zero, ZERO) | bit(self.file, FILE) | bit(self.kept, KEPT)
    }
}

/// What a batch is about.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub pieces: Vec<Piece>,
    /// Of contents.
    pub bytes: usize,
    /// Bytes that follow on the connection instead, if they are packed.
    pub packed: Option<usize>,
}

impl Head {
    /// Reads the contents, of which the first `done` bytes are there already if they are not packed.
    ///
    /// # Errors
    ///
    /// `InvalidData` when they are packed and not what they should be; those of the connection.
    pub fn read_contents(
        &self,
        conn: &mut impl Read,
        done: usize,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        let Some(packed) = self.packed else {
            if buffer.len() < self.bytes {
                buffer.resize(self.bytes, 0);
            }
            return conn.read_exact(&mut buffer[done..self.bytes]);
        };
        let mut bytes = vec![0; packed];
        conn.read_exact(&mut bytes)?;
        *buffer = decompress_to_vec_with_limit(&bytes, self.bytes).map_err(|_| bad())?;
        match buffer.len() == self.bytes {
            true => Ok(()),
            false => Err(bad()),
        }
    }
}

fn bad() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a batch of pages that cannot be",
    )
}

/// Reads the head of a batch; its contents follow on the connection. `None`: the end.
pub fn read_head(conn: &mut impl Read) -> io::Result<Option<Head>> {
    let mut header = [0; HEADER];
    conn.read_exact(&mut header)?;
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let (count, bytes) = (number(&header[..4]), number(&header[4..]) as usize);
    let (count, packs) = ((count & !PACKED) as usize, count & PACKED != 0);
    if count == 0 && !packs {
        return if bytes == 0 { Ok(None) } else { Err(bad()) };
    }
    if count == 0 || count > BATCH_PIECES || bytes > BATCH_BYTES {
        return Err(bad());
    }
    let mut table = vec![0; count * PIECE];
    conn.read_exact(&mut table)?;
    let mut pieces = Vec::with_capacity(count);
    let mut sum = 0;
    for entry in table.chunks_exact(PIECE) {
        let addr = u64::from_le_bytes(entry[..8].try_into().expect("eight bytes"));
        let (len, what) = (number(&entry[8..12]), number(&entry[12..]));
        if len == 0 || what > KEPT || addr.checked_add(u64::from(len)).is_none() {
            return Err(bad());
        }
        let piece = Piece {
            addr,
            len,
            zero: what & ZERO != 0,
            file: what & FILE != 0,
            kept: what & KEPT != 0,
        };
        sum += if piece.follows() { len as usize } else { 0 };
        pieces.push(piece);
    }
    if sum != bytes {
        return Err(bad());
    }
    let mut packed = None;
    if packs {
        let mut len = [0; 4];
        conn.read_exact(&mut len)?;
        packed = Some(u32::from_le_bytes(len) as usize);
    }
    if packed.is_some_and(|packed| packed >= bytes) {
        // Nobody packs what does not get smaller.
        return Err(bad());
    }
    Ok(Some(Head {
        pieces,
        bytes,
        packed,
    }))
}

/// What is said about a piece of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got<'a> {
    Contents(&'a [u8]),
    /// So many bytes are as they were.
    Kept(u64),
}

/// Receives everything up to the mark of the end and gives each piece to `sink`. Nothing of it may be a file's.
pub fn receive(
    conn: &mut impl Read,
    sink: &mut impl FnMut(u64, Got<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(head) = read_head(conn)? {
        if head.pieces.iter().any(|piece| piece.file) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "contents of files where none were asked for",
            ));
        }
        head.read_contents(conn, 0, &mut buffer)?;
        give(&head.pieces, &buffer, sink)?;
    }
    Ok(())
}

/// Gives the pieces of a batch to `sink`.
fn give(
    pieces: &[Piece],
    contents: &[u8],
    sink: &mut impl FnMut(u64, Got<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut at = 0;
    for piece in pieces {
        let len = piece.len as usize;
        if piece.kept {
            sink(piece.addr, Got::Kept(piece.len.into()))?;
            continue;
        }
        if !piece.zero {
            sink(piece.addr, Got::Contents(&contents[at..at + len]))?;
            at += len;
            continue;
        }
        for offset in (0..len).step_by(ZEROS.len()) {
            let part = (len - offset).min(ZEROS.len());
            sink(piece.addr + offset as u64, Got::Contents(&ZEROS[..part]))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_batches_are_refused() {
        let refused = |bytes: &[u8]| receive(&mut &bytes[..], &mut |_, _| Ok(())).is_err();
        assert!(refused(&[0, 0, 0, 0, 1, 0, 0, 0]));
        assert!(refused(&[255; 64]));
        assert!(refused(&[1, 0, 0, 0, 8, 0, 0, 0]));
        let mut lying = vec![1, 0, 0, 0, 8, 0, 0, 0];
        lying.extend_from_slice(&[0; 8]);
        lying.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0]);
        lying.extend_from_slice(&[0; 16]);
        assert!(refused(&lying));
        let packed = |len: u32, contents: &[u8]| {
            let words = [PACKED | 1, 4096, 0, 0, 4096, DATA, len];
            let head = words.iter().flat_map(|word| word.to_le_bytes());
            let all = head.chain(contents.iter().copied()).chain([0; 8]);
            all.collect::<Vec<u8>>()
        };
        let right = miniz_oxide::deflate::compress_to_vec(&[7; 4096], 1);
        assert!(!refused(&packed(right.len() as u32, &right)));
        let short = miniz_oxide::deflate::compress_to_vec(&[7; 4095], 1);
        assert!(refused(&packed(short.len() as u32, &short)));
        let long = miniz_oxide::deflate::compress_to_vec(&[7; 5000], 1);
        assert!(refused(&packed(long.len() as u32, &long)));
        assert!(refused(&packed(4096, &[7; 4096])));
        assert!(refused(&packed(8, &[255; 8])));
        assert!(refused(&[0, 0, 0, 128, 0, 0, 0, 0]));
    }
}
