//! Two machines in namespaces: a cut cable, full disks, no memory, a refusing target; and a guest that attacks the machine it is on.
//!
//! Needs namespaces of network, mounts and processes: root, or a kernel that gives them to ordinary users.

#[path = "support/guests.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod guests;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use guests::Scratch;

const MOS: &str = env!("CARGO_BIN_EXE_mos");

fn source(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

/// What the scenario prints on machine 1; it must print nothing to standard error.
fn run(scenario: &str, program: &str, limit: u64) -> String {
    let scratch = Scratch::new(scenario);
    let dir = scratch.path();
    let built = Command::new("gcc")
        .args(["-O1", "-w", "-static", "-o"])
        .arg(dir.join(program))
        .arg(source(&format!("guests/{program}.c")))
        .status()
        .unwrap();
    assert!(built.success());
    std::fs::create_dir(dir.join("bin")).unwrap();
    let installed = Command::new(MOS)
        .arg("--install")
        .arg(dir.join("bin"))
        .output()
        .unwrap();
    assert!(installed.status.success(), "{installed:?}");
    let mut command = Command::new("unshare");
    if mos::sys::unix::euid() != 0 {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    command
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
        ])
        .arg(source("beds/two_machines.sh"))
        .arg(dir)
        .arg(source(&format!("beds/{scenario}.sh")))
        .env_remove("MOS_PLAYGROUND");
    let Output {
        status,
        stdout,
        stderr,
    } = guests::run(command, Duration::from_secs(limit));
    let (out, err) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(
        status.success(),
        "{scenario}: {status} (are namespaces allowed here?)\n{out}\n{err}"
    );
    out.to_string()
}

fn lines_without_moves(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.contains(" has moved: ") && !line.is_empty())
        .collect()
}

#[test]
fn a_cut_cable_ends_what_is_away_and_keeps_what_is_on_its_way() {
    let text = run("cut", "counter", 300);
    assert_eq!(
        lines_without_moves(&text),
        [
            "big runs on",
            "away 137: ",
            "mosrun: Lost communication with 10.87.0.2",
            "idle 137: ",
            "mosrun: Lost communication with 10.87.0.2",
            "big 7: ",
        ]
    );
}

#[test]
fn what_is_scarce_stops_no_program() {
    let text = run("scarce", "counter", 300);
    assert_eq!(
        lines_without_moves(&text),
        [
            "dd 1: No space left on device",
            "dd wrote what there was room for",
            "refused",
            "big 7: ",
            "other 7: ",
        ]
    );
}

/// Canaries on machine 2, none of which may be reached; what mos-host is and needs there. An attack on what mos has in the attacker itself
/// costs that one process its life, and nobody else anything.
#[test]
fn a_hostile_guest_reaches_nothing() {
    let text = run("hostile", "hostile", 300);
    assert_eq!(
        lines_without_moves(&text),
        [
            "contained",
            "files: 0",
            "sockets: 0",
            "processes: 0",
            "other ABIs: 0",
            "kernel: 0",
            "segments: 0",
            "exhaustion: 0",
            "the host's code: 0",
            "jumps: 0",
            "trapped: -9",
            "its stub written to: 0",
            "its stub unmapped: 0",
            "its stub says that it is away: 0",
            "its stub entered: -9",
            "nonsense: 0",
            "done",
            "status 0",
            "mosrun: Lost communication with 10.87.0.2",
            "canaries alive",
            "nobody left"
        ]
    );
}
