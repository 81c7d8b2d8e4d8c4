//! Contents of memory on a connection.
//!
//! ```text
//! batch   0 pieces:u32 (0: the end)   4 bytes:u32   8 pieces × { addr:u64 len:u32 what:u32 }   then `bytes` bytes
//! ```
//!
//! `what` is 0 for contents, which follow in the order of the pieces, and 1 for zeros, which do not. In areas that map files, those are
//! the process's own; 2 and 3 are the same for what is the file's. That comes first, and mentions all up to the file's end (what
//! the process has its own of as zeros), so that the receiver need not have the file. Anonymous pages of zeros are not mentioned.

use std::io::{self, IoSlice, Read, Write};

use crate::image::{Area, Kind};
use crate::sys::errno::EFAULT;
use crate::sys::mem::{self, ProcMem};
use crate::sys::pagemap::{PAGE, Pagemap, Want};

/// Most bytes of contents in a batch.
pub const BATCH_BYTES: usize = 1 << 19;
/// Most pieces in a batch.
pub const BATCH_PIECES: usize = 512;
const HEADER: usize = 8;
const PIECE: usize = 16;
const DATA: u32 = 0;
const ZERO: u32 = 1;
const FILE: u32 = 2;
/// Zeros are given to a receiver in parts of this size.
pub static ZEROS: [u8; 1 << 18] = [0; 1 << 18];

/// One piece of a batch, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub addr: u64,
    pub len: u32,
    /// Its contents are zeros and do not follow.
    pub zero: bool,
    /// It is of the file that is mapped there.
    pub file: bool,
}

/// What the receiver needs of areas that map files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// The file and what the process has changed in its copy.
    Send,
    /// The changes: it has the file.
    There,
}

/// Sends the contents of all areas that have any, and the mark of the end. The process must be stopped.
pub fn send_areas(pid: i32, areas: &[Area], files: Files, out: &mut impl Write) -> io::Result<()> {
    let map = Pagemap::open(pid)?;
    let mut sender = Sender::new(pid, out);
    if files == Files::Send {
        for area in areas.iter().filter(|area| area.file.is_some()) {
            sender.file(area, &map)?;
        }
        sender.flush()?;
    }
    for area in areas.iter().filter(|area| has_contents(area)) {
        let (want, source) = match area.file {
            _ if !area.is_program() => {
                sender.range(area.start, area.end, Source::Own)?;
                continue;
            }
            Some(_) => (Want::Own, Source::Own),
            None => (Want::Contents, Source::Anonymous),
        };
        for (start, end) in map.ranges(area.start, area.end, want)? {
            sender.range(start, end, source)?;
        }
    }
    sender.finish()
}

/// Nothing of a shared area is the process's own.
fn has_contents(area: &Area) -> bool {
    (area.is_program() && !area.shared) || area.kind == Kind::Vdso
}

/// Whose the bytes of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Anonymous,
    /// The process's, over a file: zeros count.
    Own,
    File,
    /// The process's, but it is told here only that the file has something there.
    Covered,
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

struct Sender<'a, W> {
    pid: i32,
    out: &'a mut W,
    buffer: Vec<u8>,
    parts: Vec<Part>,
    fill: usize,
    forced: Option<ProcMem>,
}

impl<'a, W: Write> Sender<'a, W> {
    fn new(pid: i32, out: &'a mut W) -> Self {
        let buffer = vec![0; BATCH_BYTES];
        Sender {
            pid,
            out,
            buffer,
            parts: Vec::new(),
            fill: 0,
            forced: None,
        }
    }

    /// What is the file's in an area that maps one.
    fn file(&mut self, area: &Area, map: &Pagemap) -> io::Result<()> {
        let own = match area.shared {
            true => Vec::new(),
            false => map.ranges(area.start, area.end, Want::Own)?,
        };
        let mut at = area.start;
        for (start, end) in own {
            self.range(at, start, Source::File)?;
            self.covered(start, end)?;
            at = end;
        }
        self.range(at, area.end, Source::File)
    }

