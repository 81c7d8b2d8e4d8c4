//! Calls that tell CPU time: whose, and where their answer has it, so that time used at other nodes can be added.

use super::classify::cpu_clock;
use super::memory::{Fault, GuestMemory, bytes, word64};
use super::nr;

/// Whose CPU time a call tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The caller's.
    Own,
    /// That of the caller's children that have been waited for.
    Children,
    /// Both.
    Family,
    /// That of the child that is waited for, with its children's.
    Waited,
    /// Another process's.
    Of(i32),
}

/// CPU time used elsewhere, in nanoseconds, by those whom the call is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    pub own: u64,
    pub children: u64,
}

const MICROSECOND: u64 = 1_000;
const SECOND: u64 = 1_000_000_000;
/// The unit of `times`: 100 a second on every x86-64.
const TICK: u64 = 10_000_000;
/// Offset of `tms_cutime`.
const CHILDREN_TICKS: u64 = 16;
const RUSAGE_SELF: i32 = 0;
const RUSAGE_THREAD: i32 = 1;
const RUSAGE_CHILDREN: i32 = -1;

/// Whose time call `nr` of process `pid` tells; `None` when it tells none.
pub fn whose(nr: u64, args: &[u64; 6], pid: i32) -> Option<Whose> {
    match nr {
        nr::GETRUSAGE => match args[0] as i32 {
            RUSAGE_SELF | RUSAGE_THREAD => Some(Whose::Own),
            RUSAGE_CHILDREN => Some(Whose::Children),
            _ => None,
        },
        nr::TIMES => (args[0] != 0).then_some(Whose::Family),
        nr::WAIT4 => (args[3] != 0).then_some(Whose::Waited),
        nr::WAITID => (args[4] != 0).then_some(Whose::Waited),
        nr::CLOCK_GETTIME => cpu_clock(args[0]).map(|of| {
            if of == 0 || of == pid {
                Whose::Own
            } else {
                Whose::Of(of)
            }
        }),
        _ => None,
    }
}

/// Whether a call is about the calling thread only.
pub fn of_this_thread(nr: u64, args: &[u64; 6]) -> bool {
    const CLOCK_THREAD: i32 = 3;
    match nr {
        nr::GETRUSAGE => args[0] as i32 == RUSAGE_THREAD,
        nr::CLOCK_GETTIME => args[0] as i32 == CLOCK_THREAD,
        _ => false,
    }
}

/// The child that a wait has reported; `None` when it has reported none, or the program did not want to know.
pub fn waited_child(nr: u64, args: &[u64; 6], result: i64, mem: &dyn GuestMemory) -> Option<i32> {
    const SI_PID: u64 = 16;
    let child = match nr {
        nr::WAIT4 => result as i32,
        nr::WAITID if result == 0 && args[2] != 0 => {
            let raw = bytes(mem, args[2].wrapping_add(SI_PID), 4).ok()?;
            i32::from_le_bytes(raw.try_into().ok()?)
        }
        _ => 0,
    };
    (child > 0).then_some(child)
}

/// Adds to the answer of call `nr`, which succeeded, what was used elsewhere: as user time.
///
/// # Errors
///
/// `Fault` when the answer is not there any more.
pub fn add(
    nr: u64,
    args: &[u64; 6],
    elsewhere: Elsewhere,
    mem: &dyn GuestMemory,
) -> Result<(), Fault> {
    let Elsewhere { own, children } = elsewhere;
    match nr {
        nr::TIMES => {
            add_ticks(args[0], own, mem)?;
            add_ticks(args[0].wrapping_add(CHILDREN_TICKS), children, mem)
        }
        nr::GETRUSAGE if args[0] as i32 == RUSAGE_CHILDREN => {
            add_time(args[1], MICROSECOND, children, mem)
        }
        nr::GETRUSAGE => add_time(args[1], MICROSECOND, own, mem),
        nr::CLOCK_GETTIME => add_time(args[1], 1, own, mem),
        nr::WAIT4 => add_time(args[3], MICROSECOND, own.saturating_add(children), mem),
        nr::WAITID => add_time(args[4], MICROSECOND, own.saturating_add(children), mem),
        _ => Ok(()),
    }
}

fn add_ticks(addr: u64, ns: u64, mem: &dyn GuestMemory) -> Result<(), Fault> {
    let ticks = word64(&bytes(mem, addr, 8)?, 0);
    mem.write(addr, &ticks.wrapping_add(ns / TICK).to_le_bytes())
}

