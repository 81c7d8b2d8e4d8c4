//! Wrong options, unknown nodes, files that are missing or malformed, sockets that nobody serves: each has a message that
//! names the thing, and an exit status that is not nought.

#[path = "support/guests.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod guests;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use guests::Scratch;

const MOS: &str = env!("CARGO_BIN_EXE_mos");
const LIMIT: Duration = Duration::from_secs(20);

/// Runs this command with these files as the node's; gives status and messages.
fn run(root: &Path, words: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(MOS);
    command.args(words).env("MOSIX_ROOT", root);
    command.env_remove("MOS_PLAYGROUND");
    let Output { status, stderr, .. } = guests::run(command, LIMIT);
    (status.code(), String::from_utf8_lossy(&stderr).to_string())
}

/// It fails with this status, and each of these words is in the message.
fn refuses(root: &Path, words: &[&str], status: i32, named: &[&str]) {
    let (code, message) = run(root, words);
    assert_eq!(code, Some(status), "mos {words:?}: {message}");
    for word in named {
        assert!(
            message.contains(word),
            "mos {words:?} does not name {word}: {message}"
        );
    }
    assert!(!message.contains("panicked"), "{message}");
}

/// A root directory with the files of a node that could start.
fn root(name: &str) -> Scratch {
    let root = Scratch::new(name);
    let etc = root.path().join("etc/mosix");
    std::fs::create_dir_all(etc.join("var")).unwrap();
    write(root.path(), "mosix.map", "127.201.7.1 3\n");
    write(root.path(), "userview.map", "1 127.201.7.1 3\n");
    write(root.path(), "mosip", "127.201.7.1\n");
    write(root.path(), "secret", "a password for tests\n");
    write(root.path(), "ports", "tcp 25371\nudp 25371\n");
    root
}

fn write(root: &Path, name: &str, text: &str) {
    let file = root.join("etc/mosix").join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn wrong_command_lines_are_refused() {
    let root = root("words");
    let at = root.path();
    refuses(at, &["no-such-command"], 2, &["no-such-command"]);
    refuses(at, &["mosmigrate"], 2, &["PID"]);
    refuses(at, &["mosmigrate", "abc", "1"], 2, &["abc"]);
    refuses(
        at,
        &["mosmigrate", "--no-such-option", "1", "2"],
        2,
        &["--no-such-option"],
    );
    refuses(at, &["playground", "-n", "0", "--", "true"], 2, &["0"]);
    refuses(
        at,
        &["playground", "-n", "many", "--", "true"],
        2,
        &["many"],
    );
    refuses(at, &["playground", "--shake", "0", "--", "true"], 2, &["0"]);
    refuses(
        at,
        &["mosctl", "no-such-function"],
        2,
        &["no-such-function"],
    );
    refuses(at, &["at", "1", "true"], 1, &["playground"]);
    refuses(at, &["mosd", "--no-such-option"], 2, &["--no-such-option"]);
}

#[test]
fn without_a_daemon_every_tool_says_so() {
    let root = root("nobody");
    let at = root.path();
    refuses(at, &["mosrun", "true"], 127, &["mosd"]);
    refuses(at, &["mosps"], 1, &["mosd"]);
    refuses(at, &["mosmigrate", "1", "home"], 1, &["mosd"]);
    refuses(at, &["mosctl", "status"], 1, &["mosd"]);
    refuses(at, &["mostimeof", "1"], 1, &["mosd"]);
}

#[test]
fn a_socket_that_nobody_serves_is_told_apart() {
    let root = root("stale");
    let socket = root.path().join("etc/mosix/var/mosd.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    refuses(root.path(), &["mosps"], 1, &["mosd.sock"]);
    refuses(root.path(), &["mosrun", "true"], 127, &["mosd.sock"]);
}

#[test]
fn the_daemon_names_the_file_that_is_wrong() {
    let cases: &[(&str, Option<&str>, &[&str])] = &[
        ("mosix.map", None, &["mosix.map", "missing"]),
        ("mosix.map", Some(""), &["mosix.map"]),
        (
            "mosix.map",
            Some("127.201.7.1 three\n"),
            &["mosix.map", "three"],
        ),
        (
            "mosix.map",
            Some("127.201.7.1 3 x\n"),
            &["mosix.map", "\"x\""],
        ),
        (
            "mosix.map",
            Some("127.201.7.1 3\n127.201.7.2 1\n"),
            &["mosix.map", "overlaps"],
        ),
        (
            "mosix.map",
            Some("no.such.host.invalid 3\n"),
            &["mosix.map", "no.such.host.invalid"],
        ),
        ("mosix.map", Some("\u{1}\u{2} \u{3}\n"), &["mosix.map"]),
        ("userview.map", Some("0 127.201.7.1 3\n"), &["userview.map"]),
        (
            "userview.map",
            Some("65535 127.201.7.1 3\n"),
            &["userview.map", "65535"],
        ),
        ("userview.map", Some("one\n"), &["userview.map"]),
        ("secret", None, &["secret", "missing"]),
        ("secret", Some("\n"), &["secret"]),
        ("ports", Some("tcp 99999\n"), &["ports", "99999"]),
        ("ports", Some("http 80\n"), &["ports"]),
        ("mosip", Some("10.9.8.7\n"), &["mosip", "10.9.8.7"]),
        ("speed", Some("fast\n"), &["speed", "fast"]),
    ];
    for (name, text, named) in cases {
        let root = root("files");
        match text {
            Some(text) => write(root.path(), name, text),
            None => std::fs::remove_file(root.path().join("etc/mosix").join(name)).unwrap(),
        }
        refuses(root.path(), &["mosd", "--foreground"], 1, named);
    }
}

#[test]
fn a_password_that_others_can_read_is_refused() {
    let root = root("open");
    let secret = root.path().join("etc/mosix/secret");
    std::fs::set_permissions(secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    refuses(
        root.path(),
        &["mosd", "--foreground"],
        1,
        &["secret", "600"],
    );
}

#[test]
fn unknown_nodes_and_processes_are_named() {
    let script = "mosmigrate 1 home; echo $?; mosrun sleep 50 & mosmigrate --wait $! 77; echo $?
        mosmigrate --wait $! no.such.host.invalid; echo $?; mosrun -77 true; echo $?; mosrun -rno.such.host.invalid true; echo $?
        mosrun -r10.9.8.7 true; echo $?; mosrun ./no-such-program; echo $?; mostimeof 1; echo $?; kill $!";
    let mut command = Command::new(MOS);
    command.args(["playground", "-n", "2", "--", "sh", "-c", script]);
    let out = guests::run(command, Duration::from_secs(60));
    let errors = String::from_utf8_lossy(&out.stderr);
    assert_eq!(
        String::from_utf8_lossy(&out.stdout)
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["1", "1", "1", "127", "127", "127", "127", "1"],
        "{errors}"
    );
    for word in ["77", "no.such.host.invalid", "10.9.8.7", "no-such-program"] {
        assert!(errors.contains(word), "{word} is not named: {errors}");
    }
    assert!(!errors.contains("panicked"), "{errors}");
}
