//! May this process move now? If not, why, in words.

use std::io;

use crate::image::areas::{is_common, is_for_monitors};
use crate::image::{Area, Kind, MAX_THREADS};
use crate::sys::process;
use crate::sys::procfs::{self, Mapping};

/// Addresses from here on exist only with five levels of page tables.
const HIGHEST: u64 = 1 << 47;
const PROT_WRITE: u32 = 2;
/// PROT_READ | PROT_WRITE
const READ_WRITE: u32 = 3;
/// Clocks that count CPU time: of the process, of the thread. Those of others are negative.
const CPU_CLOCKS: [i32; 2] = [2, 3];
/// Descriptors whose memory or kernel state cannot be reached from elsewhere.
const NATIVE_ONLY: [(&str, &str); 4] = [
    ("anon_inode:[io_uring]", "it uses io_uring"),
    ("anon_inode:[userfaultfd]", "it uses userfaultfd"),
    ("anon_inode:[perf_event]", "it uses performance counters"),
    ("anon_inode:kvm", "it runs virtual machines"),
];

/// Why a process at home cannot move now, `None` when nothing is in the way. `expected_filters`: number of seccomp filters that its
/// tree has from `mosrun` (and from what `mosrun` itself was under).
pub fn why_not(pid: i32, areas: &[Area], expected_filters: u32) -> Option<String> {
    memory(areas)
        .or_else(|| state(pid, expected_filters))
        .or_else(|| shared_memory(pid))
        .or_else(|| common(pid, areas, expected_filters))
        .or_else(|| timers(pid))
        .or_else(|| descriptors(pid, areas))
        .or_else(|| network(pid))
}

fn memory(areas: &[Area]) -> Option<String> {
    let Some(vdso) = areas.iter().find(|area| area.kind == Kind::Vdso) else {
        return Some("it has no vDSO to make a system call from".to_owned());
    };
    if vdso.end <= 1 << 32 {
        return Some("it is a 32-bit program".to_owned());
    }
    areas.iter().find_map(area)
}

fn area(area: &Area) -> Option<String> {
    if area.kind != Kind::Vsyscall && area.end > HIGHEST {
        return Some("it uses addresses above 128 TiB".to_owned());
    }
    let path = area.file.as_ref().map_or("", |file| file.path.as_str());
    if path.starts_with("/anon_hugepage") {
        return Some("it uses huge pages".to_owned());
    }
    if area.kind == Kind::Common && area.prot & READ_WRITE != READ_WRITE {
        return Some("it has shared memory that it has made inaccessible".to_owned());
    }
    if !area.shared {
        let device = path.starts_with("/dev/")
            && !path.starts_with("/dev/zero")
            && !path.starts_with("/dev/shm/");
        return device.then(|| format!("it maps a device: {path}"));
    }
    if path.starts_with("/SYSV") {
        return Some("it has System V shared memory".to_owned());
    }
    if path.is_empty() || path.starts_with("/memfd:") {
        return Some("it has shared memory".to_owned());
    }
    if area.prot & PROT_WRITE != 0 || path.starts_with("/dev/") {
        return Some(format!("it shares memory: {path}"));
    }
    None
}

fn state(pid: i32, expected_filters: u32) -> Option<String> {
    let Ok(threads) = procfs::threads(pid) else {
        return Some("it ended".to_owned());
    };
    if threads.len() > MAX_THREADS {
        return Some(format!("it has more than {MAX_THREADS} threads"));
    }
    threads
        .iter()
        .find_map(|tid| thread_state(pid, *tid, expected_filters))
}

fn thread_state(pid: i32, tid: i32, expected_filters: u32) -> Option<String> {
    let (Ok(status), Ok(stat)) = (procfs::status(tid), procfs::stat(tid)) else {
        // A thread may end at any time.
        return (tid == pid).then(|| "it ended".to_owned());
    };
    if status.tracer != 0 && !is_ours(status.tracer) {
        return Some(format!("it is being traced by process {}", status.tracer));
    }
    if status.filters > expected_filters {
        return Some("it has a system call filter of its own".to_owned());
    }
    if tid != pid && process::same_files(pid, tid) == Some(false) {
        return Some("its threads have different files".to_owned());
    }
    if status.vm_locked_bytes > 0 {
        return Some("it has locked memory".to_owned());
    }
    if status.shadow_stack {
        return Some("it has a shadow stack".to_owned());
    }
    match stat.state {
        b'T' => Some("it is stopped".to_owned()),
        b'Z' | b'X' if tid != pid => None,
        b'Z' | b'X' if status.threads > 1 => Some("its first thread has ended".to_owned()),
        b'Z' | b'X' => Some("it ended".to_owned()),
        _ => None,
    }
}

/// Whoever asks may be its tracer for the moment.
fn is_ours(thread: i32) -> bool {
    std::path::Path::new(&format!("/proc/self/task/{thread}")).exists()
}

/// Between `vfork` and `exec` parent and child share their memory.
fn shared_memory(pid: i32) -> Option<String> {
    let parent = procfs::stat(pid).map_or(0, |stat| stat.ppid);
    if parent > 0 && process::same_memory(pid, parent) == Some(true) {
        return Some("it shares memory with its parent (vfork)".to_owned());
    }
    let children = procfs::children(pid).unwrap_or_default();
    let shares = |child: &i32| process::same_memory(pid, *child) == Some(true);
    children
        .iter()
        .any(shares)
        .then(|| "it shares memory with a child (vfork)".to_owned())
}