    fn range(&mut self, start: u64, end: u64, source: Source) -> io::Result<()> {
        let mut addr = start;
        while addr < end {
            if self.fill == BATCH_BYTES || self.parts.len() == BATCH_PIECES {
                self.flush()?;
            }
            let len = (end - addr).min((BATCH_BYTES - self.fill) as u64) as usize;
            let at = self.fill;
            self.parts.push(Part {
                addr,
                len,
                at,
                source,
            });
            self.fill += len;
            addr += len as u64;
        }
        Ok(())
    }

    fn covered(&mut self, start: u64, end: u64) -> io::Result<()> {
        const MOST: usize = 1 << 30;
        for addr in (start..end).step_by(MOST) {
            if self.parts.len() == BATCH_PIECES {
                self.flush()?;
            }
            let len = (end - addr).min(MOST as u64) as usize;
            let (at, source) = (self.fill, Source::Covered);
            self.parts.push(Part {
                addr,
                len,
                at,
                source,
            });
        }
        Ok(())
    }

    /// Reads and sends what has been collected.
    fn flush(&mut self) -> io::Result<()> {
        let parts = std::mem::take(&mut self.parts);
        let wanted = std::mem::take(&mut self.fill);
        let read = parts.iter().filter(|part| part.source != Source::Covered);
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
            if part.source == Source::Covered || part.at + part.len <= got {
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
            let contents = chunk.iter().filter(|(piece, _)| !piece.zero);
            let bytes: usize = contents.clone().map(|(piece, _)| piece.len as usize).sum();
            let mut head = Vec::with_capacity(HEADER + chunk.len() * PIECE);
            head.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
            head.extend_from_slice(&(bytes as u32).to_le_bytes());
            for (piece, _) in chunk {
                head.extend_from_slice(&piece.addr.to_le_bytes());
                head.extend_from_slice(&piece.len.to_le_bytes());
                head.extend_from_slice(&what(piece).to_le_bytes());
            }
            let mut slices = vec![IoSlice::new(&head)];
            let mut last = None;
            for (piece, at) in contents {
                // Neighbours in the buffer go out as one slice.
                let (from, to) = match last {
                    Some((from, to)) if to == *at => {
                        slices.pop();
                        (from, at + piece.len as usize)
                    }
                    _ => (*at, at + piece.len as usize),
                };
                last = Some((from, to));
                slices.push(IoSlice::new(&self.buffer[from..to]));
            }
            write_all(self.out, &mut slices)?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.out.write_all(&[0; HEADER])?;
        self.out.flush()
    }
}

fn what(piece: &Piece) -> u32 {
    (if piece.zero { ZERO } else { DATA }) | (if piece.file { FILE } else { 0 })
}

/// Divides a part where pages of zeros begin and end.
fn divide(part: &Part, buffer: &[u8], pieces: &mut Vec<(Piece, usize)>) {
    let file = matches!(part.source, Source::File | Source::Covered);
    if part.source == Source::Covered {
        let (addr, len, zero) = (part.addr, part.len as u32, true);
        pieces.push((
            Piece {
                addr,
                len,
                zero,
                file,
            },
            part.at,
        ));
        return;
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
            _ => pieces.push((
                Piece {
                    addr,
                    len: len as u32,
                    zero,
                    file,
                },
                at,
            )),
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

/// Reads the head of a batch; its contents (the second value: how many bytes) follow on the connection. `None`: the end.
pub fn read_head(conn: &mut impl Read) -> io::Result<Option<(Vec<Piece>, usize)>> {
    let bad = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "a batch of pages that cannot be",
        )
    };
    let mut header = [0; HEADER];
    conn.read_exact(&mut header)?;
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let (count, bytes) = (number(&header[..4]) as usize, number(&header[4..]) as usize);
    if count == 0 {
        return if bytes == 0 { Ok(None) } else { Err(bad()) };
    }
    if count > BATCH_PIECES || bytes > BATCH_BYTES {
        return Err(bad());
    }
    let mut table = vec![0; count * PIECE];
    conn.read_exact(&mut table)?;
    let mut pieces = Vec::with_capacity(count);
    let mut sum = 0;
    for entry in table.chunks_exact(PIECE) {
        let addr = u64::from_le_bytes(entry[..8].try_into().expect("eight bytes"));
        let (len, what) = (number(&entry[8..12]), number(&entry[12..]));
        if len == 0 || what > (ZERO | FILE) || addr.checked_add(u64::from(len)).is_none() {
            return Err(bad());
        }
        let (zero, file) = (what & ZERO != 0, what & FILE != 0);
        sum += if zero { 0 } else { len as usize };
        pieces.push(Piece {
            addr,
            len,
            zero,
            file,
        });
    }
    if sum == bytes {
        Ok(Some((pieces, bytes)))
    } else {
        Err(bad())
    }
}

/// Receives everything up to the mark of the end and gives each piece to `sink`. Nothing of it may be a file's.
pub fn receive(
    conn: &mut impl Read,
    sink: &mut impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some((pieces, bytes)) = read_head(conn)? {
        if pieces.iter().any(|piece| piece.file) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "contents of files where none were asked for",
            ));
        }
        if buffer.len() < bytes {
            buffer.resize(bytes, 0);
        }
        conn.read_exact(&mut buffer[..bytes])?;
        give(&pieces, &buffer, sink)?;
    }
    Ok(())
}

