//! The program of the demonstration: it computes, and says what it found.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use mos::sys::tracked::clock_ns;

/// Its name; it is no command for people.
pub const NAME: &str = "mos-spin";

/// Rounds between two looks at the clock when measuring.
const CHUNK: u64 = 1 << 16;
/// The kernel's number of the clock.
const THREAD_CPU: i32 = 3;

/// Computes as many rounds as the argument says and prints the result.
pub fn run(args: &[OsString]) -> i32 {
    let Some(rounds) = args
        .get(1)
        .and_then(|word| word.to_str())
        .and_then(|word| word.parse().ok())
    else {
        eprintln!("{NAME}: how many rounds?");
        return 2;
    };
    println!("{:016x}", compute(rounds, 1));
    0
}

/// A sequence whose end cannot be found but by going through it.
fn compute(rounds: u64, seed: u64) -> u64 {
    (0..rounds).fold(seed, |state, round| {
        let mixed = (state ^ (state >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed.rotate_left(17) ^ round
    })
}

/// How many rounds this machine does in a second of processor time.
pub fn rounds_per_second() -> u64 {
    let begin = Instant::now();
    // What other programs take of the CPU meanwhile does not count, where the kernel says what we had of it.
    let used = || clock_ns(THREAD_CPU).map_or(begin.elapsed(), Duration::from_nanos);
    let before = used();
    let mut rounds = 0;
    let mut state = 1;
    while used() - before < Duration::from_millis(30) {
        state = std::hint::black_box(compute(CHUNK, state));
        rounds += CHUNK;
    }
    rounds * 1000 / ((used() - before).as_millis() as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_depends_on_every_round() {
        assert_eq!(compute(1000, 1), compute(1000, 1));
        assert_ne!(compute(1000, 1), compute(1001, 1));
        assert!(rounds_per_second() > 100_000);
    }
}
