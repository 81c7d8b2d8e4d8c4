//! Collects the inputs and outputs of a call, lays them out in the deputy's memory and sets the pointers to them.
//!
//! The picture in the deputy, one range: inputs, then what is both, then outputs, then the stream of which the result says the
//! length. So the input of a request and its output are contiguous each:
//!
//! ```text
//! | input | input and output | output | stream |
//! |<------ in_len ---------->|
//!         |<-------- out_fixed ------->|<-max-->|
//! ```

use super::memory::{BAD, GuestMemory, Home, LOWEST, StrError, TASK_END, bytes};
use super::unpack::{Copy, Count, Unpack, When};
use super::{Forward, Plan, Step};
use crate::syscall::Fds;
use crate::wire::channel::{
    INLINE_IN, OUT_BY_RESULT, REQUEST_LEN, Request, STAGING_SIZE, UNIT_SHIFT,
};

/// Most bytes of data that one request moves. Longer transfers are made in pieces of this size: no pipe, socket or terminal
/// gives or takes as much at once, so that a full piece means a file, where the next piece follows without waiting.
pub const PIECE: u64 = 16 << 20;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    In,
    InOut,
    Out,
    Stream,
}

struct Piece {
    kind: Kind,
    bytes: Vec<u8>,
    len: u64,
    /// Offset in the range, known after the layout.
    at: u64,
}

/// Names a piece.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(usize);

/// Where a pointer stands.
enum Place {
    Arg(usize),
    Inside(Id, usize),
}

struct Link {
    place: Place,
    to: Id,
    offset: u64,
}

/// An output before the layout is known: as [`Copy`], with offsets relative to pieces.
struct Wanted {
    from: Id,
    copy: Copy,
    counter: Option<Id>,
}

pub(super) struct Pack<'a> {
    pub mem: &'a dyn GuestMemory,
    pub home: &'a Home,
    pub nr: u64,
    pub args: [u64; 6],
    /// Bytes that earlier requests of the same call have moved.
    pub done: u64,
    pub step: Step,
    pub hide: Option<Box<Fds>>,
    /// A word of the answer that becomes the value of a successful call.
    pub value_at: Option<(Id, usize)>,
    /// Bytes of the stream for each unit of the result.
    unit: u32,
    pieces: Vec<Piece>,
    links: Vec<Link>,
    wanted: Vec<Wanted>,
}

/// Can this be an address that the guest may use? All others go to the home kernel as they are.
pub(super) fn plausible(addr: u64) -> bool {
    (LOWEST..TASK_END).contains(&addr)
}

