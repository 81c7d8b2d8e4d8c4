//! What `/proc` tells of a process.

use std::fs;
use std::io;

pub use super::maps::{Mapping, file_mapping, maps};

/// Kernel's unit of process times towards user space, the same on every x86-64: 100 a second.
const NS_PER_TICK: u64 = 10_000_000;

/// The fields of `/proc/PID/stat` that somebody here uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub comm: String,
    /// `R`, `S`, `D`, `T`, `t`, `Z`, ….
    pub state: u8,
    pub ppid: i32,
    pub pgrp: i32,
    pub session: i32,
    /// Page faults of children that have been waited for (and of theirs).
    pub child_faults: u64,
    pub utime_ns: u64,
    pub stime_ns: u64,
    pub threads: u32,
    /// Ticks after boot: tells two processes with the same pid apart.
    pub start_time: u64,
    pub rss_pages: u64,
    pub start_code: u64,
    pub end_code: u64,
    pub start_stack: u64,
    pub start_data: u64,
    pub end_data: u64,
    pub start_brk: u64,
    pub arg_start: u64,
    pub arg_end: u64,
    pub env_start: u64,
    pub env_end: u64,
}

/// The fields of `/proc/PID/status` that somebody here uses. Signal sets: bit `n` is signal `n + 1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Number of the process that the thread belongs to.
    pub group: i32,
    pub threads: u32,
    pub tracer: i32,
    pub filters: u32,
    /// Real user and group id.
    pub uid: u32,
    pub gid: u32,
    /// Pid in each pid namespace, ours first.
    pub ns_pids: Vec<i32>,
    pub pending: u64,
    pub shared_pending: u64,
    pub blocked: u64,
    pub ignored: u64,
    pub caught: u64,
    pub vm_rss_bytes: u64,
    pub vm_locked_bytes: u64,
    pub shadow_stack: bool,
}

/// One line group of `/proc/PID/timers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timer {
    pub id: i32,
    /// Negative for clocks that count CPU time.
    pub clock: i32,
}

pub(super) fn bad(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("/proc/PID/{what} cannot be understood"),
    )
}

/// A file of a process, as bytes: names in it need not be UTF-8. A process that ended is `ESRCH` or `ENOENT`.
pub(super) fn text(pid: i32, file: &str) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}"))?).into_owned())
}

/// Files of `/proc/PID` (and of its threads) that tell of its memory, or of the call that it is in.
const OF_MEMORY: [&str; 14] = [
    "auxv",
    "clear_refs",
    "cmdline",
    "environ",
    "maps",
    "mem",
    "numa_maps",
    "pagemap",
    "smaps",
    "smaps_rollup",
    "stat",
    "statm",
    "status",
    "syscall",
];

/// Whether `path`, which must begin with a slash, is a file of process `pid` in which it reads of its own memory.
pub fn tells_of_memory(path: &str, pid: i32) -> bool {
    let Some((who, rest)) = path
        .strip_prefix("/proc/")
        .and_then(|rest| rest.split_once('/'))
    else {
        return false;
    };
    let own = who == "self" || who == "thread-self" || who.parse() == Ok(pid);
    own && names_memory(rest)
}

/// The same of the rest of such a path, behind the process's directory.
pub fn names_memory(rest: &str) -> bool {
    let name = rest.rsplit('/').next().unwrap_or(rest);
    OF_MEMORY.contains(&name) || rest.starts_with("map_files")
}

/// Whether descriptor `fd` of a process is open for writing.
pub fn writes(pid: i32, fd: i32) -> io::Result<bool> {
    Ok(open_flags(pid, fd)? & 3 != 0)
}

/// Whether devices may transfer straight to and from a process's memory: it has a descriptor that is open for that.
pub fn transfers_directly(pid: i32) -> io::Result<bool> {
    let direct = |fd| open_flags(pid, fd).is_ok_and(|flags| flags & libc::O_DIRECT as u32 != 0);
    Ok(numbers(&format!("/proc/{pid}/fd"))?.into_iter().any(direct))
}

fn open_flags(pid: i32, fd: i32) -> io::Result<u32> {
    let text = text(pid, &format!("fdinfo/{fd}"))?;
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|value| u32::from_str_radix(value.trim(), 8).ok());
    flags.ok_or_else(|| bad("fdinfo"))
}

