//! Small programs, each with one area of the kernel's interface: what they print and how they end is the same natively, under
//! mosrun at home, and while they are moved about all the time.

#[path = "support/guests.rs"]
mod guests;

use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use guests::Guest;

const LIMIT: Duration = Duration::from_secs(60);

fn natively(guest: &Guest) -> Output {
    let mut command = Command::new(&guest.program);
    command.arg("0.2");
    guests::run(command, LIMIT)
}

fn text(output: &Output) -> String {
    format!(
        "{}\n--- output\n{}--- errors\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// One test at a time: guests measure time, and two at once are as many as a small machine can take.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn every_guest_is_right_natively() {
    let _turn = turn();
    let mut wrong = Vec::new();
    for guest in guests::all() {
        let output = natively(guest);
        let last = String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_string();
        let good = output.status.success() && last.lines().last().unwrap_or("").starts_with("ok ");
        if !good || !output.stderr.is_empty() {
            wrong.push(format!("{}: {}", guest.name, text(&output)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Guests that find a fault under shake that is not put right yet, and which. They are run and reported all the same; an entry
/// goes with its fault, and this list is to be empty.
const KNOWN: &[(&str, &str)] = &[];

/// How often processes are moved, in milliseconds; MOS_SHAKE sets others.
fn shakes() -> Vec<String> {
    let chosen = std::env::var("MOS_SHAKE").unwrap_or_else(|_| "50".into());
    chosen
        .split([' ', ','])
        .filter(|ms| !ms.is_empty())
        .map(str::to_string)
        .collect()
}

/// Runs the guest under mosrun in a playground of its own; shaken if `ms` says how often.
fn moved(guest: &Guest, ms: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mos"));
    command.args(["playground", "-n", "3"]);
    if let Some(ms) = ms {
        command.args(["--shake", ms]);
    }
    command.args(["--", "mosrun"]);
    command.arg(&guest.program).arg("0.6");
    guests::run(command, LIMIT)
}

/// What differs from the native run, in words.
fn difference(native: &Output, other: &Output) -> Option<String> {
    let same = native.status == other.status
        && native.stdout == other.stdout
        && native.stderr == other.stderr;
    (!same).then(|| text(other))
}

/// Runs all guests in this way, two at a time, and collects what differs from the native run.
fn compare_all(ms: Option<&str>) {
    let _turn = turn();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(guest) = guests::all().get(at) else {
                        break;
                    };
                    let differs = difference(&natively(guest), &moved(guest, ms));
                    let known = KNOWN.iter().filter(|_| ms.is_some()).find(|(name, _)| {
                        guest
                            .name
                            .strip_prefix(name)
                            .is_some_and(|rest| rest.starts_with('-'))
                    });
                    match (differs, known) {
                        (Some(_), Some((_, what))) => println!("{}: known: {what}", guest.name),
                        (Some(how), None) => {
                            wrong.lock().unwrap().push(format!("{}: {how}", guest.name))
                        }
                        (None, Some(_)) => println!("{}: is right now", guest.name),
                        (None, None) => {}
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn guests_do_the_same_at_home_under_mosrun() {
    compare_all(None);
}

#[test]
fn guests_do_the_same_while_they_are_moved_about() {
    for ms in shakes() {
        compare_all(Some(&ms));
    }
}
