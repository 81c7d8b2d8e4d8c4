//! An image in a file.
//!
//! ```text
//! 0 "MOSFRZ01"   then chunks: length:u32 (| 1 << 31: packed), that many bytes   … length 0: the end
//! ```
//!
//! What is packed (raw deflate) is a chunk of at most 1 MiB. What the chunks carry is what a migration sends: the frame of a `Meta`, then pages.

use std::io::{self, Read, Write};
use std::time::Instant;

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

const MAGIC: &[u8; 8] = b"MOSFRZ01";
/// Bytes that are written at once.
const CHUNK: usize = 1 << 20;
/// Set in the length of a chunk that is packed.
const PACKED: u32 = 1 << 31;
/// Of the levels of packing, the fastest.
const LEVEL: u8 = 1;
/// No packing is faster than this, in nanoseconds for a byte: where writing is, packing is not even tried.
const FASTEST_PACKING: f64 = 3.0;
/// How often it is tried whether packing would be faster now: once in so many chunks.
const TRY_EVERY: u32 = 16;

/// What the writer of an image is to go for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Chunks are packed when the file is so slow that this saves time.
    Speed,
    /// All chunks are packed.
    Size,
}

/// How long things take, in nanoseconds for a byte of the image, as it was measured last; 0: never.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// For a byte of the file.
    write: f64,
    pack: f64,
    /// What packing leaves of a byte.
    rest: f64,
    since_try: u32,
}

impl Pace {
    /// Whether the next chunk is to be packed.
    fn packs(&mut self) -> bool {
        if self.write < FASTEST_PACKING {
            return false;
        }
        self.since_try += 1;
        let faster = self.pack + self.rest * self.write < self.write;
        if self.pack > 0.0 && (faster || self.since_try < TRY_EVERY) {
            return faster;
        }
        self.since_try = 0;
        true
    }

    fn packed(&mut self, bytes: usize, left: usize, ns: u128) {
        self.pack = ns as f64 / bytes as f64;
        self.rest = left as f64 / bytes as f64;
    }

    /// One write may only go to a buffer, or empty it for all: what counts is how it is for a while.
    fn written(&mut self, bytes: usize, ns: u128) {
        let now = ns as f64 / bytes as f64;
        self.write = if self.write == 0.0 {
            now
        } else {
            self.write + (now - self.write) / 8.0
        };
    }
}

/// Writes an image.
pub struct Writer<W: Write> {
    out: W,
    chunk: Vec<u8>,
    aim: Aim,
    pace: Pace,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn new(mut out: W, aim: Aim) -> io::Result<Writer<W>> {
        out.write_all(MAGIC)?;
        Ok(Writer {
            out,
            chunk: Vec::with_capacity(CHUNK),
            aim,
            pace: Pace::default(),
        })
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn finish(mut self) -> io::Result<()> {
        self.write_chunk()?;
        self.out.write_all(&[0; 4])?;
        self.out.flush()
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let packed = match self.aim == Aim::Size || self.pace.packs() {
            true => self.pack(),
            false => None,
        };
        let (bytes, mark) = match &packed {
            Some(packed) => (&packed[..], PACKED),
            None => (&self.chunk[..], 0),
        };
        let begin = Instant::now();
        self.out
            .write_all(&(bytes.len() as u32 | mark).to_le_bytes())?;
        self.out.write_all(bytes)?;
        self.pace.written(bytes.len(), begin.elapsed().as_nanos());
        self.chunk.clear();
        Ok(())
    }

    /// The chunk packed, if that makes it smaller.
    fn pack(&mut self) -> Option<Vec<u8>> {
        let begin = Instant::now();
        let packed = compress_to_vec(&self.chunk, LEVEL);
        let took = begin.elapsed().as_nanos();
        self.pace.packed(self.chunk.len(), packed.len(), took);
        Some(packed).filter(|packed| packed.len() < self.chunk.len())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            self.write_chunk()?;
        }
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// What is written is in the file only at its end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads an image.
pub struct Reader<R: Read> {
    file: R,
    chunk: Vec<u8>,
    at: usize,
}

impl<R: Read> Reader<R> {
    /// Opens one at its beginning.
    ///
    /// # Errors
    ///
    /// `InvalidData` when it is none; those of the file.
    pub fn new(mut file: R) -> io::Result<Reader<R>> {
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(bad());
        }
        let chunk = Vec::new();
        Ok(Reader { file, chunk, at: 0 })
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let mut len = [0; 4];
        self.file.read_exact(&mut len)?;
        let word = u32::from_le_bytes(len);
        let len = (word & !PACKED) as usize;
        if len > CHUNK {
            return Err(bad());
        }
        self.chunk.resize(len, 0);
        self.at = 0;
        self.file.read_exact(&mut self.chunk)?;
        if word & PACKED != 0 {
            self.chunk = decompress_to_vec_with_limit(&self.chunk, CHUNK).map_err(|_| bad())?;
        }
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            self.next_chunk()?;
        }
        let taken = bytes.len().min(self.chunk.len() - self.at);
        bytes[..taken].copy_from_slice(&self.chunk[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

fn bad() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is no image of a process")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(contents: &[u8], aim: Aim) -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, aim).unwrap();
        writer.write_all(contents).unwrap();
        writer.finish().unwrap();
        file
    }

    #[test]
    fn what_is_written_is_read_again() {
        for len in [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 5] {
            for aim in [Aim::Speed, Aim::Size] {
                let contents: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
                let file = stored(&contents, aim);
                let mut reader = Reader::new(&file[..]).unwrap();
                let mut read = vec![0; len];
                reader.read_exact(&mut read).unwrap();
                assert!(read == contents, "{len} bytes, {aim:?}");
                assert_eq!(reader.read(&mut [0]).unwrap(), 0);
                assert!(aim == Aim::Speed || file.len() < 100 + len / 10);
            }
        }
    }

    #[test]
    fn it_is_packed_where_that_saves_time() {
        let slow = |pack, rest| Pace {
            write: 100.0,
            pack,
            rest,
            since_try: 0,
        };
        assert!(!Pace::default().packs());
        assert!(slow(0.0, 0.0).packs(), "not tried yet");
        assert!(slow(20.0, 0.5).packs());
        assert!(!slow(60.0, 0.5).packs());
        assert!(!slow(20.0, 1.0).packs());
        let mut hopeless = slow(20.0, 1.0);
        let tries = (0..160).filter(|_| hopeless.packs()).count();
        assert_eq!(tries, 10);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        assert!(Reader::new(&b"MOSFRZ00"[..]).is_err());
        let mut long = MAGIC.to_vec();
        long.extend((CHUNK as u32 + 1).to_le_bytes());
        let mut reader = Reader::new(&long[..]).unwrap();
        assert_eq!(
            reader.read(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        let cut = &stored(&[7; 100], Aim::Speed)[..50];
        let mut reader = Reader::new(cut).unwrap();
        assert!(reader.read_exact(&mut [0; 100]).is_err());
        let mut bomb = MAGIC.to_vec();
        let packed = compress_to_vec(&vec![0; CHUNK + 1], LEVEL);
        bomb.extend((packed.len() as u32 | PACKED).to_le_bytes());
        bomb.extend(packed);
        assert!(Reader::new(&bomb[..]).unwrap().read(&mut [0]).is_err());
    }
}
