//! The embedded cluster: exit status, nothing left behind, several at once, ended from outside, for any user.

#[path = "support/guests.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod guests;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use guests::{Scratch, signal};

const MOS: &str = env!("CARGO_BIN_EXE_mos");
const LIMIT: Duration = Duration::from_secs(60);

/// A playground whose temporary directory is ours, so that what it leaves can be seen.
fn playground(temp: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(MOS);
    command.arg("playground").args(args).env("TMPDIR", temp);
    command
}

/// Processes that have this text in their environment: all that a playground with this temporary directory has started.
fn processes_of(temp: &Path) -> Vec<PathBuf> {
    let mark = format!("TMPDIR={}", temp.display());
    let dirs = std::fs::read_dir("/proc").unwrap();
    dirs.flatten()
        .map(|entry| entry.path())
        .filter(|dir| {
            let environment = std::fs::read(dir.join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        })
        .collect()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "waited too long for: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// No process of it and no file is there any more.
fn nothing_left(temp: &Path) {
    wait_until("all processes to be gone", || processes_of(temp).is_empty());
    wait_until("all files to be gone", || {
        std::fs::read_dir(temp).unwrap().next().is_none()
    });
}

#[test]
fn exit_status_is_that_of_the_command() {
    let temp = Scratch::new("status");
    for (script, expected) in [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 128 + 15)] {
        let out = guests::run(
            playground(temp.path(), &["-n", "2", "--", "sh", "-c", script]),
            LIMIT,
        );
        assert_eq!(out.status.code(), Some(expected), "{script}");
        nothing_left(temp.path());
    }
    let out = guests::run(
        playground(temp.path(), &["--", "no-such-command-here"]),
        LIMIT,
    );
    assert_eq!(out.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&out.stderr).contains("no-such-command-here"));
    nothing_left(temp.path());
}

#[test]
fn the_command_gets_input_and_gives_output() {
    let out = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "printf 'one\\ntwo\\n' | {MOS} playground -n 1 -- mosrun sort -r"
        ))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "two\none\n");
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
}

