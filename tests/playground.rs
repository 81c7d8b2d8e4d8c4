//! `mos playground` from outside: what it gives to the command, and that nothing stays behind.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use mos::sys::unix::{self, SIGINT, SIGKILL, SIGTERM};

fn playground(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mos"));
    command.arg("playground").args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    playground(args).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A playground that runs, its directory, and the pids of its mosds.
struct Running {
    child: Child,
    dir: PathBuf,
    mosds: Vec<i32>,
}

impl Running {
    /// Runs a script in which `$D` is told and that then lasts.
    fn start(args: &[&str]) -> Running {
        let script = "echo $MOS_PLAYGROUND; cat $MOS_PLAYGROUND/node-*/etc/mosix/var/mosd.pid; echo end; exec sleep 1000";
        let args: Vec<&str> = args
            .iter()
            .copied()
            .chain(["--", "sh", "-c", script])
            .collect();
        let mut child = playground(&args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let dir = PathBuf::from(lines.next().unwrap());
        let mosds = lines
            .take_while(|line| line != "end")
            .map(|line| line.trim().parse().unwrap())
            .collect();
        Running { child, dir, mosds }
    }

    fn alive(&self) -> bool {
        self.mosds.iter().any(|pid| unix::kill(*pid, 0).is_ok())
    }

    /// Waits until nothing is left.
    fn gone(mut self) -> i32 {
        let status = self.child.wait().unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while self.alive() || self.dir.exists() {
            assert!(
                Instant::now() < until,
                "something stayed behind: {:?} {}",
                self.mosds,
                self.dir.display()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap())
    }

    /// The process that runs the cluster, below the one that was started.
    fn inner(&self) -> i32 {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children.split_whitespace().next().unwrap().parse().unwrap()
    }
}

#[test]
fn the_command_has_a_cluster_and_its_status_is_ours() {
    let output = run(&[
        "-n",
        "4",
        "--",
        "sh",
        "-c",
        "mosctl localstatus; at 3 mosctl status; exit 7",
    ]);
    assert_eq!(output.status.code(), Some(7));
    assert!(
        text(&output).contains("4 of 4 nodes respond"),
        "{}",
        text(&output)
    );
    assert!(text(&output).contains("(node 3)"));
    assert_eq!(
        run(&["--", "sh", "-c", "kill -9 $$"]).status.code(),
        Some(137)
    );
    assert_eq!(run(&["--", "/no/such/program"]).status.code(), Some(127));
    assert_eq!(run(&["-n", "0", "--", "true"]).status.code(), Some(2));
}

#[test]
fn the_command_gets_the_signal_mask_that_we_got() {
    let mask = |text: &str| {
        text.lines()
            .find(|line| line.starts_with("SigBlk"))
            .map(str::to_string)
    };
    let ours = mask(&std::fs::read_to_string("/proc/thread-self/status").unwrap());
    let theirs = mask(&text(&run(&["--", "cat", "/proc/self/status"])));
    assert_eq!(ours, theirs);
}

#[test]
fn whoever_is_killed_nothing_stays() {
    let running = Running::start(&["--shake", "50"]);
    assert!(running.alive());
    unix::kill(running.child.id() as i32, SIGTERM).unwrap();
    assert_eq!(running.gone(), 128 + SIGTERM);

    let running = Running::start(&[]);
    unix::kill(running.child.id() as i32, SIGKILL).unwrap();
    assert_eq!(running.gone(), 128 + SIGKILL);

    let running = Running::start(&[]);
    unix::kill(running.inner(), SIGKILL).unwrap();
    assert_eq!(running.gone(), 128 + SIGKILL);
}

#[test]
fn keys_are_for_the_command() {
    let running = Running::start(&[]);
    unix::kill(running.child.id() as i32, SIGINT).unwrap();
    unix::kill(running.inner(), SIGINT).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(running.alive());
    unix::kill(running.inner(), SIGTERM).unwrap();
    running.gone();
}

#[test]
fn background_processes_of_the_command_end_with_it() {
    let output = run(&[
        "--",
        "sh",
        "-c",
        "setsid sleep 1000 >/dev/null 2>&1 & echo $!",
    ]);
    let pid: i32 = text(&output).trim().parse().unwrap();
    assert!(unix::kill(pid, 0).is_err());
}

#[test]
fn playgrounds_do_not_disturb_each_other() {
    let script = "sleep 0.3; mosctl localstatus | grep respond; cat $MOSIX_ROOT/etc/mosix/mosip";
    let many: Vec<Child> = (0..4)
        .map(|_| {
            playground(&["-n", "2", "--", "sh", "-c", script])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut addresses: Vec<String> = many
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success());
            assert!(
                text(&output).contains("2 of 2 nodes respond"),
                "{}",
                text(&output)
            );
            text(&output).lines().last().unwrap().to_string()
        })
        .collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 4);
}

#[test]
fn files_are_kept_only_when_asked() {
    let dir = std::env::temp_dir().join(format!("mos-test-keep-{:x}", unix::random_u64()));
    let name = dir.to_str().unwrap();
    assert!(run(&["--dir", name, "--", "true"]).status.success());
    assert!(!dir.exists());
    assert!(
        run(&["--dir", name, "--keep", "--", "true"])
            .status
            .success()
    );
    assert!(dir.join("node-3/etc/mosix/mosix.map").exists());
    let again = run(&["--dir", name, "--", "true"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_mosd_that_was_killed_is_started_again_by_hand() {
    let script = "kill -9 $(cat $MOS_PLAYGROUND/node-2/etc/mosix/var/mosd.pid); sleep 0.2; at 2 mosctl status || echo none; \
                  at 2 mosd && at 2 mosctl status";
    let output = run(&["--shake", "20", "--", "sh", "-c", script]);
    assert!(output.status.success());
    assert_eq!(text(&output).lines().next(), Some("none"));
    assert!(text(&output).contains("Running"));
}