/// Gives the pieces of a batch to `sink`.
pub fn give(
    pieces: &[Piece],
    contents: &[u8],
    sink: &mut impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut at = 0;
    for piece in pieces {
        let len = piece.len as usize;
        if !piece.zero {
            sink(piece.addr, &contents[at..at + len])?;
            at += len;
            continue;
        }
        for offset in (0..len).step_by(ZEROS.len()) {
            let part = (len - offset).min(ZEROS.len());
            sink(piece.addr + offset as u64, &ZEROS[..part])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::FileArea;

    const P: usize = PAGE as usize;

    fn received(stream: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut got = Vec::new();
        receive(&mut &stream[..], &mut |addr, data: &[u8]| {
            got.push((addr, data.to_vec()));
            Ok(())
        })
        .unwrap();
        got
    }

    #[test]
    fn contents_come_through_and_files_apart_from_what_covers_them() {
        let memory = vec![0u8; 16 * P];
        let base = (memory.as_ptr() as u64).next_multiple_of(PAGE);
        let pid = std::process::id() as i32;
        for page in [2u64, 3, 7] {
            mem::write_all(pid, base + page * PAGE, &[page as u8]).unwrap();
        }
        let mut area = Area {
            start: base,
            end: base + 8 * PAGE,
            prot: 3,
            ..Area::default()
        };
        let mut stream = Vec::new();
        send_areas(pid, &[area.clone()], Files::Send, &mut stream).unwrap();
        let got = received(&stream);
        let at: Vec<(u64, usize)> = got
            .iter()
            .map(|(addr, data)| ((addr - base) / PAGE, data.len() / P))
            .collect();
        assert_eq!(at, [(2, 2), (7, 1)]);
        assert_eq!((got[0].1[0], got[0].1[P], got[1].1[0]), (2, 3, 7));

        area.file = Some(FileArea::default());
        let pieces = |files: Files| {
            let mut stream = Vec::new();
            send_areas(pid, &[area.clone()], files, &mut stream).unwrap();
            let (mut stream, mut all) = (&stream[..], Vec::new());
            while let Some((pieces, bytes)) = read_head(&mut stream).unwrap() {
                stream = &stream[bytes..];
                all.extend(pieces);
            }
            all
        };
        let pages = |pieces: &[Piece], file: bool, zero: bool| -> u64 {
            let alike = |piece: &&Piece| (piece.file, piece.zero) == (file, zero);
            let bytes = pieces
                .iter()
                .filter(alike)
                .map(|piece| u64::from(piece.len));
            bytes.sum::<u64>() / PAGE
        };
        let all = pieces(Files::Send);
        assert_eq!((pages(&all, true, true), pages(&all, false, false)), (8, 3));
        let own: Vec<Piece> = all.into_iter().filter(|piece| !piece.file).collect();
        assert_eq!(pieces(Files::There), own);
        drop(memory);
    }

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
    }
}
