//! Contents of memory, read from a process and sent in batches as `pages` describes them.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use miniz_oxide::deflate::compress_to_vec;

use crate::image::pages::{BATCH_BYTES, BATCH_PIECES, HEADER, PACKED, PIECE, Piece};
use crate::image::ranges::Range;
use crate::image::squeeze::Squeeze;
use crate::sys::errno::EFAULT;
use crate::sys::mem::{self, ProcMem};
use crate::sys::pagemap::PAGE;

/// Of the levels of packing, the fastest.
const LEVEL: u8 = 1;
/// Less is sent as it is.
const LEAST_PACKED: usize = 16 << 10;

/// Whose the bytes of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Anonymous,
    /// The process's, over a file: zeros count.
    Own,
    File,
    /// The process's, but it is told here only that the file has something there.
    Covered,
    /// The receiver has it.
    Kept,
}

impl Source {
    fn is_read(self) -> bool {
        !matches!(self, Source::Covered | Source::Kept)
    }
}

/// Part of a batch under way.
#[derive(Clone, Copy)]
struct Part {
    addr: u64,
    len: usize,
    /// Offset in the buffer.
    at: usize,
    source: Source,
}

/// Contents on their way out, in batches.
pub(super) struct Sender<'a, W> {
    pid: i32,
    out: &'a mut W,
    /// Of a link that is worth to spare.
    squeeze: Option<&'a mut Squeeze>,
    buffer: Vec<u8>,
    parts: Vec<Part>,
    fill: usize,
    forced: Option<ProcMem>,
    /// What could not be read.
    pub unread: Vec<Range>,
    /// Bytes of contents so far, as they were sent.
    pub bytes: u64,
}

impl<'a, W: Write> Sender<'a, W> {
    pub(super) fn new(pid: i32, out: &'a mut W, squeeze: Option<&'a mut Squeeze>) -> Self {
        let buffer = vec![0; BATCH_BYTES];
        Sender {
            pid,
            out,
            squeeze,
            buffer,
            parts: Vec::new(),
            fill: 0,
            forced: None,
            unread: Vec::new(),
            bytes: 0,
        }
    }

    pub(super) fn range(&mut self, start: u64, end: u64, source: Source) -> io::Result<()> {
        let mut addr = start;
        while addr < end {
            if self.fill == BATCH_BYTES || self.parts.len() == BATCH_PIECES {
                self.flush()?;
            }
            let len = (end - addr).min((BATCH_BYTES - self.fill) as u64) as usize;
            self.add(addr, len, source);
            self.fill += len;
            addr += len as u64;
        }
        Ok(())
    }

    fn add(&mut self, addr: u64, len: usize, source: Source) {
        let at = self.fill;
        self.parts.push(Part {
            addr,
            len,
            at,
            source,
        });
    }

    /// Mentions a range without its contents.
    pub(super) fn mention(&mut self, start: u64, end: u64, source: Source) -> io::Result<()> {
        const MOST: usize = 1 << 30;
        for addr in (start..end).step_by(MOST) {
            if self.parts.len() == BATCH_PIECES {
                self.flush()?;
            }
            let len = (end - addr).min(MOST as u64) as usize;
            self.add(addr, len, source);
        }
        Ok(())
    }

    /// Sends what a file has from `offset` on as the contents of a range, up to its end. All of them are multiples of pages.
    pub(super) fn contents(&mut self, range: Range, file: &File, offset: u64) -> io::Result<()> {
        self.flush()?;
        let mut addr = range.0;
        while addr < range.1 {
            let most = (range.1 - addr).min(BATCH_BYTES as u64) as usize;
            let got = file.read_at(&mut self.buffer[..most], offset + (addr - range.0))?;
            let len = got.next_multiple_of(PAGE as usize);
            self.buffer[got..len].fill(0);
            let (at, source) = (0, Source::File);
            self.send(&[Part {
                addr,
                len,
                at,
                source,
            }])?;
            if got < most {
                break;
            }
            addr += len as u64;
        }
        Ok(())
    }

