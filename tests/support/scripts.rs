//! Tests that are scripts in a playground of their own.

#[path = "guests.rs"]
pub mod guests;

use std::process::Command;
use std::time::Duration;

const MOS: &str = env!("CARGO_BIN_EXE_mos");
const LIMIT: Duration = Duration::from_secs(120);

/// What all scripts use: `fail TEXT` says where it went wrong, `until_ok COMMAND` waits for a condition, `spin` starts a process
/// that computes, `at_node PID PLACE` says whether mosps shows it there, `address N` is a node's address.
const PRELUDE: &str = r#"
fail() { echo "FAILED: $*"; mosps; mosctl localstatus; exit 1; }
until_ok() { n=0; until "$@" >/dev/null 2>&1; do n=$((n+1)); [ $n -lt 300 ] || fail "waited for: $*"; sleep 0.05; done; }
spin() { mosrun sh -c 'while :; do :; done' & pid=$!; all="$all $pid"; until_ok known $pid; }
known() { mosps | grep -q "^ *$1 "; }
at_node() { mosps | grep -q "^ *$1 .* $2 *here "; }
move() { mosmigrate --wait $1 $2 >/dev/null || fail "moving $1 to $2"; }
address() { mos at $1 mosctl whois | sed 's/^node [0-9]* = \([0-9.]*\).*/\1/'; }
refused() { why=$(mosmigrate --wait $1 $2 2>&1) && fail "$1 went to $2"; case $why in *"$3"*) ;; *) fail "$why, not: $3";; esac; }
all_alive() { for p in $all; do kill -0 $p || fail "process $p is lost"; done; }
finish() { all_alive; [ -z "$all" ] || kill $all; echo passed; }
"#;

/// Runs a script in a playground; it must come to its end, with all processes that it started by `spin` alive.
pub fn playground(nodes: u32, script: &str) {
    run(&["-n", &nodes.to_string(), "--no-balance"], script);
}

/// The same where processes are moved by themselves; `options` are the playground's.
pub fn balanced(options: &[&str], script: &str) {
    run(options, script);
}

/// The same with three nodes, where all processes are moved every 10 ms.
pub fn shaken(script: &str) {
    run(&["-n", "3", "--shake", "10"], script);
}

fn run(options: &[&str], script: &str) {
    let mut command = Command::new(MOS);
    let text = format!("{PRELUDE}{script}\nfinish\n");
    command
        .arg("playground")
        .args(options)
        .args(["--", "bash", "-c", &text]);
    let out = guests::run(command, LIMIT);
    let text = String::from_utf8_lossy(&out.stdout);
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(text.ends_with("passed\n"), "{text}{errors}");
}
