//! Small facts about one process or thread that are asked for often.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use super::errno::check;
use super::process::{self, RLIMIT_NOFILE};
use super::procfs;

/// CPU time of a process at this node.
pub struct CpuClock {
    pid: i32,
    last: std::cell::Cell<u64>,
}

impl CpuClock {
    pub fn new(pid: i32) -> CpuClock {
        CpuClock {
            pid,
            last: std::cell::Cell::new(0),
        }
    }

    /// User and system time in nanoseconds; of a process that has ended, what it had when last asked.
    pub fn nanoseconds(&self) -> u64 {
        if let Ok(now) = clock_ns(process_clock(self.pid)) {
            self.last.set(now);
        }
        self.last.get()
    }
}

/// The clock of a process's CPU time.
pub fn process_clock(pid: i32) -> i32 {
    /// The kernel's encoding of "scheduler time of process PID" as a clock (`posix-timers.h`).
    const CPUCLOCK_SCHED: i32 = 2;
    (!pid << 3) | CPUCLOCK_SCHED
}

/// Any clock, in nanoseconds.
pub fn clock_ns(id: i32) -> io::Result<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is live and writable.
    check(i64::from(unsafe { libc::clock_gettime(id, &raw mut time) }))?;
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Stack pointer of a thread that waits in a system call, or is about to: who is notified of a call may be faster than its
/// caller gets to sleep.
pub fn stack_pointer(tid: i32) -> io::Result<u64> {
    let text = loop {
        let text = fs::read_to_string(format!("/proc/{tid}/syscall"))?;
        if text.trim_end() != "running" {
            break text;
        }
        std::thread::yield_now();
    };
    let word = text.split_ascii_whitespace().rev().nth(1);
    word.and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the thread is not in a system call",
            )
        })
}

/// The call in which a thread waits; `None` when it does not wait: it is then in any call, or in none.
pub fn current_call(tid: i32) -> io::Result<Option<u64>> {
    let text = fs::read_to_string(format!("/proc/{tid}/syscall"))?;
    let number = text.split_ascii_whitespace().next();
    Ok(number.and_then(|number| number.parse().ok()))
}

/// The process that a thread belongs to.
pub fn tgid(tid: i32) -> io::Result<i32> {
    let text = fs::read_to_string(format!("/proc/{tid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Tgid:"));
    line.and_then(|value| value.trim().parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/status has no Tgid"))
}

/// Whether the process is there and not a zombie.
pub fn alive(pid: i32) -> bool {
    procfs::stat(pid).is_ok_and(|stat| !matches!(stat.state, b'Z' | b'X'))
}

/// The numbers of its open descriptors.
pub fn descriptors(pid: i32) -> io::Result<Vec<i32>> {
    let entries = fs::read_dir(PathBuf::from(format!("/proc/{pid}/fd")))?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

/// One more than the highest descriptor that it may open.
pub fn open_files_limit(pid: i32) -> io::Result<u64> {
    Ok(process::limit(pid, RLIMIT_NOFILE)?.0)
}

/// Writes to the standard error of another process, if it has one that can be written.
pub fn say(pid: i32, message: &str) {
    let written = fs::OpenOptions::new()
        .append(true)
        .open(format!("/proc/{pid}/fd/2"))
        .and_then(|mut file| file.write_all(message.as_bytes()));
    if written.is_err() {
        log::info!("{}", message.trim_end());
    }
}