    /// Reads and sends what has been collected.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let parts = std::mem::take(&mut self.parts);
        let wanted = std::mem::take(&mut self.fill);
        let read = parts.iter().filter(|part| part.source.is_read());
        let ranges: Vec<(u64, usize)> = read.map(|part| (part.addr, part.len)).collect();
        let got = match mem::read_many(self.pid, &ranges, &mut self.buffer[..wanted]) {
            Ok(got) => got,
            Err(error) if error.raw_os_error() == Some(EFAULT) => 0,
            Err(error) => return Err(error),
        };
        let parts = if got == wanted {
            parts
        } else {
            self.force(parts, got)?
        };
        self.send(&parts)
    }

    /// Reads page by page what could not be read at once: areas that the program itself may not read, and pages behind the
    /// end of a file, which are left out.
    fn force(&mut self, parts: Vec<Part>, got: usize) -> io::Result<Vec<Part>> {
        let forced = match self.forced.take() {
            Some(forced) => forced,
            None => ProcMem::open(self.pid)?,
        };
        let mut readable = Vec::with_capacity(parts.len());
        for part in parts {
            if !part.source.is_read() || part.at + part.len <= got {
                readable.push(part);
                continue;
            }
            for offset in (0..part.len).step_by(PAGE as usize) {
                let len = (part.len - offset).min(PAGE as usize);
                let (addr, at) = (part.addr + offset as u64, part.at + offset);
                let page = &mut self.buffer[at..at + len];
                if forced.read_exact(addr, page).is_ok() {
                    readable.push(Part {
                        addr,
                        len,
                        at,
                        ..part
                    });
                } else if part.source == Source::File {
                    // There is no more of it.
                    break;
                } else {
                    self.unread.push((addr, addr + len as u64));
                }
            }
        }
        self.forced = Some(forced);
        Ok(readable)
    }

    fn send(&mut self, parts: &[Part]) -> io::Result<()> {
        let mut pieces = Vec::with_capacity(parts.len());
        for part in parts {
            divide(part, &self.buffer, &mut pieces);
        }
        for chunk in pieces.chunks(BATCH_PIECES) {
            let contents = chunk.iter().filter(|(piece, _)| piece.follows());
            let bytes: usize = contents.clone().map(|(piece, _)| piece.len as usize).sum();
            let (packed, packing) = match self.is_to_pack(bytes) {
                true => pack(contents.clone(), &self.buffer),
                false => (None, Duration::ZERO),
            };
            let mark = packed.as_ref().map_or(0, |_| PACKED);
            let mut head = Vec::with_capacity(HEADER + chunk.len() * PIECE + 4);
            head.extend_from_slice(&(chunk.len() as u32 | mark).to_le_bytes());
            head.extend_from_slice(&(bytes as u32).to_le_bytes());
            for (piece, _) in chunk {
                head.extend_from_slice(&piece.addr.to_le_bytes());
                head.extend_from_slice(&piece.len.to_le_bytes());
                head.extend_from_slice(&piece.what().to_le_bytes());
            }
            if let Some(packed) = &packed {
                head.extend_from_slice(&(packed.len() as u32).to_le_bytes());
            }
            let mut slices = vec![IoSlice::new(&head)];
            match &packed {
                Some(packed) => slices.push(IoSlice::new(packed)),
                None => as_they_are(contents, &self.buffer, &mut slices),
            }
            let begin = Instant::now();
            write_all(self.out, &mut slices)?;
            let sent = packed.map_or(bytes, |packed| packed.len());
            self.note(bytes, sent, packing, begin.elapsed());
            self.bytes += sent as u64;
        }
        Ok(())
    }

    fn is_to_pack(&mut self, bytes: usize) -> bool {
        let squeeze = self.squeeze.as_deref_mut();
        bytes >= LEAST_PACKED && squeeze.is_some_and(Squeeze::packs)
    }

    fn note(&mut self, bytes: usize, sent: usize, packing: Duration, sending: Duration) {
        match self.squeeze.as_deref_mut() {
            // So little says nothing of the link.
            _ if bytes < LEAST_PACKED => {}
            Some(squeeze) if packing.is_zero() => squeeze.sent(bytes, sending),
            Some(squeeze) => squeeze.sent_packed(bytes, sent, packing, sending),
            None => {}
        }
    }

    /// Sends what is left, and the mark of the end.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        self.out.write_all(&[0; HEADER])?;
        self.out.flush()
    }
}

/// The contents packed, if that makes them smaller; and how long that took.
fn pack<'a>(
    contents: impl Iterator<Item = &'a (Piece, usize)>,
    buffer: &[u8],
) -> (Option<Vec<u8>>, Duration) {
    let begin = Instant::now();
    let parts = contents.map(|(piece, at)| &buffer[*at..at + piece.len as usize]);
    let all = parts.collect::<Vec<&[u8]>>().concat();
    let packed = compress_to_vec(&all, LEVEL);
    let smaller = Some(packed).filter(|packed| packed.len() < all.len());
    (smaller, begin.elapsed())
}

/// The contents where they are; neighbours in the buffer go out as one slice.
fn as_they_are<'a>(
    contents: impl Iterator<Item = &'a (Piece, usize)>,
    buffer: &'a [u8],
    slices: &mut Vec<IoSlice<'a>>,
) {
    let mut last = None;
    for (piece, at) in contents {
        let (from, to) = match last {
            Some((from, to)) if to == *at => {
                slices.pop();
                (from, at + piece.len as usize)
            }
            _ => (*at, at + piece.len as usize),
        };
        last = Some((from, to));
        slices.push(IoSlice::new(&buffer[from..to]));
    }
}

/// Divides a part where pages of zeros begin and end.
fn divide(part: &Part, buffer: &[u8], pieces: &mut Vec<(Piece, usize)>) {
    let file = matches!(part.source, Source::File | Source::Covered);
    if !part.source.is_read() {
        let piece = Piece {
            addr: part.addr,
            len: part.len as u32,
            zero: file,
            file,
            kept: !file,
        };
        return pieces.push((piece, part.at));
    }
    let first = pieces.len();
    for offset in (0..part.len).step_by(PAGE as usize) {
        let len = (part.len - offset).min(PAGE as usize);
        let at = part.at + offset;
        let zero = is_zero(&buffer[at..at + len]);
        if zero && part.source == Source::Anonymous {
            continue;
        }
        let addr = part.addr + offset as u64;
        let at_work = pieces[first..].last().copied();
        match at_work {
            Some((last, _)) if last.zero == zero && last.addr + u64::from(last.len) == addr => {
                pieces.last_mut().expect("just seen").0.len += len as u32;
            }
            _ => {
                let (len, kept) = (len as u32, false);
                let piece = Piece {
                    addr,
                    len,
                    zero,
                    file,
                    kept,
                };
                pieces.push((piece, at));
            }
        }
    }
}

fn is_zero(page: &[u8]) -> bool {
    let (words, rest) = page.as_chunks::<512>();
    words.iter().all(|word| *word == [0; 512]) && rest.iter().all(|byte| *byte == 0)
}

fn write_all(out: &mut impl Write, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match out.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => IoSlice::advance_slices(&mut slices, n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
