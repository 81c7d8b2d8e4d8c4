//! Signal frames on a process's stacks. A kernel saves in them all register state that its processor has, and takes a frame back only
//! if it has no more than that: from a larger one it would restore the oldest registers alone. So what a process is not bound to is taken
//! out of its frames before it leaves.

use std::io;

use crate::image::{Area, KERNELS, Meta, Thread};
use crate::sys::{cpu, mem};

/// Offsets in the saved state, which is aligned to 64 bytes: the kernel's words about it, and which components are in use.
const WORDS: usize = 464;
const IN_USE: usize = 512;
/// The state without any extended component.
const LEAST: usize = 576;
const ALIGNED: usize = 64;
/// At the beginning of the kernel's words, and behind the state.
const BEGINS: u32 = 0x4650_5853;
const ENDS: u32 = 0x4650_5845;
/// Frames deeper in a stack are not looked for.
const DEEPEST: u64 = 1 << 20;
/// What a function may use below its stack pointer.
const RED_ZONE: u64 = 128;
/// No alternate stack is set.
const SS_DISABLE: i32 = 2;
const RSP: usize = 19;

/// What a frame was changed to: offset and bytes.
type Change = (usize, Vec<u8>);

impl Meta {
    /// Takes what the process is not bound to out of the frames of its handlers, in the memory of process `pid`, which is stopped. With
    /// `careful`, only if nothing is lost by it.
    ///
    /// # Errors
    ///
    /// In words when something would be lost; those of reading and writing its memory.
    pub fn fit_frames(&self, pid: i32, careful: bool) -> io::Result<()> {
        let keep = self.needs.state();
        if cpu::xfeatures() & !keep == 0 {
            return Ok(());
        }
        for thread in &self.threads {
            for (start, end) in stacks(thread, &self.areas) {
                let mut bytes = vec![0; (end - start) as usize];
                // What is mapped and never used may not be readable from outside; there is no frame in it.
                if mem::read_exact(pid, start, &mut bytes).is_err() {
                    continue;
                }
                for (at, with) in changes(&bytes, keep, careful)? {
                    mem::write_all(pid, start + at as u64, &with)?;
                }
            }
        }
        Ok(())
    }
}

/// Where a thread may have frames.
fn stacks(thread: &Thread, areas: &[Area]) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let rsp = thread.regs.get(RSP).copied().unwrap_or(0);
    if let Some(area) = areas
        .iter()
        .find(|area| (area.start..area.end).contains(&rsp))
    {
        found.push((rsp.saturating_sub(RED_ZONE).max(area.start), area.end));
    }
    let (start, flags, len) = thread.altstack;
    let end = start.saturating_add(len);
    if flags & SS_DISABLE == 0 && !(start..end).contains(&rsp) {
        found.push((start, end));
    }
    let aligned = |(start, end): (u64, u64)| {
        let start = start.next_multiple_of(ALIGNED as u64);
        (start, end.min(start.saturating_add(DEEPEST)))
    };
    found
        .into_iter()
        .map(aligned)
        .filter(|(start, end)| start < end)
        .collect()
}

/// What has to change in a piece of a stack, which begins aligned.
fn changes(stack: &[u8], keep: u64, careful: bool) -> io::Result<Vec<Change>> {
    let mut found = Vec::new();
    for at in (0..stack.len().saturating_sub(LEAST)).step_by(ALIGNED) {
        let Some(frame) = Frame::at(&stack[at..]) else {
            continue;
        };
        let lost = frame.in_use & !(keep | KERNELS);
        if careful && lost != 0 {
            return Err(io::Error::other(format!(
                "a handler has interrupted it with register state {} in use, which it was not to see",
                lost.trailing_zeros()
            )));
        }
        if frame.features & !keep != 0 {
            found.extend(frame.cut(keep).map(|(offset, with)| (at + offset, with)));
        }
    }
    Ok(found)
}

