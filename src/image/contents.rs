//! Contents on their way into a guest that is being built (step 6 of [`restore`](crate::image::restore)).

use std::io::{self, Read};

use crate::image::gadget::{Call, DATA, DATA_LEN, run_list};
use crate::image::layout::Place;
use crate::image::pages::{self, Piece, ZEROS};
use crate::image::ranges::{self, Range};
use crate::image::restore::{GuestBuilder, invalid};
use crate::image::{Kind, layout};
use crate::sys::{mem, pagemap};

const SYS_RECVMSG: u64 = 47;
const SYS_MADVISE: u64 = 28;
const MADV_DONTNEED: u64 = 4;
const MSG_WAITALL: u64 = 0x100;

impl GuestBuilder {
    /// Contents of the process itself.
    pub(super) fn write(&mut self, addr: u64, data: &[u8]) -> io::Result<()> {
        let place = self.place_of(addr, data.len() as u64)?;
        match place.kind {
            Kind::Vdso => {
                if let Some((start, bytes)) = &mut self.copy {
                    let at = addr.wrapping_sub(*start) as usize;
                    let place = bytes.get_mut(at..at.saturating_add(data.len()));
                    place
                        .ok_or_else(|| invalid("contents of a second vDSO"))?
                        .copy_from_slice(data);
                }
                Ok(())
            }
            Kind::Vvar => Ok(()),
            _ if place.shared => Err(invalid("contents of its own in a shared area")),
            _ if place.first_prot() == 0 => self.forced.write_all(addr, data),
            _ => mem::write_all(self.empty.pid, addr, data),
        }
    }

    /// Contents of a file that is mapped at `addr`.
    fn write_file(&mut self, addr: u64, len: u64, data: Option<&[u8]>) -> io::Result<()> {
        let place = self.place_of(addr, len)?;
        let (start, backed) = (place.start, place.file);
        let backed = backed.ok_or_else(|| invalid("contents of a file that is not mapped"))?;
        self.files.write(&backed, addr - start, len, data)
    }

    fn place_of(&self, addr: u64, len: u64) -> io::Result<&Place> {
        layout::holding(&self.places, addr, len)
            .ok_or_else(|| invalid("contents outside of every area"))
    }

    /// Step 6. What comes on the connection that was given to `create` the process receives by itself, where it can.
    pub fn receive(&mut self, conn: &mut impl Read) -> io::Result<()> {
        let mut buffer = Vec::new();
        self.mentioned.clear();
        while let Some(head) = pages::read_head(conn)? {
            let (pieces, bytes) = (&head.pieces, head.bytes);
            let direct = match self.conn {
                Some(_) => self.all_direct(pieces)? && head.packed.is_none(),
                None => false,
            };
            let done = if direct {
                self.receive_inside(pieces, bytes)?
            } else {
                0
            };
            if !direct || done < bytes {
                head.read_contents(conn, done, &mut buffer)?;
                self.write_rest(pieces, &buffer, done)?;
            }
            self.note(pieces)?;
        }
        self.has_contents = true;
        self.note_writes()
    }

    /// What the last round has not mentioned is gone, though an earlier one may have brought it.
    pub(super) fn drop_the_rest(&mut self) -> io::Result<()> {
        if self.kept.is_empty() {
            return Ok(());
        }
        let mentioned = ranges::sorted(std::mem::take(&mut self.mentioned));
        let mut void = Vec::new();
        for place in self.places.iter().filter(|place| place.is_anonymous()) {
            let there = pagemap::present(self.empty.pid, place.start, place.end)?;
            void.extend(ranges::minus(&there, &mentioned));
        }
        self.make_zero(&void)
    }

    /// Drops what memory of its own the process has there.
    fn make_zero(&mut self, void: &[Range]) -> io::Result<()> {
        let calls: Vec<Call> = void
            .iter()
            .map(|(start, end)| {
                let args = [*start, end - start, MADV_DONTNEED, 0, 0, 0];
                Call::must("drop contents", SYS_MADVISE, args)
            })
            .collect();
        let stub = self.stub;
        run_list(self.injector()?, stub, &calls).map(drop)
    }

