//! Every named fault point of a migration, failing and ending its process: the program runs on and its output and status are those
//! of an undisturbed run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Counts, and prints in between, so that a lost or doubled part would show. It is moved out, onward and home meanwhile; the
/// armed point is met on the first of these moves that passes it.
const SCRIPT: &str = r#"
mosrun awk 'BEGIN { s = "x"; while (length(s) < '$SIZE') s = s s; for (i = 0; i < 6; i++) { for (k = 0; k < 900000; k++) n += k % (i + 2); print i, n + length(s) - length(s); fflush() } exit 7 }' >out 2>err &
p=$!
until [ -s out ]; do sleep 0.02; done
for to in 2 3 home; do mosmigrate --wait $p $to >>moves 2>&1; done
wait $p
echo "status $?" >>out
"#;

/// Points that only a process which is moved while it runs passes, and others that it passes in another state than one that is not.
const LIVE: [&str; 9] = [
    "source.watch",
    "source.round",
    "source.stop",
    "source.meta",
    "source.pages",
    "target.build",
    "target.round",
    "target.meta",
    "target.pages",
];

fn run(dir: &Path, fault: Option<&str>, live: bool) -> String {
    fs::create_dir_all(dir).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mos"));
    command.args([
        "playground",
        "-n",
        "3",
        "--no-balance",
        "--",
        "sh",
        "-c",
        SCRIPT,
    ]);
    command.current_dir(dir).stdin(Stdio::null());
    if let Some(fault) = fault {
        command.env("MOS_FAULT", fault);
    }
    // Large enough to be moved while it runs, or not.
    command.env("SIZE", if live { "16000000" } else { "1" });
    let output = command.output().unwrap();
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    assert!(output.status.success(), "{fault:?}: {output:?}");
    assert_eq!(read("err"), "", "{fault:?}; moves: {}", read("moves"));
    if fault.is_some_and(|fault| LIVE.contains(&fault)) && live {
        assert!(
            read("moves").contains("fault injected"),
            "{fault:?} was not met"
        );
    }
    read("out")
}

fn scratch() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("mos-faults-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Every point on the first of the moves that passes it, then every one that a later move passes: on the way on to node 3, and
/// home. (A host that dies before it has sent its guest away takes it along; so senders other than home's only fail.)
fn faults() -> Vec<(String, bool)> {
    let early = ["source.watch", "source.round", "target.round"];
    let points = mos::migrate::fault::POINTS.iter();
    let points: Vec<&str> = points
        .filter(|point| !early.contains(*point))
        .copied()
        .collect();
    let mut faults: Vec<String> = points
        .iter()
        .flat_map(|point| [point.to_string(), format!("{point}:die")])
        .collect();
    let (sources, targets): (Vec<&str>, Vec<&str>) = points
        .iter()
        .partition(|point| point.starts_with("source."));
    faults.extend(sources.iter().map(|point| format!("mos-host/{point}")));
    for who in ["node-3", "mos-mover"] {
        let points = targets.iter().filter(|point| {
            // A mover that brings a process home has other work than a host.
            let hosts = [
                "target.build",
                "target.ctl",
                "target.start",
                "target.running",
            ];
            who != "mos-mover" || !hosts.contains(*point)
        });
        faults.extend(
            points.flat_map(|point| [format!("{who}/{point}"), format!("{who}/{point}:die")]),
        );
    }
    // There the new host has taken over for good, and the memory dies with it.
    faults.retain(|fault| fault != "node-3/target.running:die");
    let live = LIVE
        .iter()
        .flat_map(|point| [point.to_string(), format!("{point}:die")]);
    let later = [
        "mos-host/source.round",
        "node-3/target.round",
        "node-3/target.round:die",
        "mos-mover/target.round",
        "mos-mover/target.round:die",
    ];
    let live = live.chain(later.map(String::from));
    let live: Vec<(String, bool)> = live.map(|fault| (fault, true)).collect();
    let all = faults.into_iter().map(|fault| (fault, false));
    all.chain(live).collect()
}

#[test]
fn exactly_one_copy_lives_on_whatever_fails() {
    let dir = scratch();
    let expected = run(&dir.join("undisturbed"), None, false);
    assert!(expected.ends_with("status 7\n"), "{expected}");
    let faults = Mutex::new(faults());
    let next = || faults.lock().unwrap().pop();
    let work = || {
        while let Some((fault, live)) = next() {
            let own = dir.join(format!("{}-{live}", fault.replace('/', "-")));
            let got = run(&own, Some(&fault), live);
            assert_eq!(got, expected, "with {fault}, {live}");
        }
    };
    std::thread::scope(|scope| {
        for worker in [scope.spawn(work), scope.spawn(work), scope.spawn(work)] {
            worker.join().unwrap();
        }
    });
    fs::remove_dir_all(&dir).unwrap();
}
