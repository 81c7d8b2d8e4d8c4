//! Ending everything that was started below this process.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use mos::sys::unix::{self, SIGKILL, SIGSTOP};

/// How long processes may take to die.
const PATIENCE: Duration = Duration::from_secs(10);

/// Kills all processes below this one. They are stopped first, so that none sees another go and complains on the terminal.
/// This process must adopt orphans, or some would be out of sight.
pub fn kill_descendants() {
    let until = Instant::now() + PATIENCE;
    let mut stopped = HashSet::new();
    loop {
        reap_all();
        let found = descendants();
        if found.is_empty() || Instant::now() > until {
            return;
        }
        let fresh: Vec<i32> = found
            .iter()
            .copied()
            .filter(|pid| stopped.insert(*pid))
            .collect();
        for pid in &fresh {
            let _ = unix::kill(*pid, SIGSTOP);
        }
        if fresh.is_empty() {
            for pid in found {
                let _ = unix::kill(pid, SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Takes the end of all children that have ended.
fn reap_all() {
    while matches!(unix::reap(-1, false), Ok(Some(_))) {}
}

/// All processes below this one.
fn descendants() -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![std::process::id() as i32];
    while let Some(pid) = next.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(&below);
        next.extend(below);
    }
    found
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}
