//! The processes of mos that belong to one cluster of a test.

use crate::cluster::Cluster;

/// Those of this name (`mos-host`, `mos-mover`, `mos-warden`), the guards whose warden lives, or the wardens whose guard does
/// (`guarded`).
pub fn find(cluster: &Cluster, name: &str) -> Vec<u32> {
    let wanted = match name {
        "guard" | "guarded" => "mos-warden",
        name => name,
    };
    let ours: Vec<u32> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| is_ours(cluster, *pid, wanted))
        .collect();
    match name {
        "guard" => ours
            .iter()
            .copied()
            .filter(|pid| ours.iter().any(|other| parent(*other) == Some(*pid)))
            .collect(),
        "guarded" => ours
            .iter()
            .copied()
            .filter(|pid| ours.iter().any(|other| parent(*pid) == Some(*other)))
            .collect(),
        "mos-warden" => ours
            .iter()
            .copied()
            .filter(|pid| !ours.iter().any(|other| parent(*other) == Some(*pid)))
            .collect(),
        _ => ours,
    }
}

fn is_ours(cluster: &Cluster, pid: u32, name: &str) -> bool {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let root = cluster
        .root(1)
        .parent()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    let command = read("cmdline");
    command.split(|byte| *byte == 0).next() == Some(name.as_bytes())
        && String::from_utf8_lossy(&read("environ")).contains(&format!("MOSIX_ROOT={root}/"))
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')')
        .next()?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

#[allow(dead_code, reason = "not every test kills")]
pub fn kill(pid: u32) {
    // It may have ended by itself.
    let _ = mos::sys::unix::kill(pid as i32, mos::sys::unix::SIGKILL);
}
