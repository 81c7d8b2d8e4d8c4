//! `mos bench`: every figure is taken and told in a form that programs can read. How fast anything is, is not tested.

#[path = "support/guests.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod guests;

use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use guests::Scratch;

const MOS: &str = env!("CARGO_BIN_EXE_mos");
const LIMIT: Duration = Duration::from_secs(450);

#[derive(Deserialize)]
struct Findings {
    figures: Vec<Figure>,
    failed: Vec<(String, String)>,
    skipped: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Figure {
    name: String,
    value: f64,
    low: f64,
    high: f64,
    ours: f64,
    theirs: Option<f64>,
    against: String,
    curve: Vec<f64>,
}

const NAMES: [&str; 23] = [
    "getppid",
    "read",
    "write",
    "open",
    "away-getppid",
    "away-read",
    "away-write",
    "migrate",
    "return",
    "link",
    "freeze",
    "freeze-1g",
    "freeze-8g",
    "storm",
    "return-bytes",
    "threads",
    "small",
    "small-return",
    "start",
    "makespan",
    "memory",
    "idle",
    "binary",
];

#[test]
fn every_figure_is_taken_and_can_be_read() {
    let temp = Scratch::new("bench");
    let mut command = Command::new(MOS);
    command
        .args(["bench", "--quick", "--ron"])
        .env("TMPDIR", temp.path());
    let out = guests::run(command, LIMIT);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{errors}");
    let text = String::from_utf8(out.stdout).unwrap();
    let found: Findings = ron::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(found.failed, []);
    let mut names: Vec<&str> = found
        .figures
        .iter()
        .map(|figure| figure.name.as_str())
        .collect();
    names.dedup();
    // Not every machine has the namespaces for one of them.
    let skipped = |name: &str| found.skipped.iter().any(|(other, _)| other == name);
    assert!(
        found.skipped.iter().all(|(name, _)| name == "link"),
        "{:?}",
        found.skipped
    );
    let taken: Vec<&str> = NAMES.into_iter().filter(|name| !skipped(name)).collect();
    assert_eq!(names, taken);
    for figure in &found.figures {
        let name = &figure.name;
        assert_eq!(figure.curve.len() > 3, name == "storm", "{name}");
        assert!(
            figure.low <= figure.value && figure.value <= figure.high,
            "{name}"
        );
        assert!(figure.ours >= 0.0 && figure.ours.is_finite(), "{name}");
        assert_eq!(
            figure.theirs.is_some(),
            !figure.against.is_empty(),
            "{name}"
        );
    }
    assert!(
        std::fs::read_dir(temp.path()).unwrap().next().is_none(),
        "it left files"
    );
}

#[test]
fn only_what_is_named_is_measured_and_shown() {
    let temp = Scratch::new("bench-names");
    let bench = |args: &[&str]| {
        let mut command = Command::new(MOS);
        command.arg("bench").args(args).env("TMPDIR", temp.path());
        guests::run(command, LIMIT)
    };
    let out = bench(&["--quick", "binary", "memory"]);
    let text = String::from_utf8_lossy(&out.stdout).to_string();
    let names: Vec<&str> = text
        .lines()
        .skip(2)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names, ["memory", "binary"], "{text}");
    let out = bench(&["no-such-figure"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("no-such-figure"));
}
