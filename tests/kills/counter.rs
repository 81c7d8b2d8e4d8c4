//! A program whose file tells whether it ran once: every number in order, none twice, none left out.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, wait_until};

/// How a counter ended; its file is right in all cases.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// When it was told to, with its own status.
    Well,
    /// Killed, with the message that says that its memory is lost.
    Lost,
    Otherwise(String),
}

pub struct Counter {
    child: Option<Child>,
    dir: PathBuf,
}

/// Builds a program of one file below `tests`.
pub fn build(source: &str) -> PathBuf {
    let name = Path::new(source).file_stem().unwrap().to_str().unwrap();
    let program =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(source);
    let made = Command::new("gcc")
        .args(["-O1", "-o"])
        .arg(&program)
        .arg(source)
        .status()
        .unwrap();
    assert!(made.success());
    program
}

fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("guests/counter.c"))
}

impl Counter {
    /// Starts one under mosrun on node 1 and waits until it counts.
    pub fn start(cluster: &Cluster) -> Counter {
        Counter::start_with(cluster, &[])
    }

    /// The same with these variables in mos's environment.
    pub fn start_with(cluster: &Cluster, variables: &[(&str, &str)]) -> Counter {
        Counter::begin(cluster, variables, &[])
    }

    /// One that is large enough to be moved while it runs.
    #[allow(dead_code, reason = "not every test moves one")]
    pub fn start_large(cluster: &Cluster) -> Counter {
        Counter::begin(cluster, &[], &["16"])
    }

    /// One that has a shared view of [`Counter::view`], and ends if that misses what was written there.
    #[allow(dead_code, reason = "not every test writes")]
    pub fn start_with_view(cluster: &Cluster) -> Counter {
        Counter::begin(cluster, &[], &["0", "view"])
    }

    /// A file with one byte, that may be replaced by larger ones.
    #[allow(dead_code, reason = "not every test writes")]
    pub fn view(&self) -> PathBuf {
        self.dir.join("view")
    }

    fn begin(cluster: &Cluster, variables: &[(&str, &str)], more: &[&str]) -> Counter {
        let dir = cluster
            .root(1)
            .join(format!("counter-{:x}", mos::sys::unix::random_u64()));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("view"), "a").unwrap();
        let child = cluster
            .command(1, &["mosrun"])
            .arg(program())
            .args([dir.join("out"), dir.join("stop")])
            .args(more)
            .current_dir(&dir)
            .envs(variables.iter().copied())
            .stderr(std::fs::File::create(dir.join("err")).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let counter = Counter {
            child: Some(child),
            dir,
        };
        counter.wait_to_grow();
        counter
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    fn len(&self) -> u64 {
        std::fs::metadata(self.dir.join("out")).map_or(0, |meta| meta.len())
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(self.dir.join("err")).unwrap()
    }

    /// It has not ended.
    pub fn runs(&self) -> bool {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.starts_with(" Z"))
    }

    /// It counts on within a moment.
    pub fn grows(&self) -> bool {
        let (len, begin) = (self.len(), Instant::now());
        while self.len() == len && begin.elapsed() < Duration::from_millis(50) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.len() > len
    }

    pub fn wait_to_grow(&self) {
        let len = self.len();
        wait_until("the program counts on", || self.len() > len);
    }

    pub fn tell_to_stop(&self) {
        std::fs::write(self.dir.join("stop"), "").unwrap();
    }

    /// Waits for its end, and checks what it wrote.
    pub fn wait(mut self) -> Ended {
        let begin = Instant::now();
        while self.runs() && begin.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let hangs = self.runs();
        let mut child = self.child.take().unwrap();
        let _ = child.kill();
        let status = child.wait().unwrap();
        if hangs {
            return Ended::Otherwise(format!("hangs; said {:?}", self.said()));
        }
        let text = std::fs::read_to_string(self.dir.join("out")).unwrap();
        for (line, wanted) in text.lines().zip(1..) {
            if line != wanted.to_string() {
                return Ended::Otherwise(format!("counted {line} instead of {wanted}"));
            }
        }
        let said = self.said();
        match (status.code(), status.signal()) {
            (Some(7), _) if said.is_empty() => Ended::Well,
            (_, Some(9)) if said.contains("Lost communication with") => Ended::Lost,
            _ => Ended::Otherwise(format!("{status}, said {said:?}")),
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