impl<'a> Pack<'a> {
    pub fn new(nr: u64, args: [u64; 6], mem: &'a dyn GuestMemory, home: &'a Home) -> Pack<'a> {
        Pack {
            mem,
            home,
            nr,
            args,
            done: 0,
            step: Step::Only,
            hide: None,
            value_at: None,
            unit: 1,
            pieces: Vec::new(),
            links: Vec::new(),
            wanted: Vec::new(),
        }
    }

    fn add(&mut self, kind: Kind, bytes: Vec<u8>, len: u64) -> Id {
        self.pieces.push(Piece {
            kind,
            bytes,
            len,
            at: 0,
        });
        Id(self.pieces.len() - 1)
    }

    /// Bytes for the call to read.
    pub fn input(&mut self, bytes: Vec<u8>) -> Id {
        let len = bytes.len() as u64;
        self.add(Kind::In, bytes, len)
    }

    /// Bytes for the call to read and change.
    pub fn in_out(&mut self, bytes: Vec<u8>) -> Id {
        let len = bytes.len() as u64;
        self.add(Kind::InOut, bytes, len)
    }

    /// Room for the call to fill.
    pub fn output(&mut self, len: u64) -> Id {
        self.add(Kind::Out, Vec::new(), len)
    }

    /// Room of which the call fills as many bytes as its result says; one a call at most.
    pub fn stream(&mut self, len: u64) -> Id {
        debug_assert!(self.pieces.iter().all(|piece| piece.kind != Kind::Stream));
        self.add(Kind::Stream, Vec::new(), len)
    }

    /// As [`Pack::stream`], when the result counts units of `unit` bytes.
    pub fn stream_of(&mut self, len: u64, unit: u32) -> Id {
        self.unit = unit;
        self.stream(len)
    }

    pub fn point_arg(&mut self, arg: usize, to: Id) {
        self.links.push(Link {
            place: Place::Arg(arg),
            to,
            offset: 0,
        });
    }

    /// Sets the pointer at `at` inside of piece `holder` to `offset` in piece `to`.
    pub fn point_inside(&mut self, holder: Id, at: usize, to: Id, offset: u64) {
        self.links.push(Link {
            place: Place::Inside(holder, at),
            to,
            offset,
        });
    }

    /// Changes eight bytes inside of an input.
    pub fn set_word(&mut self, holder: Id, at: usize, word: u64) {
        self.pieces[holder.0].bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }

    /// Four bytes inside of an input.
    pub fn word(&self, holder: Id, at: usize) -> u32 {
        super::memory::word32(&self.pieces[holder.0].bytes, at)
    }

    /// Bytes `offset..offset + max` of a piece go to `to` when `when` holds.
    pub fn give(&mut self, from: Id, offset: usize, to: u64, max: u64, when: When) {
        self.give_counted(from, offset, to, max, (Count::All, 0), when);
    }

    /// As [`Pack::give`], of which a count says how many are valid, `skip` of them having gone elsewhere before.
    pub fn give_counted(
        &mut self,
        from: Id,
        offset: usize,
        to: u64,
        max: u64,
        count: (Count, u64),
        when: When,
    ) {
        let copy = Copy {
            from: offset,
            to,
            max,
            count: count.0,
            skip: count.1,
            when,
            lenient: false,
        };
        self.wanted.push(Wanted {
            from,
            copy,
            counter: None,
        });
    }

    /// As [`Pack::give_counted`], the count being the word at `at` of width `width` in piece `counter`.
    pub fn give_by(
        &mut self,
        from: Id,
        to: u64,
        max: u64,
        skip: u64,
        counter: (Id, usize, usize),
        when: When,
    ) {
        let count = Count::At {
            offset: counter.1,
            width: counter.2,
        };
        let copy = Copy {
            from: skip as usize,
            to,
            max,
            count,
            skip,
            when,
            lenient: false,
        };
        self.wanted.push(Wanted {
            from,
            copy,
            counter: Some(counter.0),
        });
    }

    /// The output added last may fail to be stored without harm.
    pub fn lenient(&mut self) {
        if let Some(last) = self.wanted.last_mut() {
            last.copy.lenient = true;
        }
    }

    /// Argument `arg` is an address that goes to the home kernel as it is (NULL, or what it will refuse).
    fn passes(&mut self, arg: usize) -> bool {
        !plausible(self.args[arg])
    }

    /// Argument `arg` points to `len` bytes of input.
    pub fn arg_in(&mut self, arg: usize, len: u64) -> Option<Id> {
        let bytes = self.arg_bytes(arg, len)?;
        let id = self.input(bytes);
        self.point_arg(arg, id);
        Some(id)
    }

    /// The `len` bytes to which argument `arg` points; `None` when it does not (the argument is then settled).
    pub fn arg_bytes(&mut self, arg: usize, len: u64) -> Option<Vec<u8>> {
        if self.passes(arg) {
            return None;
        }
        if len > PIECE {
            self.args[arg] = BAD;
            return None;
        }
        match bytes(self.mem, self.args[arg], len as usize) {
            Ok(bytes) => Some(bytes),
            Err(_) => {
                self.args[arg] = BAD;
                None
            }
        }
    }

    /// Argument `arg` points to `len` bytes that the call fills.
    pub fn arg_out(&mut self, arg: usize, len: u64, when: When) -> Option<Id> {
        if self.passes(arg) {
            return None;
        }
        let id = self.output(len);
        self.point_arg(arg, id);
        self.give(id, 0, self.args[arg], len, when);
        Some(id)
    }

    /// Argument `arg` points to `len` bytes that the call reads and changes.
    pub fn arg_in_out(&mut self, arg: usize, len: u64, when: When) -> Option<Id> {
        let to = self.args[arg];
        let bytes = self.arg_bytes(arg, len)?;
        let id = self.in_out(bytes);
        self.point_arg(arg, id);
        self.give(id, 0, to, len, when);
        Some(id)
    }

    /// Argument `arg` points to `len` bytes of which the call fills as many as its result says.
    pub fn arg_stream(&mut self, arg: usize, len: u64) -> Option<Id> {
        if self.passes(arg) {
            return None;
        }
        let id = self.stream(len);
        self.point_arg(arg, id);
        self.give_counted(
            id,
            0,
            self.args[arg],
            len,
            (Count::Result(1), 0),
            When::Success,
        );
        Some(id)
    }

    /// Argument `arg` points to a string of at most `max` bytes with its NUL; a longer one goes cut, for the kernel to find.
    pub fn arg_str(&mut self, arg: usize, max: usize) -> Option<Id> {
        if self.passes(arg) {
            return None;
        }
        let string = match self.mem.read_cstr(self.args[arg], max) {
            Ok(string) => string,
            Err(StrError::TooLong) => vec![b'x'; max + 1],
            Err(StrError::Fault) => {
                self.args[arg] = BAD;
                return None;
            }
        };
        let id = self.input(string);
        self.point_arg(arg, id);
        Some(id)
    }

    /// Argument `arg` is a descriptor: the channel's is not there for the program.
    pub fn fd(&mut self, arg: usize) {
        if self.is_channel(self.args[arg] as i32) {
            self.args[arg] = NO_FD;
        }
    }

    pub fn is_channel(&self, fd: i32) -> bool {
        self.home.channels.contains(fd)
    }

    /// Lays all out and makes the request.
    pub fn finish(mut self) -> Plan {
        let (total, in_len, out_at, stream_at) = self.lay_out();
        let inline = total <= STAGING_SIZE - REQUEST_LEN as u64;
        let base = match self.home.big {
            _ if inline => self.home.stub + INLINE_IN,
            Some((addr, len)) if len >= total => addr,
            _ => return Plan::NeedBig(total),
        };
        let stream = self
            .pieces
            .iter()
            .find(|piece| piece.kind == Kind::Stream)
            .map(|piece| piece.len);
        let input = self.link_and_join(base, in_len as usize);
        let out_fixed = stream_at - out_at;
        let has_out = out_fixed > 0 || stream.is_some();
        let request = Request {
            flags: stream.map_or(0, |_| OUT_BY_RESULT | u64::from(self.unit) << UNIT_SHIFT),
            nr: self.nr,
            args: self.args,
            in_len,
            in_ptr: if inline { 0 } else { base },
            out_ptr: if has_out { base + out_at } else { 0 },
            out_fixed,
            out_max: stream.unwrap_or(0),
            child_fd: 0,
        };
        let copies = self.copies(out_at);
        let value_at = self
            .value_at
            .map(|(id, offset)| (self.pieces[id.0].at - out_at) as usize + offset);
        let unpack = Unpack {
            copies,
            hide: self.hide,
            value_at,
        };
        Plan::Forward(Forward {
            request,
            input,
            base,
            unpack,
            step: self.step,
        })
    }

    /// Gives each piece its place; returns the total, and where input ends, output begins and the stream begins.
    fn lay_out(&mut self) -> (u64, u64, u64, u64) {
        let mut ends = [0; 4];
        let mut at = 0u64;
        let kinds = [Kind::In, Kind::InOut, Kind::Out, Kind::Stream];
        for (kind, end) in kinds.into_iter().zip(&mut ends) {
            for piece in self.pieces.iter_mut().filter(|piece| piece.kind == kind) {
                piece.at = at;
                at = (at + piece.len).next_multiple_of(8);
            }
            *end = at;
        }
        (ends[3], ends[1], ends[0], ends[2])
    }

    /// Sets all pointers and joins the bytes of input.
    fn link_and_join(&mut self, base: u64, in_len: usize) -> Vec<u8> {
        for link in &self.links {
            let addr = base + self.pieces[link.to.0].at + link.offset;
            match link.place {
                Place::Arg(arg) => self.args[arg] = addr,
                Place::Inside(holder, at) => {
                    self.pieces[holder.0].bytes[at..at + 8].copy_from_slice(&addr.to_le_bytes());
                }
            }
        }
        let filled = |piece: &&mut Piece| !piece.bytes.is_empty();
        let mut pieces = self.pieces.iter_mut().filter(filled);
        if let (Some(only), None) = (pieces.next(), pieces.next())
            && only.at == 0
        {
            // It is there already, but for the padding.
            let mut input = std::mem::take(&mut only.bytes);
            input.resize(in_len, 0);
            return input;
        }
        let mut input = vec![0; in_len];
        for piece in self.pieces.iter().filter(|piece| !piece.bytes.is_empty()) {
            let at = piece.at as usize;
            input[at..at + piece.bytes.len()].copy_from_slice(&piece.bytes);
        }
        input
    }

    /// The outputs with offsets in the answer, whose first byte is `out_at` of the range.
    fn copies(&self, out_at: u64) -> Vec<Copy> {
        let offset = |id: Id| (self.pieces[id.0].at - out_at) as usize;
        let place = |wanted: &Wanted| {
            let mut copy = wanted.copy.clone();
            copy.from += offset(wanted.from);
            if let (Some(id), Count::At { offset: at, width }) = (wanted.counter, copy.count) {
                copy.count = Count::At {
                    offset: at + offset(id),
                    width,
                };
            }
            copy
        };
        self.wanted.iter().map(place).collect()
    }
}

/// A descriptor that no process has.
pub(super) const NO_FD: u64 = 0x7fff_ffff;