/// A `timeval` (`unit` a microsecond) or `timespec` (a nanosecond).
fn add_time(addr: u64, unit: u64, ns: u64, mem: &dyn GuestMemory) -> Result<(), Fault> {
    let old = bytes(mem, addr, 16)?;
    let fraction = word64(&old, 8).wrapping_add(ns % SECOND / unit);
    let whole = SECOND / unit;
    let seconds = word64(&old, 0)
        .wrapping_add(ns / SECOND)
        .wrapping_add(fraction / whole);
    mem.write(
        addr,
        &[seconds.to_le_bytes(), (fraction % whole).to_le_bytes()].concat(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    struct Plain(RefCell<Vec<u8>>);

    impl GuestMemory for Plain {
        fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), Fault> {
            let all = self.0.borrow();
            let part = all
                .get(addr as usize..addr as usize + buf.len())
                .ok_or(Fault)?;
            buf.copy_from_slice(part);
            Ok(())
        }

        fn write(&self, addr: u64, data: &[u8]) -> Result<(), Fault> {
            let mut all = self.0.borrow_mut();
            all.get_mut(addr as usize..addr as usize + data.len())
                .ok_or(Fault)?
                .copy_from_slice(data);
            Ok(())
        }
    }

    fn memory(words: &[u64]) -> Plain {
        Plain(RefCell::new(
            words.iter().flat_map(|word| word.to_le_bytes()).collect(),
        ))
    }

    fn words(mem: &Plain) -> Vec<u64> {
        mem.0
            .borrow()
            .chunks_exact(8)
            .map(|word| word64(word, 0))
            .collect()
    }

    #[test]
    fn fractions_are_carried_over() {
        let elsewhere = Elsewhere {
            own: 1_600_000_000,
            children: 30_000_000,
        };
        let mem = memory(&[0, 0, 2, 500_000, 9]);
        add(nr::GETRUSAGE, &[0, 16, 0, 0, 0, 0], elsewhere, &mem).unwrap();
        assert_eq!(words(&mem), [0, 0, 4, 100_000, 9]);
        let mem = memory(&[0, 0, 2, 500_000_000]);
        add(nr::CLOCK_GETTIME, &[2, 16, 0, 0, 0, 0], elsewhere, &mem).unwrap();
        assert_eq!(words(&mem), [0, 0, 4, 100_000_000]);
        let mem = memory(&[7, 1, 2, 3]);
        add(nr::TIMES, &[0; 6], elsewhere, &mem).unwrap();
        assert_eq!(words(&mem), [167, 1, 5, 3]);
        assert!(add(nr::TIMES, &[1 << 20, 0, 0, 0, 0, 0], elsewhere, &mem).is_err());
    }

    #[test]
    fn calls_say_whose_time_they_tell() {
        let clock = |id: i32| whose(nr::CLOCK_GETTIME, &[id as u64, 0, 0, 0, 0, 0], 77);
        assert_eq!(clock(1), None);
        assert_eq!(clock(2), Some(Whose::Own));
        assert_eq!(clock((!77 << 3) | 2), Some(Whose::Own));
        assert_eq!(clock((!78 << 3) | 2), Some(Whose::Of(78)));
        assert_eq!(whose(nr::WAIT4, &[0; 6], 77), None);
        assert_eq!(
            whose(nr::WAITID, &[0, 0, 0, 0, 8, 0], 77),
            Some(Whose::Waited)
        );
        assert_eq!(
            whose(nr::GETRUSAGE, &[u64::MAX, 8, 0, 0, 0, 0], 77),
            Some(Whose::Children)
        );
    }

    #[test]
    fn the_child_is_found() {
        let mem = memory(&[17, 0, 0x1234_0000_0042, 0]);
        assert_eq!(waited_child(nr::WAITID, &[0, 0, 0, 0, 8, 0], 0, &mem), None);
        let mem = memory(&[0, 17, 0, 0x1234_0000_0042, 0]);
        assert_eq!(
            waited_child(nr::WAITID, &[0, 0, 8, 0, 8, 0], 0, &mem),
            Some(0x42)
        );
        assert_eq!(waited_child(nr::WAIT4, &[0; 6], 99, &mem), Some(99));
        assert_eq!(waited_child(nr::WAIT4, &[0; 6], 0, &mem), None);
    }
}