pub fn stat(pid: i32) -> io::Result<Stat> {
    parse_stat(&text(pid, "stat")?).ok_or_else(|| bad("stat"))
}

fn parse_stat(line: &str) -> Option<Stat> {
    let (open, close) = (line.find('(')?, line.rfind(')')?);
    let fields: Vec<&str> = line.get(close + 2..)?.split_ascii_whitespace().collect();
    // Numbered as proc(5) does; the state is field 3.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let pid = |field: usize| fields.get(field - 3)?.parse::<i32>().ok();
    Some(Stat {
        comm: line.get(open + 1..close)?.to_owned(),
        state: *fields.first()?.as_bytes().first()?,
        ppid: pid(4)?,
        pgrp: pid(5)?,
        session: pid(6)?,
        child_faults: number(11)?,
        utime_ns: number(14)? * NS_PER_TICK,
        stime_ns: number(15)? * NS_PER_TICK,
        threads: number(20)? as u32,
        start_time: number(22)?,
        rss_pages: number(24)?,
        start_code: number(26)?,
        end_code: number(27)?,
        start_stack: number(28)?,
        start_data: number(45)?,
        end_data: number(46)?,
        start_brk: number(47)?,
        arg_start: number(48)?,
        arg_end: number(49)?,
        env_start: number(50)?,
        env_end: number(51)?,
    })
}

pub fn status(pid: i32) -> io::Result<Status> {
    Ok(parse_status(&text(pid, "status")?))
}

fn parse_status(text: &str) -> Status {
    let mut status = Status::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let mut words = value.split_ascii_whitespace();
        let first = words.clone().next().unwrap_or("");
        let number = || first.parse::<u64>().unwrap_or(0);
        let set = || u64::from_str_radix(first, 16).unwrap_or(0);
        match key {
            "Threads" => status.threads = number() as u32,
            "Tgid" => status.group = number() as i32,
            "TracerPid" => status.tracer = number() as i32,
            "Seccomp_filters" => status.filters = number() as u32,
            "Uid" => status.uid = number() as u32,
            "Gid" => status.gid = number() as u32,
            "NSpid" => {
                status.ns_pids = words
                    .by_ref()
                    .filter_map(|word| word.parse().ok())
                    .collect()
            }
            "SigPnd" => status.pending = set(),
            "ShdPnd" => status.shared_pending = set(),
            "SigBlk" => status.blocked = set(),
            "SigIgn" => status.ignored = set(),
            "SigCgt" => status.caught = set(),
            "VmLck" => status.vm_locked_bytes = number() * 1024,
            "x86_Thread_features" => status.shadow_stack = value.contains("shstk"),
            "VmRSS" => status.vm_rss_bytes = number() * 1024,
            _ => {}
        }
    }
    status
}

/// Bytes of memory that can be had on this machine without taking it from anybody.
pub fn available_memory() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    Ok(
        kibibytes
            .ok_or_else(|| io::Error::other("/proc/meminfo does not say what is available"))?
            * 1024,
    )
}

/// Nanoseconds that a process's main thread has run, and that it has waited for a processor.
///
/// # Errors
///
/// Where the process is gone, or the kernel does not count this.
pub fn schedule(pid: i32) -> io::Result<(u64, u64)> {
    let text = text(pid, "schedstat")?;
    let mut words = text.split_ascii_whitespace().map(str::parse::<u64>);
    match (words.next(), words.next()) {
        (Some(Ok(run)), Some(Ok(wait))) => Ok((run, wait)),
        _ => Err(bad("schedstat")),
    }
}

/// Reads and writes that a process has made so far, and their bytes.
///
/// # Errors
///
/// Where the process is gone or is another user's.
pub fn transfers(pid: i32) -> io::Result<(u64, u64)> {
    let text = text(pid, "io")?;
    let value = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    };
    let calls = value("syscr:") + value("syscw:");
    Ok((calls, value("rchar:") + value("wchar:")))
}

/// All processes that are seen here.
pub fn processes() -> io::Result<Vec<i32>> {
    numbers("/proc")
}

/// Children of a process's main thread.
pub fn children(pid: i32) -> io::Result<Vec<i32>> {
    let text = text(pid, &format!("task/{pid}/children"))?;
    Ok(text
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect())
}

