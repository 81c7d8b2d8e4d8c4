//! Small programs, each with one area of the kernel's interface: what they print and how they end is the same natively, under
//! mosrun at home, and while they are moved about all the time.

#[path = "support/guests.rs"]
mod guests;

use std::process::{Command, Output};
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

#[test]
fn every_guest_is_right_natively() {
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
