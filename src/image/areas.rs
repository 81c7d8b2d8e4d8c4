//! The areas of a process's memory.

use std::io;

use crate::image::{Area, FileArea, Kind};
use crate::sys::pagemap::{self, PAGE};
use crate::sys::procfs::{self, Mapping};

const PROT_READ: u32 = 1;
const PROT_WRITE: u32 = 2;
const PROT_EXEC: u32 = 4;

/// All areas of a process, ascending. The stub's range is not told from others here.
pub fn areas(pid: i32) -> io::Result<Vec<Area>> {
    Ok(procfs::maps(pid)?.into_iter().map(area).collect())
}

/// All areas of a guest. Those that the kernel cannot name (a copied vDSO) are named as in the image that it was built from, and
/// the stack, which was given all its room at once, begins where it is used.
pub fn of_guest(pid: i32, built_from: &[Area]) -> io::Result<Vec<Area>> {
    let mut areas = areas(pid)?;
    for area in &mut areas {
        let named = |known: &&Area| known.start <= area.start && area.end <= known.end;
        match (area.kind, built_from.iter().find(named)) {
            (Kind::Normal, Some(known)) if matches!(known.kind, Kind::Vdso | Kind::Vvar) => {
                area.kind = known.kind;
            }
            (Kind::Stack, _) => area.start = used_stack(pid, area, built_from)?,
            _ => {}
        }
    }
    Ok(areas)
}

/// While a process runs, areas may change between one and the next that is read: those that seem to overlap are left out.
pub fn ascending(mut areas: Vec<Area>) -> Vec<Area> {
    let mut end = 0;
    areas.retain(|area| {
        let behind = end <= area.start;
        end = end.max(area.end);
        behind
    });
    areas
}

fn used_stack(pid: i32, area: &Area, built_from: &[Area]) -> io::Result<u64> {
    let first = pagemap::present(pid, area.start, area.end)?;
    let lowest = first.first().map_or(area.end - PAGE, |range| range.0);
    let was = built_from.iter().find(|known| known.kind == Kind::Stack);
    Ok(was
        .map_or(lowest, |known| known.start.min(lowest))
        .max(area.start))
}

fn area(map: Mapping) -> Area {
    let bit = |set: bool, value: u32| if set { value } else { 0 };
    let kind = match is_common(&map) {
        true => Kind::Common,
        false => kind(&map.name),
    };
    let backed = (map.inode != 0 || map.name.starts_with('/')) && kind != Kind::Common;
    Area {
        start: map.start,
        end: map.end,
        prot: bit(map.read, PROT_READ) | bit(map.write, PROT_WRITE) | bit(map.exec, PROT_EXEC),
        kind,
        shared: map.shared && kind != Kind::Common && !is_for_monitors(&map.name),
        file: backed.then_some(FileArea {
            path: map.name,
            offset: map.offset,
            dev: map.dev,
            inode: map.inode,
        }),
    }
}

/// Shared memory that has no name: only forks of the process that made it can have it too.
pub(super) fn is_common(map: &Mapping) -> bool {
    map.shared && (map.name == "/dev/zero (deleted)" || map.name.starts_with("[anon_shmem:"))
}

/// Whether others look at a file as a meter only: the counters of a Java machine, which it alone writes, and never reads as
/// another's. A copy of them may travel; the file is true again when the process is at home.
pub fn is_for_monitors(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let number = parts.next().unwrap_or_default();
    let directory = parts.next().unwrap_or_default();
    !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && directory.starts_with("hsperfdata_")
}

fn kind(name: &str) -> Kind {
    match name {
        "[heap]" => Kind::Heap,
        "[stack]" => Kind::Stack,
        "[vdso]" => Kind::Vdso,
        "[vsyscall]" => Kind::Vsyscall,
        _ if name.starts_with("[vvar") => Kind::Vvar,
        _ => Kind::Normal,
    }
}

impl FileArea {
    /// Whether both are parts of the same file.
    pub fn is_of(&self, other: &FileArea) -> bool {
        (self.dev, self.inode, &self.path) == (other.dev, other.inode, &other.path)
    }
}

impl Area {
    /// Bytes.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// Whether it is the program's own: neither the kernel's nor ours.
    pub fn is_program(&self) -> bool {
        matches!(
            self.kind,
            Kind::Normal | Kind::Heap | Kind::Stack | Kind::Common
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_for_monitors_are_known_by_their_place() {
        assert!(is_for_monitors("/tmp/hsperfdata_user/4711"));
        for other in [
            "/tmp/hsperfdata_user/",
            "/tmp/user/4711",
            "/tmp/hsperfdata_user/47x",
            "4711",
            "",
        ] {
            assert!(!is_for_monitors(other), "{other}");
        }
    }

    #[test]
    fn own_areas_have_their_kinds() {
        let areas = areas(std::process::id() as i32).unwrap();
        for kind in [Kind::Stack, Kind::Vdso, Kind::Vvar] {
            assert!(areas.iter().any(|area| area.kind == kind), "{kind:?}");
        }
        let local = 0u8;
        let here = &raw const local as u64;
        let mine = areas
            .iter()
            .find(|area| (area.start..area.end).contains(&here))
            .unwrap();
        assert_eq!(mine.prot & 3, 3);
        assert!(areas.iter().any(|area| area.file.is_some()));
    }
}
