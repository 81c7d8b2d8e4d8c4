//! Ordinary programs of all kinds: what they print, how they end and the files they leave are the same natively and while
//! every process of theirs is moved about.

#[path = "support/guests.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod guests;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use guests::Scratch;

const MOS: &str = env!("CARGO_BIN_EXE_mos");
const LIMIT: Duration = Duration::from_secs(120);

/// Everything that a run shows.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: Option<i32>,
    out: String,
    err: String,
    /// Path to kind, rights and contents.
    files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
}

fn files(top: &Path, dir: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let contents = if meta.is_symlink() {
            let target = std::fs::read_link(&path).unwrap();
            target.into_os_string().into_encoded_bytes()
        } else if meta.is_file() {
            std::fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let name = path.strip_prefix(top).unwrap().to_path_buf();
        found.insert(name, (meta.permissions().mode(), contents));
        if meta.is_dir() {
            files(top, &path, found);
        }
    }
}

/// Runs the script behind this prefix, in an empty directory.
fn run(script: &Path, prefix: &[&str]) -> Seen {
    let scratch = Scratch::new("compare");
    let cwd = scratch.path().join("cwd");
    std::fs::create_dir(&cwd).unwrap();
    let file = |name: &str| std::fs::File::create(scratch.path().join(name)).unwrap();
    let words: Vec<&str> = prefix.iter().copied().chain(["sh"]).collect();
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .arg(script)
        .current_dir(&cwd)
        .env("HOME", &cwd)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .stdout(file("out"))
        .stderr(file("err"))
        .spawn()
        .unwrap();
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if begin.elapsed() > LIMIT {
            guests::signal(&child.id().to_string(), "TERM");
            child.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = |name: &str| {
        let bytes = std::fs::read(scratch.path().join(name)).unwrap();
        String::from_utf8_lossy(&bytes).to_string()
    };
    let mut tree = BTreeMap::new();
    files(&cwd, &cwd, &mut tree);
    Seen {
        status,
        out: text("out"),
        err: text("err"),
        files: tree,
    }
}

/// The programs named behind `# needs:` in the first line that are not there.
fn missing(script: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(script).unwrap();
    let needs = text.strip_prefix("# needs:").unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let words = needs.lines().next().unwrap_or_default().split_whitespace();
    words
        .filter(|name| !dirs.iter().any(|dir| dir.join(name).is_file()))
        .map(str::to_string)
        .collect()
}

#[test]
fn programs_do_the_same_while_they_are_moved_about() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    let mut wrong = Vec::new();
    for script in scripts {
        let name = script.file_stem().unwrap().to_string_lossy().to_string();
        let missing = missing(&script);
        if !missing.is_empty() {
            println!("{name}: skipped, there is no {}", missing.join(", "));
            continue;
        }
        let native = run(&script, &[]);
        let shaken = [
            MOS,
            "playground",
            "-n",
            "3",
            "--shake",
            "50",
            "--",
            "mosrun",
        ];
        let moved = run(&script, &shaken);
        if native != moved {
            let names = |seen: &Seen| seen.files.keys().cloned().collect::<Vec<_>>();
            wrong.push(format!(
                "{name}\nnative: {:?}\n{}{}{:?}\nmoved: {:?}\n{}{}{:?}",
                native.status,
                native.out,
                native.err,
                names(&native),
                moved.status,
                moved.out,
                moved.err,
                names(&moved)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