/// The saved state of one frame.
struct Frame {
    features: u64,
    size: usize,
    in_use: u64,
}

impl Frame {
    /// One that begins here, if all that the kernel says of it is right.
    fn at(bytes: &[u8]) -> Option<Frame> {
        let half = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let (extended, features) = (half(WORDS + 4)?, word(WORDS + 8)?);
        let (size, in_use) = (half(WORDS + 16)?, word(IN_USE)?);
        let whole = half(WORDS)? == BEGINS && extended.checked_sub(size) == Some(4);
        let size = usize::try_from(size).ok().filter(|size| *size >= LEAST)?;
        let right = whole && half(size)? == ENDS && in_use & !features == 0;
        right.then_some(Frame {
            features,
            size,
            in_use,
        })
    }

    /// The same with no more than these components.
    fn cut(&self, keep: u64) -> impl Iterator<Item = Change> {
        let features = self.features & keep;
        let size = cpu::standard_size(features).min(self.size);
        let mut words = Vec::with_capacity(16);
        words.extend((size as u32 + 4).to_le_bytes());
        words.extend(features.to_le_bytes());
        words.extend((size as u32).to_le_bytes());
        let in_use = (self.in_use & keep).to_le_bytes().to_vec();
        let end = ENDS.to_le_bytes().to_vec();
        [(WORDS + 4, words), (IN_USE, in_use), (size, end)].into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = 0x2e7;

    /// A stack with a frame at 128 that has all components of a made-up processor, some in use.
    fn stack(in_use: u64) -> Vec<u8> {
        let size = 2696;
        let mut bytes = vec![0xaa; 4096];
        let state = &mut bytes[128..];
        let mut put = |at: usize, with: &[u8]| state[at..at + with.len()].copy_from_slice(with);
        put(WORDS, &BEGINS.to_le_bytes());
        put(WORDS + 4, &(size as u32 + 4).to_le_bytes());
        put(WORDS + 8, &ALL.to_le_bytes());
        put(WORDS + 16, &(size as u32).to_le_bytes());
        put(IN_USE, &in_use.to_le_bytes());
        put(size, &ENDS.to_le_bytes());
        bytes
    }

    fn changed(stack: &[u8], keep: u64) -> Vec<u8> {
        let mut bytes = stack.to_vec();
        for (at, with) in changes(stack, keep, true).unwrap() {
            bytes[at..at + with.len()].copy_from_slice(&with);
        }
        bytes
    }

    #[test]
    fn a_frame_is_cut_to_what_the_process_is_bound_to() {
        let before = stack(0x203);
        let after = changed(&before, 3);
        let frame = Frame::at(&after[128..]).unwrap();
        assert_eq!((frame.features, frame.size, frame.in_use), (3, LEAST, 3));
        // What is kept is where it was, and nothing beside the frame changes.
        assert_eq!(after[..128 + WORDS], before[..128 + WORDS]);
        assert_eq!(after[128 + 2700..], before[128 + 2700..]);
        // Cut once, it is left alone.
        assert_eq!(changed(&after, 3), after);
        assert_eq!(changed(&before, ALL), before);
    }

    #[test]
    fn what_is_in_use_is_not_lost_without_a_word() {
        let before = stack(0x247);
        let why = changes(&before, 7, true).unwrap_err().to_string();
        assert!(why.contains("register state 6"), "{why}");
        assert!(!changes(&before, 7, false).unwrap().is_empty());
    }

    #[test]
    fn what_only_looks_like_a_frame_is_left_alone() {
        let before = stack(7);
        for at in [WORDS, WORDS + 4, WORDS + 17, IN_USE + 3, 2696] {
            let mut spoilt = before.clone();
            spoilt[128 + at] ^= 0x55;
            assert_eq!(changed(&spoilt, 3), spoilt, "{at}");
        }
        let cut = &before[..128 + 2690];
        assert_eq!(changed(cut, 3), cut);
        assert_eq!(changed(&[], 3), []);
    }
}
