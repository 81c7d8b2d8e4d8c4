//! Every named fault point of a migration, failing and ending its process: the program runs on and its output and status are those
//! of an undisturbed run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

#[test]
fn exactly_one_copy_lives_on_whatever_fails() {
    let dir = scratch();
    let expected = run(&dir.join("undisturbed"), None);
    assert!(expected.ends_with("status 7\n"), "{expected}");
    for point in mos::migrate::fault::POINTS {
        for action in ["", ":die"] {
            let fault = format!("{point}{action}");
            assert_eq!(
                run(&dir.join(&fault), Some(&fault)),
                expected,
                "with {fault}"
            );
        }
    }
    fs::remove_dir_all(&dir).unwrap();
}