/// Starts one whose command tells that it runs, and goes on until it is ended.
fn start(temp: &Path, script: &str) -> (Child, String) {
    let script = format!("{script}; while :; do sleep 0.1; done");
    let mut child = playground(temp, &["-n", "2", "--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (child, line)
}

#[test]
fn two_at_once_have_clusters_of_their_own() {
    let temps = [Scratch::new("one"), Scratch::new("two")];
    let who = "mosrun sleep 1000 & mosctl whois";
    let mut running = temps.each_ref().map(|temp| start(temp.path(), who));
    assert_ne!(running[0].1, running[1].1, "both have the same addresses");
    for ((child, _), temp) in running.iter_mut().zip(&temps) {
        signal(&child.id().to_string(), "TERM");
        child.wait().unwrap();
        nothing_left(temp.path());
    }
}

#[test]
fn whatever_ends_it_nothing_is_left() {
    for name in ["INT", "TERM", "HUP", "KILL"] {
        let temp = Scratch::new("ended");
        let (mut child, _) = start(
            temp.path(),
            "mosrun -2 sleep 1000 & setsid sleep 1000 & echo ready",
        );
        // Keys of the terminal go to the whole group, and are the command's to answer.
        let group = if name == "INT" { "-" } else { "" };
        signal(&format!("{group}{}", child.id()), name);
        let mut status = None;
        wait_until(&format!("the end by {name}"), || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert!(!status.unwrap().success(), "ended by {name}");
        nothing_left(temp.path());
    }
}

#[test]
fn kept_files_are_named_and_are_there() {
    let temp = Scratch::new("kept");
    let dir = temp.path().join("files");
    let words = ["--keep", "--dir", dir.to_str().unwrap(), "--", "true"];
    let out = guests::run(playground(temp.path(), &words), LIMIT);
    assert!(out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains(dir.to_str().unwrap()));
    assert!(dir.join("node-1/etc/mosix/mosix.map").exists());
    wait_until("all processes to be gone", || {
        processes_of(temp.path()).is_empty()
    });
}

#[test]
fn commands_run_at_the_other_nodes() {
    let temp = Scratch::new("at");
    let script = "for k in 1 2 3; do mos at $k mosctl whois; done; mos at 4 true; echo $?";
    let out = guests::run(playground(temp.path(), &["--", "sh", "-c", script]), LIMIT);
    let text = String::from_utf8_lossy(&out.stdout).to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    for (line, number) in lines.iter().zip(1..=3) {
        assert!(line.starts_with(&format!("node {number} = 127.")), "{text}");
    }
    assert_eq!(lines[3], "1");
}

#[test]
fn a_process_goes_by_order_and_comes_home() {
    let temp = Scratch::new("order");
    let script = "mosrun sh -c 'while :; do :; done' & p=$!
        until mosps | grep -q \"$p \"; do sleep 0.01; done
        mosmigrate --wait $p 2 && mosps -n | grep -q \" 2 .* 1 \" && mos at 2 mosps -V | grep -q \"$p\" &&
        mosmigrate --wait $p 3 && mosmigrate --wait $p home && mosps | grep -q \"$p .* here\"
        echo moved $?; kill $p; wait $p; echo ended $?";
    let out = guests::run(
        playground(temp.path(), &["--no-balance", "--", "sh", "-c", script]),
        LIMIT,
    );
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(
        text.contains("moved 0\n") && text.contains("ended 143\n"),
        "{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    nothing_left(temp.path());
}

#[test]
fn an_order_may_come_before_its_process_is_known() {
    let temp = Scratch::new("early");
    let script = "for i in 1 2 3 4 5; do mosrun sleep 1 & mosmigrate --wait $! 2 || exit 9; \
         kill $!; wait $!; done 2>/dev/null; exit 0";
    let args = ["-n", "2", "--no-balance", "--", "sh", "-c", script];
    let output = guests::run(playground(temp.path(), &args), LIMIT);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.matches("has moved").count(), 5, "{said}");
}

#[test]
fn a_program_that_moves_itself_knows_where_it_is() {
    let temp = Scratch::new("whereami");
    let built = Scratch::new("whereami-program");
    let program = built.path().join("whereami");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guests/whereami.c");
    let made = Command::new("gcc")
        .args(["-O1", "-o"])
        .arg(&program)
        .arg(source)
        .status();
    assert!(made.unwrap().success());
    let program = program.to_str().unwrap();
    let args = ["--no-balance", "--", "mosrun", program, "20", "0", "0"];
    let output = guests::run(playground(temp.path(), &args), LIMIT);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.ends_with("ok\n"),
        "{output:?}"
    );
}

#[test]
fn an_ordinary_user_can_have_one() {
    use std::os::unix::fs::PermissionsExt;
    let temp = Scratch::new("user");
    // The build directory may be out of an ordinary user's reach.
    let copy = temp.path().join("mos");
    std::fs::copy(MOS, &copy).unwrap();
    let tmp = temp.path().join("tmp");
    std::fs::create_dir(&tmp).unwrap();
    std::fs::set_permissions(&tmp, std::fs::Permissions::from_mode(0o777)).unwrap();
    let nobody = [
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "--",
    ];
    let mut command = Command::new("setpriv");
    command.args(nobody).arg(&copy);
    command.args(["playground", "--shake", "50", "--", "mosrun", "sh", "-c"]);
    command.arg("id -u; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo $i");
    command.env("TMPDIR", &tmp).current_dir(&tmp);
    if !is_root() {
        return; // All the other tests have tried it already.
    }
    let out = guests::run(command, LIMIT);
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(
        text,
        "65534\n300000\n",
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    nothing_left(&tmp);
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.contains("\nUid:\t0\t")
}

/// Programs that compute, all started on node 1, and what mosps says of them until most are elsewhere.
const SPREAD: &str = "
for i in 1 2 3 4 5 6; do mosrun $START sh -c 'while :; do :; done' & done
n=0
while [ $(mosps -O | grep -c while) -lt 3 ]; do n=$((n + 1)); [ $n -lt 150 ] || exit 7; sleep 0.2; done
moskillall -KILL
wait
exit 0";

#[test]
fn programs_spread_by_themselves() {
    for start in ["-h", "-b"] {
        let scratch = Scratch::new("spread");
        let mut command = playground(scratch.path(), &["-n", "3", "--", "sh", "-c", SPREAD]);
        command.env("START", start);
        let output = guests::run(command, LIMIT);
        assert!(output.status.success(), "mosrun {start}: {output:?}");
        nothing_left(scratch.path());
    }
}

#[test]
fn without_balancing_programs_stay() {
    let scratch = Scratch::new("stay");
    // Some weighings long. No node has such a memory.
    let script = "
for i in 1 2 3; do mosrun sh -c 'while :; do :; done' & done
sleep 3
mosps -O | grep -c while
mosbestnode -nm 1000000
moskillall -KILL
wait";
    let args = ["-n", "2", "--no-balance", "--", "sh", "-c", script];
    let output = guests::run(playground(scratch.path(), &args), LIMIT);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n0\n");
    nothing_left(scratch.path());
}

#[test]
fn the_best_node_is_an_idle_one_and_is_promised_once() {
    let scratch = Scratch::new("best");
    // Node 1 computes; a node that was told to one is not told to the next.
    let script = "
mosrun -L sh -c 'while :; do :; done' &
until [ \"$(mosbestnode -nu)\" != 1 ]; do sleep 0.1; done
a=$(mosbestnode -u)
b=$(mosbestnode -u)
[ $a != $b ] && [ $a != 1 ] && [ $b != 1 ] && echo differ
moskillall -KILL
wait";
    let args = ["-n", "3", "--cpus", "0", "--", "sh", "-c", script];
    let output = guests::run(playground(scratch.path(), &args), LIMIT);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "differ\n");
    nothing_left(scratch.path());
}
