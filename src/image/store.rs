//! An image in a file.
//!
//! ```text
//! 0 "MOSFRZ01"   then chunks: length:u32, that many bytes   … length 0: the end
//! ```
//!
//! What the chunks carry is what a migration sends: the frame of a `Meta`, then pages.

use std::io::{self, Read, Write};

const MAGIC: &[u8; 8] = b"MOSFRZ01";
/// Bytes that are written at once.
const CHUNK: usize = 1 << 20;

/// Writes an image.
pub struct Writer<W: Write> {
    out: W,
    chunk: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub fn new(mut out: W) -> io::Result<Writer<W>> {
        out.write_all(MAGIC)?;
        let chunk = Vec::with_capacity(CHUNK);
        Ok(Writer { out, chunk })
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
        self.out
            .write_all(&(self.chunk.len() as u32).to_le_bytes())?;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
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
        let len = u32::from_le_bytes(len) as usize;
        if len > CHUNK {
            return Err(bad());
        }
        self.chunk.resize(len, 0);
        self.at = 0;
        self.file.read_exact(&mut self.chunk)
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

    fn stored(contents: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file).unwrap();
        writer.write_all(contents).unwrap();
        writer.finish().unwrap();
        file
    }

    #[test]
    fn what_is_written_is_read_again() {
        for len in [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 5] {
            let contents: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let file = stored(&contents);
            let mut reader = Reader::new(&file[..]).unwrap();
            let mut read = vec![0; len];
            reader.read_exact(&mut read).unwrap();
            assert!(read == contents, "{len} bytes");
            assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        }
    }

    #[test]
    fn what_is_no_image_is_refused() {
        assert!(Reader::new(&b"MOSFRZ00"[..]).is_err());
        let mut long = MAGIC.to_vec();
        long.extend(u32::MAX.to_le_bytes());
        let mut reader = Reader::new(&long[..]).unwrap();
        assert_eq!(
            reader.read(&mut [0]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        let cut = &stored(&[7; 100])[..50];
        let mut reader = Reader::new(cut).unwrap();
        assert!(reader.read_exact(&mut [0; 100]).is_err());
    }
}
