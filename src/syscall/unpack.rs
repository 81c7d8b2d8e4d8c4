//! What to do with an answer: which of its bytes go where in the guest.

use super::errno;
use super::memory::GuestMemory;
use crate::syscall::Fds;

/// When an output is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The call succeeded.
    Success,
    /// Whatever the result.
    Always,
    /// The result is greater than this.
    Above(i64),
}

impl When {
    fn holds(self, value: i64) -> bool {
        match self {
            When::Success => value >= 0,
            When::Always => true,
            When::Above(floor) => value > floor,
        }
    }
}

/// How many bytes of an output are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    All,
    /// The result times this.
    Result(u64),
    /// A word of 4 or 8 bytes in the answer, at this offset.
    At {
        offset: usize,
        width: usize,
    },
}

/// One output: bytes of the answer and where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    /// Offset in the answer.
    pub from: usize,
    /// Address in the guest.
    pub to: u64,
    /// Most bytes.
    pub max: u64,
    pub count: Count,
    /// Bytes of the count that lie before this output (in an earlier segment).
    pub skip: u64,
    pub when: When,
    /// A fault is not worth an error (the bytes may be what the guest has already).
    pub lenient: bool,
}

/// Unpacks the answer of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpack {
    pub(super) copies: Vec<Copy>,
    /// Numbers of descriptors to leave out of a list of directory entries.
    pub(super) hide: Option<Box<Fds>>,
    /// Offset of a word in the answer that becomes the value of a successful call.
    pub(super) value_at: Option<usize>,
}

impl Unpack {
    /// The whole answer goes to one place.
    pub(super) fn whole(out: Option<(u64, u64)>) -> Unpack {
        let copy = |(to, max)| Copy {
            from: 0,
            to,
            max,
            count: Count::All,
            skip: 0,
            when: When::Success,
            lenient: false,
        };
        Unpack {
            copies: out.into_iter().map(copy).collect(),
            ..Unpack::default()
        }
    }

    /// Writes the outputs to the guest and returns the value that the guest is to get: `value`, or `-EFAULT` when an output
    /// could not be stored, or fewer bytes when some of a stream could not; `-EIO` when the answer is too short.
    pub fn finish(&self, mem: &dyn GuestMemory, value: i64, out: &[u8]) -> i64 {
        let hidden;
        let (value, out) = match &self.hide {
            Some(fds) if value > 0 => {
                hidden = super::shapes::dents::without(&out[..out.len().min(value as usize)], fds);
                (hidden.len() as i64, &hidden[..])
            }
            _ => (value, out),
        };
        let Some(valid) = self.valid(value, out) else {
            return -errno::EIO;
        };
        let parts: Vec<(u64, &[u8])> = valid.iter().map(|&(copy, data)| (copy.to, data)).collect();
        if parts.len() < 2 || mem.write_parts(&parts).is_err() {
            for (copy, data) in valid {
                if mem.write(copy.to, data).is_err() && !copy.lenient {
                    return copy.fault();
                }
            }
        }
        if value >= 0
            && let Some(at) = self.value_at
        {
            return out
                .get(at..at + 8)
                .map_or(-errno::EIO, |word| super::memory::word64(word, 0) as i64);
        }
        value
    }
}

impl Unpack {
    /// The outputs that are valid and their bytes; `None` when the answer has fewer.
    fn valid<'a>(&self, value: i64, out: &'a [u8]) -> Option<Vec<(&Copy, &'a [u8])>> {
        let mut valid = Vec::with_capacity(self.copies.len());
        for copy in self.copies.iter().filter(|copy| copy.when.holds(value)) {
            // Where nothing came there need not be a place for it in the answer.
            let len = copy.len(value, out)?;
            if len > 0 {
                valid.push((copy, out.get(copy.from..copy.from + len)?));
            }
        }
        Some(valid)
    }
}

impl Copy {
    /// What a call gives whose output cannot be stored: a stream that breaks off in its middle counts what came before.
    fn fault(&self) -> i64 {
        if self.count == Count::Result(1) && self.skip > 0 {
            self.skip as i64
        } else {
            -errno::EFAULT
        }
    }

    fn len(&self, value: i64, out: &[u8]) -> Option<usize> {
        let counted = match self.count {
            Count::All => self.skip.saturating_add(self.max),
            Count::Result(unit) => (value.max(0) as u64).saturating_mul(unit),
            Count::At { offset, width } => {
                let bytes = out.get(offset..offset + width)?;
                let mut word = [0; 8];
                word[..width].copy_from_slice(bytes);
                u64::from_le_bytes(word)
            }
        };
        Some(counted.saturating_sub(self.skip).min(self.max) as usize)
    }
}
