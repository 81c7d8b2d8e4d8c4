//! The small C programs of tests/guests: built once, each in its variants, and run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// One program, built in one way.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Name and variant, such as `memory-static`.
    pub name: String,
    pub program: PathBuf,
}

/// A directory that goes when this does.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("mos-{name}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where the sources are.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests")
}

/// The words behind `// key:` in the first lines of a source.
fn directive(text: &str, key: &str) -> Vec<String> {
    let line = text
        .lines()
        .take(3)
        .find_map(|line| line.strip_prefix(&format!("// {key}:")));
    let words = line.unwrap_or_default().split_whitespace();
    words.map(str::to_string).collect()
}

fn exists(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(command).is_file())
}

/// Compiler and options of a variant; `None` when it cannot be built on this machine.
fn compiler(variant: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match variant {
        "pie" => ("gcc", &["-pie", "-fPIE"]),
        "nopie" => ("gcc", &["-no-pie"]),
        "static" => ("gcc", &["-static"]),
        "stripped" => ("gcc", &["-s"]),
        "musl" if exists("musl-gcc") => ("musl-gcc", &["-static"]),
        "musl" => return None,
        other => panic!("unknown variant {other}"),
    })
}

fn build(source: &Path, variant: &str, libs: &[String], dir: &Path) -> Option<Guest> {
    let (compiler, options) = compiler(variant)?;
    let stem = source.file_stem().unwrap().to_string_lossy();
    let name = format!("{stem}-{variant}");
    let program = dir.join(&name);
    if newer(&program, source) && newer(&program, &sources().join("t.h")) {
        return Some(Guest { name, program });
    }
    let fresh = dir.join(format!("{name}.{}", std::process::id()));
    let made = Command::new(compiler)
        .args(["-O1", "-w", "-o"])
        .arg(&fresh)
        .args(options)
        .arg(source)
        .args(libs)
        .output()
        .unwrap_or_else(|error| panic!("{compiler}: {error}"));
    let complaint = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{name} does not build: {complaint}");
    std::fs::rename(&fresh, &program).unwrap();
    Some(Guest { name, program })
}

/// True if both exist and the first was changed last.
fn newer(made: &Path, source: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    matches!((time(made), time(source)), (Some(made), Some(source)) if made > source)
}

/// All guests in all their variants, built when their sources have changed, in the build directory. MOS_GUESTS, a list of names, chooses some.
pub fn all() -> &'static [Guest] {
    static BUILT: OnceLock<Vec<Guest>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
        std::fs::create_dir_all(&dir).unwrap();
        let chosen = std::env::var("MOS_GUESTS").unwrap_or_default();
        let mut files: Vec<PathBuf> = std::fs::read_dir(sources())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "c"))
            .collect();
        files.sort();
        let mut guests = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let stem = file.file_stem().unwrap().to_string_lossy().to_string();
            let wanted = chosen.is_empty() || chosen.split([' ', ',']).any(|name| name == stem);
            // Other tests keep programs of their own here, with other manners.
            if !wanted || !text.contains("#include \"t.h\"") {
                continue;
            }
            let libs = directive(&text, "libs");
            let variants = directive(&text, "variants");
            for variant in ["pie"]
                .into_iter()
                .chain(variants.iter().map(String::as_str))
            {
                guests.extend(build(&file, variant, &libs, &dir));
            }
        }
        guests
    })
}

/// Runs this in a fresh directory, without input, and gives its output; killed, with all that it started, when it takes too long.
pub fn run(mut command: Command, limit: Duration) -> Output {
    use std::os::unix::process::CommandExt;
    let scratch = Scratch::new("run");
    let file = |name: &str| std::fs::File::create(scratch.path().join(name)).unwrap();
    let cwd = scratch.path().join("cwd");
    std::fs::create_dir(&cwd).unwrap();
    let child = command
        .current_dir(&cwd)
        .stdin(Stdio::null())
        .stdout(file("out"))
        .stderr(file("err"))
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (status, late) = wait(child, limit);
    let mut stderr = std::fs::read(scratch.path().join("err")).unwrap();
    if late {
        stderr.extend(format!("\n(ended by the test after {limit:?})\n").bytes());
    }
    Output {
        status,
        stdout: std::fs::read(scratch.path().join("out")).unwrap(),
        stderr,
    }
}

/// The end of this child, and whether it had to be brought about. A playground gets the chance to clean up.
fn wait(mut child: Child, limit: Duration) -> (ExitStatus, bool) {
    let begin = Instant::now();
    let mut asked = false;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status, asked);
        }
        if begin.elapsed() > limit + Duration::from_secs(15) {
            let _ = child.kill();
        } else if begin.elapsed() > limit && !asked {
            asked = true;
            signal(&child.id().to_string(), "TERM");
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Sends a signal by name, to a process, or to a group with a minus sign before its number.
pub fn signal(pid: &str, name: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{name}"), "--", pid])
        .stderr(Stdio::null())
        .status();
}