fn timers(pid: i32) -> Option<String> {
    let timers = procfs::timers(pid).unwrap_or_default();
    let counts = |timer: &procfs::Timer| timer.clock < 0 || CPU_CLOCKS.contains(&timer.clock);
    timers
        .iter()
        .any(counts)
        .then(|| "it has a timer that counts its CPU time".to_owned())
}

fn descriptors(pid: i32, areas: &[Area]) -> Option<String> {
    let fds = procfs::fds(pid).unwrap_or_default();
    fds.iter().find_map(|(fd, target)| {
        let native = NATIVE_ONLY
            .iter()
            .find(|(name, _)| target.starts_with(name));
        if let Some((_, why)) = native {
            return Some((*why).to_owned());
        }
        if procfs::tells_of_memory(target, pid) {
            return Some(format!("it reads of its own memory: {target}"));
        }
        let maps = |area: &Area| area.file.as_ref().is_some_and(|file| file.path == *target);
        if is_for_monitors(target) {
            return None;
        }
        // A descriptor may be closed while we look.
        let both = areas.iter().any(maps) && procfs::writes(pid, *fd).unwrap_or(false);
        both.then(|| format!("it maps a file that it can write: {target}"))
    })
}

/// Its deputy could not reach other nodes.
fn network(pid: i32) -> Option<String> {
    let (its, ours) = (
        procfs::namespace(pid, "net").ok()?,
        procfs::namespace(process::pid(), "net").ok()?,
    );
    (its != ours).then(|| "it is in another network namespace".to_owned())
}

/// Shared memory without a name goes with the process that alone has it, and has it once.
fn common(pid: i32, areas: &[Area], filters: u32) -> Option<String> {
    if areas.iter().all(|area| area.kind != Kind::Common) {
        return None;
    }
    let Ok(mut own) = commons(pid) else {
        return Some("it ended".to_owned());
    };
    own.sort_unstable();
    let twice = |pair: &[(u64, u64, u64)]| pair[0].0 == pair[1].0 && pair[1].1 < pair[0].2;
    if own.windows(2).any(twice) {
        return Some("it maps shared memory twice".to_owned());
    }
    let has = |inode: u64| own.iter().any(|mine| mine.0 == inode);
    let shares = |other: &i32| match commons(*other) {
        Ok(all) => all.iter().any(|its| has(its.0)),
        // Not even its own user may look into it. A fork has at least the filters that mosrun made.
        Err(_) => procfs::status(*other).is_ok_and(|status| status.filters >= filters),
    };
    // Who shares it is most often next of kin: a family of a thousand must not look at each other a million times.
    let parent = procfs::stat(pid).map(|stat| stat.ppid).ok();
    let children = procfs::children(pid).unwrap_or_default();
    let kin = parent.into_iter().chain(children);
    let everybody = std::iter::once_with(|| procfs::processes().unwrap_or_default()).flatten();
    let mut others = kin.chain(everybody).filter(|other| *other != pid);
    let with = others.find(shares)?;
    Some(format!("it shares memory with process {with}"))
}

/// The common memory of a process: inode, and from where to where in it.
fn commons(pid: i32) -> io::Result<Vec<(u64, u64, u64)>> {
    let maps = procfs::maps(pid)?.into_iter().filter(is_common);
    let part = |map: Mapping| (map.inode, map.offset, map.offset + (map.end - map.start));
    Ok(maps.map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{FileArea, areas};

    /// Not of this very process: other tests do in it what hinders a move.
    #[test]
    fn a_simple_program_could_move() {
        let mut sleep = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = sleep.id() as i32;
        // It becomes its program by and by.
        let areas = loop {
            let areas = areas::areas(pid).unwrap();
            if areas.iter().any(|area| area.kind == Kind::Vdso) {
                break areas;
            }
        };
        let (all, strict) = (why_not(pid, &areas, 100), why_not(pid, &areas, 0));
        let rest = [shared_memory(pid), timers(pid), network(pid)];
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        assert_eq!(all, None);
        assert!(strict.is_none_or(|why| why.contains("filter")));
        assert_eq!(rest, [None, None, None]);
    }

    #[test]
    fn shared_areas_are_named() {
        let file = |path: &str| FileArea {
            path: path.into(),
            ..FileArea::default()
        };
        let shared = |path, prot| Area {
            shared: true,
            prot,
            file: Some(file(path)),
            ..Area::default()
        };
        assert_eq!(
            area(&shared("/a/b", 3)).as_deref(),
            Some("it shares memory: /a/b")
        );
        assert_eq!(area(&shared("/a/b", 1)), None);
        assert!(
            area(&shared("/SYSV00000000 (deleted)", 1))
                .unwrap()
                .contains("System V")
        );
        assert!(area(&shared("/dev/zero (deleted)", 3)).is_some());
        let high = Area {
            start: HIGHEST,
            end: HIGHEST + 1,
            ..Area::default()
        };
        assert!(area(&high).is_some());
    }
}