    /// Remembers what a batch was about; zeros take the place of what came before, and only what came before can be kept.
    fn note(&mut self, pieces: &[Piece]) -> io::Result<()> {
        let mut zeros = Vec::new();
        for piece in pieces.iter().filter(|piece| !piece.file) {
            let range = (piece.addr, piece.addr + u64::from(piece.len));
            let anonymous = self.place_of(range.0, range.1 - range.0)?.is_anonymous();
            let there = anonymous && ranges::holds(&self.kept, range.0, range.1);
            if piece.kept && !there {
                return Err(invalid("contents that never came"));
            } else if !anonymous {
                continue;
            } else if !piece.zero {
                self.mentioned.push(range);
            } else if self.has_contents {
                zeros.push(range);
            }
        }
        match zeros.is_empty() {
            true => Ok(()),
            false => self.make_zero(&zeros),
        }
    }

    /// Whether the process itself can receive these pieces. All of them must lie in its areas.
    fn all_direct(&self, pieces: &[Piece]) -> io::Result<bool> {
        let mut direct = true;
        for piece in pieces {
            let place = self.place_of(piece.addr, u64::from(piece.len))?;
            let ours = piece.file || (piece.zero && place.file.is_some());
            let special = place.shared || matches!(place.kind, Kind::Vdso | Kind::Vvar);
            direct &= (place.first_prot() != 0 || !piece.follows()) && !ours && !special;
        }
        Ok(direct)
    }

    /// Lets the process receive the contents of a batch into its own memory; gives how many bytes it got.
    fn receive_inside(&mut self, pieces: &[Piece], bytes: usize) -> io::Result<usize> {
        const MSGHDR: u64 = 56;
        let conn = self.conn.ok_or_else(|| invalid("no connection"))? as u64;
        if bytes == 0 {
            return Ok(0);
        }
        let base = self.stub + DATA;
        let data = pieces.iter().filter(|piece| piece.follows());
        let vector: Vec<u64> = data
            .flat_map(|piece| [piece.addr, u64::from(piece.len)])
            .collect();
        // msghdr: name, its length, vector, its length, control, its length, flags.
        let mut words = vec![0, 0, base + MSGHDR, vector.len() as u64 / 2, 0, 0, 0];
        words.extend(vector);
        let area: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        debug_assert!(area.len() as u64 <= DATA_LEN);
        mem::write_all(self.empty.pid, base, &area)?;
        let args = [conn, base, MSG_WAITALL, 0, 0, 0];
        // Large pages would make this faster, but to ask for them on a part of an area divides it, and the program's `mremap` then
        // fails.
        let calls = [Call::must("receive contents", SYS_RECVMSG, args)];
        let stub = self.stub;
        match run_list(self.injector()?, stub, &calls)?.pop() {
            Some(got) if got > 0 => Ok(got as usize),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Gives on what has not been received inside.
    fn write_rest(&mut self, pieces: &[Piece], buffer: &[u8], done: usize) -> io::Result<()> {
        let mut at = 0;
        for piece in pieces {
            let len = u64::from(piece.len);
            if piece.kept {
                continue;
            }
            if piece.zero {
                self.write_zeros(piece, len)?;
                continue;
            }
            let (start, end) = (at.max(done), at + piece.len as usize);
            let addr = piece.addr + (start - at) as u64;
            if start < end && piece.file {
                self.write_file(addr, (end - start) as u64, Some(&buffer[start..end]))?;
            } else if start < end {
                self.write(addr, &buffer[start..end])?;
            }
            at = end;
        }
        Ok(())
    }

    /// All memory is fresh: zeros count only where they tell that a file is so long, or cover its contents.
    fn write_zeros(&mut self, piece: &Piece, len: u64) -> io::Result<()> {
        if piece.file {
            return self.write_file(piece.addr, len, None);
        }
        if self.place_of(piece.addr, len)?.file.is_none() {
            return Ok(());
        }
        for at in (0..len).step_by(ZEROS.len()) {
            let part = (len - at).min(ZEROS.len() as u64) as usize;
            self.write(piece.addr + at, &ZEROS[..part])?;
        }
        Ok(())
    }
}
