//! How well the cluster spreads programs by itself: 24 that compute, started on one of four nodes of unlike speeds, against the
//! same programs put by hand, natively, where they are done first.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::figures::anywhere;
use super::lab::{Lab, progress};
use super::report::{About, Figure, Placement};
use super::stats::Pairs;
use crate::common::fail;
use crate::playground::{self, spin};

/// Its names outside and inside of a playground of its own; they are no commands for people.
pub const OUTSIDE: &str = "mos-bench-makespan";
pub const NAME: &str = "mos-bench-makespan-inside";

/// Percent of a CPU that each node has.
const SPEEDS: [u32; 4] = [50, 40, 30, 20];
const PROGRAMS: u64 = 24;
/// Seconds that the shortest and the longest would take on a whole CPU.
const LENGTHS: [f64; 2] = [2.0, 10.0];
const QUICK_LENGTHS: [f64; 2] = [0.05, 0.2];

/// Takes the figure, in a playground of four nodes.
pub fn measure(lab: &mut Lab, about: About) -> io::Result<Vec<Figure>> {
    lab.place(Placement::Any)?;
    let lengths = if lab.quick() { QUICK_LENGTHS } else { LENGTHS };
    let rounds = lengths.map(|length| (spin::rounds_per_second() as f64 * length) as u64);
    let mut pairs = Pairs::default();
    progress(1);
    let ours = in_playground("spread", rounds)?;
    progress(2);
    pairs.add(ours, in_playground("place", rounds)?);
    let pairs = pairs.scaled(1e-9);
    Ok(anywhere(about, &pairs))
}

/// Nanoseconds from the first start to the last end.
fn in_playground(way: &str, rounds: [u64; 2]) -> io::Result<f64> {
    let out = Command::new("/proc/self/exe")
        .arg0(OUTSIDE)
        .arg(way)
        .args(rounds.map(|rounds| rounds.to_string()))
        .output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    text.trim().parse().map_err(|_| {
        let errors = String::from_utf8_lossy(&out.stderr);
        io::Error::other(
            errors
                .lines()
                .last()
                .unwrap_or("it says nothing")
                .to_owned(),
        )
    })
}

/// Outside: starts the playground.
pub fn run_outside(args: &[OsString]) -> i32 {
    playground::run_own(NAME, SPEEDS.len() as u32, &SPEEDS, &args[1..])
}

/// Inside: starts the programs, and prints how long it took until all had ended.
pub fn run(args: &[OsString]) -> i32 {
    let number = |at: usize| args.get(at)?.to_str()?.parse::<u64>().ok();
    let (Some(least), Some(most)) = (number(2), number(3)) else {
        return fail(NAME, "how long are the programs?");
    };
    match run_all(args[1] == "spread", [least, most]) {
        Ok(nanoseconds) => {
            println!("{nanoseconds}");
            0
        }
        Err(error) => fail(NAME, error),
    }
}

fn run_all(spread: bool, [least, most]: [u64; 2]) -> io::Result<u128> {
    let dir = std::env::var_os("MOS_PLAYGROUND")
        .ok_or_else(|| io::Error::other("there is no playground"))?;
    let program = PathBuf::from(dir).join("bin").join(spin::NAME);
    std::os::unix::fs::symlink(std::env::current_exe()?, &program)?;
    // The longest first, as one would by hand.
    let lengths = (0..PROGRAMS)
        .rev()
        .map(|at| least + (most - least) * at / (PROGRAMS - 1));
    let mut loads = [0.0; SPEEDS.len()];
    let begin = Instant::now();
    let mut programs = Vec::new();
    for length in lengths {
        let mut command = Command::new("mos");
        if spread {
            command.arg("run");
        } else {
            let node = best(&mut loads, length as f64);
            command.args(["at", &node.to_string()]);
        }
        command.arg(&program).arg(length.to_string());
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        programs.push(command.spawn()?);
    }
    for program in programs {
        ended_well(program)?;
    }
    Ok(begin.elapsed().as_nanos())
}

/// The node (from 1) where a program of that length is done first, with what it has already.
fn best(loads: &mut [f64; SPEEDS.len()], length: f64) -> usize {
    let done = |at: usize| (loads[at] + length) / f64::from(SPEEDS[at]);
    let at = (0..SPEEDS.len())
        .min_by(|a, b| done(*a).total_cmp(&done(*b)))
        .unwrap_or(0);
    loads[at] += length;
    at + 1
}

fn ended_well(program: Child) -> io::Result<()> {
    let out = program.wait_with_output()?;
    if out.status.success() && !out.stdout.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "a program was lost: {}",
            out.status
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hand_uses_all_nodes_by_their_speeds() {
        let mut loads = [0.0; SPEEDS.len()];
        let places: Vec<usize> = (0..14).map(|_| best(&mut loads, 1.0)).collect();
        assert_eq!(loads, [5.0, 4.0, 3.0, 2.0], "{places:?}");
    }
}