/// Thread ids of a process.
pub fn threads(pid: i32) -> io::Result<Vec<i32>> {
    numbers(&format!("/proc/{pid}/task"))
}

/// The name of a process.
pub fn comm(pid: i32) -> io::Result<String> {
    Ok(text(pid, "comm")?.trim_end_matches('\n').to_owned())
}

/// POSIX timers of a process. Empty where the kernel does not tell.
pub fn timers(pid: i32) -> io::Result<Vec<Timer>> {
    match text(pid, "timers") {
        Ok(text) => Ok(parse_timers(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn parse_timers(text: &str) -> Vec<Timer> {
    let mut timers: Vec<Timer> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim().parse().unwrap_or(0);
        match (key, timers.last_mut()) {
            ("ID", _) => timers.push(Timer {
                id: value,
                clock: 0,
            }),
            ("ClockID", Some(timer)) => timer.clock = value,
            _ => {}
        }
    }
    timers
}

/// Pages that a process has in memory.
pub fn resident_pages(pid: i32) -> io::Result<u64> {
    let text = text(pid, "statm")?;
    let pages = text.split_whitespace().nth(1).and_then(|n| n.parse().ok());
    pages.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Open descriptors of a process and what each is: a path, `socket:[…]`, `anon_inode:[…]`, ….
pub fn fds(pid: i32) -> io::Result<Vec<(i32, String)>> {
    let dir = format!("/proc/{pid}/fd");
    let mut found = Vec::new();
    for fd in numbers(&dir)? {
        // A descriptor can be closed while we look.
        if let Ok(target) = fs::read_link(format!("{dir}/{fd}")) {
            found.push((fd, target.to_string_lossy().into_owned()));
        }
    }
    Ok(found)
}

/// Identity of a namespace (`net`, `pid`, `user`, …) of a process.
pub fn namespace(pid: i32, kind: &str) -> io::Result<String> {
    Ok(fs::read_link(format!("/proc/{pid}/ns/{kind}"))?
        .to_string_lossy()
        .into_owned())
}

fn numbers(dir: &str) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        if let Some(number) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            found.push(number);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn names_may_hold_anything() {
        let fields: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let stat = parse_stat(&format!("1 (a) (b c) S {}", fields.join(" "))).unwrap();
        assert_eq!(stat.comm, "a) (b c");
        assert_eq!(
            (stat.state, stat.ppid, stat.start_code, stat.env_end),
            (b'S', 4, 26, 51)
        );
    }

    #[test]
    fn files_that_tell_of_memory_are_known() {
        assert!(tells_of_memory("/proc/self/maps", 7));
        assert!(tells_of_memory("/proc/7/task/9/smaps", 7));
        assert!(tells_of_memory("/proc/thread-self/status", 7));
        assert!(!tells_of_memory("/proc/8/maps", 7));
        assert!(!tells_of_memory("/proc/self/limits", 7));
        assert!(!tells_of_memory("/proc/meminfo", 7));
        let (file, pid) = (
            fs::File::open("/proc/self/exe").unwrap(),
            std::process::id() as i32,
        );
        assert!(!writes(pid, file.as_raw_fd()).unwrap());
        assert!(!transfers_directly(pid).unwrap());
    }

    #[test]
    fn this_process_is_seen() {
        let pid = std::process::id() as i32;
        assert!(stat(pid).unwrap().start_stack > 0);
        assert!(schedule(pid).is_ok());
        let (calls, bytes) = transfers(pid).unwrap();
        assert!(calls > 0 && bytes > calls);
        assert_eq!(status(pid).unwrap().ns_pids.last(), Some(&pid));
        assert!(fds(pid).unwrap().iter().any(|(fd, _)| *fd == 1));
        assert!(timers(pid).unwrap().is_empty());
        assert!(namespace(pid, "net").unwrap().starts_with("net:["));
    }

    #[test]
    fn timers_are_listed() {
        let text = "ID: 3\nsignal: 14/0\nnotify: signal/pid.1\nClockID: -6\nID: 4\nClockID: 1\n";
        assert_eq!(
            parse_timers(text),
            [Timer { id: 3, clock: -6 }, Timer { id: 4, clock: 1 }]
        );
    }
}
