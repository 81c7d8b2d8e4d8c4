//! Every named fault point of a migration, failing and ending its process: the program runs on and its output and status are those
//! of an undisturbed run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Counts, and prints in between, so that a lost or doubled part would show. It is moved out, onward and home meanwhile; the
/// armed point is met on the first of these moves that passes it.
const SCRIPT: &str = r#"
mosrun awk 'BEGIN { for (i = 0; i < 6; i++) { for (k = 0; k < 900000; k++) n += k % (i + 2); print i, n; fflush() } exit 7 }' >out 2>err &
p=$!
until [ -s out ]; do sleep 0.02; done
for to in 2 3 home; do mosmigrate --wait $p $to >>moves 2>&1; done
wait $p
echo "status $?" >>out
"#;

fn run(dir: &Path, fault: Option<&str>) -> String {
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
    let output = command.output().unwrap();
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    assert!(output.status.success(), "{fault:?}: {output:?}");
    assert_eq!(read("err"), "", "{fault:?}; moves: {}", read("moves"));
    read("out")
}

fn scratch() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("mos-faults-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// Every point on the first of the moves that passes it, then every one that a later move passes: on the way on to node 3, and
/// home. (A host that dies before it has sent its guest away takes it along; so senders other than home's only fail.)
fn faults() -> Vec<String> {
    let points = mos::migrate::fault::POINTS;
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
    faults
}

#[test]
fn exactly_one_copy_lives_on_whatever_fails() {
    let dir = scratch();
    let expected = run(&dir.join("undisturbed"), None);
    assert!(expected.ends_with("status 7\n"), "{expected}");
    let faults = Mutex::new(faults());
    let next = || faults.lock().unwrap().pop();
    let work = || {
        while let Some(fault) = next() {
            let own = dir.join(fault.replace('/', "-"));
            assert_eq!(run(&own, Some(&fault)), expected, "with {fault}");
        }
    };
    std::thread::scope(|scope| {
        for worker in [scope.spawn(work), scope.spawn(work), scope.spawn(work)] {
            worker.join().unwrap();
        }
    });
    fs::remove_dir_all(&dir).unwrap();
}
