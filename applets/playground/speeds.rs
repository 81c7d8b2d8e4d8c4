//! Nodes of the playground that are held to a part of a CPU, by the kernel's groups of processes (cgroups of version 1 or 2).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mos::config::Paths;

/// Length of a turn: short, so that no daemon waits long for its node's next one.
const PERIOD_US: u64 = 20_000;
/// The kernel gives no less than a millisecond of it.
const LEAST: u32 = 5;
const MOST: u32 = 100;

/// Reads percentages joined by commas.
pub fn parse(text: &str) -> Result<Vec<u32>, String> {
    let percent = |word: &str| match word.parse() {
        Ok(percent) if (LEAST..=MOST).contains(&percent) => Ok(percent),
        _ => Err(format!(
            "\"{word}\" is no part of a CPU in percent ({LEAST} to {MOST})"
        )),
    };
    text.split(',').map(percent).collect()
}

/// Where the node with this root notes its group.
fn note(root: &Path) -> PathBuf {
    Paths::under(root).var().join("group")
}

/// Makes a group for the node with this root, and says in the node's files how fast that is.
///
/// # Errors
///
/// When groups cannot be made here: that needs root, or a part of the tree of groups that was given away.
pub fn hold(root: &Path, name: &str, percent: u32) -> io::Result<()> {
    let named = |path: &Path, error: io::Error| {
        let what = format!("cannot hold nodes to speeds: {}: {error}", path.display());
        io::Error::new(error.kind(), what)
    };
    let (tree, limit) = tree()?;
    let group = tree.join(name);
    // Where children already have the CPU's limits this changes nothing, and else the limit below fails.
    let _ = fs::write(tree.join("cgroup.subtree_control"), "+cpu");
    fs::create_dir(&group).map_err(|error| named(&group, error))?;
    fs::write(note(root), group.as_os_str().as_encoded_bytes())?;
    let quota = PERIOD_US * u64::from(percent) / 100;
    let settings = match limit {
        // Nothing but the limit is to hold it, whatever else runs on this machine.
        Limit::Two => vec![
            ("cpu.weight", "10000".to_owned()),
            ("cpu.max", format!("{quota} {PERIOD_US}")),
        ],
        Limit::One => vec![
            ("cpu.shares", "262144".to_owned()),
            ("cpu.cfs_period_us", PERIOD_US.to_string()),
            ("cpu.cfs_quota_us", quota.to_string()),
        ],
    };
    for (file, value) in settings {
        let file = group.join(file);
        fs::write(&file, value).map_err(|error| named(&file, error))?;
    }
    fs::write(Paths::under(root).speed(), format!("{}\n", percent * 100))
}

/// Puts process `pid` (0: this one) into the group of the node with this root, if it has one.
pub fn enter(root: &Path, pid: u32) -> io::Result<()> {
    match fs::read_to_string(note(root)) {
        Ok(group) => fs::write(Path::new(&group).join("cgroup.procs"), pid.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the group of the node with this root; this process leaves it first.
pub fn release(root: &Path) {
    let Ok(group) = fs::read_to_string(note(root)) else {
        return;
    };
    let group = Path::new(&group);
    if let Some(parent) = group.parent() {
        // Who was not in it stays where it is.
        let _ = fs::write(parent.join("cgroup.procs"), "0");
    }
    match fs::remove_dir(group) {
        Ok(()) => {}
        // Both processes of the playground clean up.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => eprintln!("playground: {}: {error}", group.display()),
    }
}

/// How groups are limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    One,
    Two,
}

/// The group that this process is in, and how those below it are limited.
fn tree() -> io::Result<(PathBuf, Limit)> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let (mount, inside, limit) = find(&mounts, &groups).ok_or_else(|| {
        io::Error::other("cannot hold nodes to speeds: this system has no groups of processes")
    })?;
    let own = Path::new(mount).join(inside.trim_start_matches('/'));
    // In a container the names may be those of another tree.
    let dir = if own.is_dir() {
        own
    } else {
        PathBuf::from(mount)
    };
    Ok((dir, limit))
}

/// Where groups with limits of the CPU are mounted, and this process's own below it.
fn find<'a>(mounts: &'a str, groups: &'a str) -> Option<(&'a str, &'a str, Limit)> {
    let mount = |kind: &str, option: Option<&str>| {
        mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (dir, of, options) = (words.next()?, words.next()?, words.next()?);
            let fits = option.is_none_or(|option| options.split(',').any(|word| word == option));
            (of == kind && fits).then_some(dir)
        })
    };
    let inside = |controller: &str| {
        groups.lines().find_map(|line| {
            let (names, path) = line.split_once(':')?.1.split_once(':')?;
            names
                .split(',')
                .any(|name| name == controller)
                .then_some(path)
        })
    };
    match mount("cgroup", Some("cpu")) {
        Some(dir) => Some((dir, inside("cpu")?, Limit::One)),
        None => Some((mount("cgroup2", None)?, inside("")?, Limit::Two)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read() {
        assert_eq!(parse("50,5,100"), Ok(vec![50, 5, 100]));
        for wrong in ["", "4", "101", "50,", "x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn groups_are_found_in_both_versions() {
        let one = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpuacct,cpu 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let inside = "2:cpuacct,cpu:/a\n0::/b\n";
        let found = find(one, inside);
        assert_eq!(
            found,
            Some(("/sys/fs/cgroup/cpu,cpuacct", "/a", Limit::One))
        );
        let two = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        let found = find(two, "0::/user.slice\n");
        assert_eq!(found, Some(("/sys/fs/cgroup", "/user.slice", Limit::Two)));
        assert_eq!(find("proc /proc proc rw 0 0\n", inside), None);
    }
}
