//! Where everything of a guest goes, decided before anything is done.

use std::io;

use crate::image::{Area, FileArea, Kind, Meta};
use crate::sys::pagemap::PAGE;
use crate::wire::channel::STUB_SIZE;

/// Just past the highest address that a program can use.
pub const TASK_END: u64 = 0x7fff_ffff_f000;
/// Most areas that the kernel allows by default, roughly.
const MAX_AREAS: usize = 65_000;
/// From the stub's base on this much is ours.
const STUB_ROOM: u64 = 1 << 30;
/// Distance below the stack that stays free, as the kernel keeps it.
const STACK_GUARD: u64 = 1 << 20;
/// Files are not longer.
const MAX_OFFSET: u64 = 1 << 62;
/// More stack than this is not reserved.
const MAX_STACK: u64 = 128 << 20;

const PROT_WRITE: u32 = 2;
const PROT_READ: u32 = 1;

/// One area to be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub start: u64,
    pub end: u64,
    pub prot: u32,
    pub kind: Kind,
    /// What it maps.
    pub file: Option<Backed>,
    /// It is a view of its file, not a copy.
    pub shared: bool,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backed {
    /// Which of [`files`].
    pub file: usize,
    pub offset: u64,
}

impl Place {
    /// Protection while contents arrive. What is not accessible at all is often huge, and is never made accessible here.
    pub fn first_prot(&self) -> u32 {
        if self.prot == 0 {
            0
        } else {
            PROT_READ | PROT_WRITE
        }
    }
}

/// The files that areas map, each once.
pub fn files(areas: &[Area]) -> Vec<FileArea> {
    let mut files: Vec<FileArea> = Vec::new();
    for file in areas.iter().filter_map(|area| area.file.as_ref()) {
        if !files.iter().any(|known| known.is_of(file)) {
            files.push(FileArea {
                offset: 0,
                ..file.clone()
            });
        }
    }
    files
}

/// The program's areas of a guest, ascending; checked, so that nothing from the wire can touch anything but them.
pub fn places(meta: &Meta) -> io::Result<Vec<Place>> {
    let bad = |what: &str| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the image's areas {what}"),
        )
    };
    if meta.areas.len() > MAX_AREAS {
        return Err(bad("are too many"));
    }
    if !meta.stub.is_multiple_of(PAGE) || meta.stub == 0 || meta.stub >= TASK_END - STUB_ROOM {
        return Err(bad("have no place for calls"));
    }
    let files = files(&meta.areas);
    let mut places: Vec<Place> = Vec::with_capacity(meta.areas.len());
    for area in meta.areas.iter().filter(|area| mapped(area)) {
        let after = places.last().map_or(PAGE, |last| last.end);
        let aligned = area.start.is_multiple_of(PAGE) && area.end.is_multiple_of(PAGE);
        if !aligned || area.start >= area.end || area.start < after || area.end > TASK_END {
            return Err(bad("overlap or have no size"));
        }
        if area.start < meta.stub + STUB_SIZE && meta.stub < area.end {
            return Err(bad("overlap the stub"));
        }
        let file = match &area.file {
            Some(file) if !file.offset.is_multiple_of(PAGE) || file.offset > MAX_OFFSET => {
                return Err(bad("map files where there is none"));
            }
            Some(file) => files
                .iter()
                .position(|known| known.is_of(file))
                .map(|at| Backed {
                    file: at,
                    offset: file.offset,
                }),
            None => None,
        };
        if area.shared && (file.is_none() || area.prot & PROT_WRITE != 0) {
            return Err(bad("share memory"));
        }
        let start = match area.kind {
            Kind::Stack => stack_start(area, after, meta),
            _ => area.start,
        };
        places.push(Place {
            start,
            end: area.end,
            prot: area.prot & 7,
            kind: area.kind,
            file,
            shared: area.shared,
        });
    }
    Ok(places)
}

fn mapped(area: &Area) -> bool {
    area.is_program() || matches!(area.kind, Kind::Vdso | Kind::Vvar)
}

/// The stack gets all that it may grow to at once: unlike at home, the kernel would place new mappings there.
fn stack_start(area: &Area, after: u64, meta: &Meta) -> u64 {
    let may = meta
        .stack_limit
        .0
        .clamp(area.len(), MAX_STACK.max(area.len()))
        / PAGE
        * PAGE;
    let stub_end = meta.stub + STUB_SIZE;
    let floor = if stub_end <= area.start {
        after.max(stub_end)
    } else {
        after
    };
    area.end
        .saturating_sub(may)
        .max(floor + STACK_GUARD)
        .min(area.start)
}

/// The place that holds a whole range.
pub fn holding(places: &[Place], start: u64, len: u64) -> Option<&Place> {
    let at = places.partition_point(|place| place.end <= start);
    let end = start.checked_add(len)?;
    places
        .get(at)
        .filter(|place| place.start <= start && end <= place.end)
}

/// Ranges of the address space outside of some others (ascending, disjoint).
pub fn outside(kept: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut at = 0;
    let mut rest = Vec::new();
    for (start, end) in kept {
        if at < *start {
            rest.push((at, *start));
        }
        at = *end;
    }
    if at < TASK_END {
        rest.push((at, TASK_END));
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(areas: &[(u64, u64, Kind)]) -> Meta {
        let areas = areas.iter().map(|(start, end, kind)| Area {
            start: *start,
            end: *end,
            prot: 3,
            kind: *kind,
            ..Area::default()
        });
        Meta {
            stub: 0x2f00_0000_0000,
            areas: areas.collect(),
            stack_limit: (8 << 20, u64::MAX),
            ..Meta::default()
        }
    }

    #[test]
    fn areas_from_the_wire_are_checked() {
        let normal = Kind::Normal;
        assert!(places(&meta(&[(0x1000, 0x2000, normal), (0x2000, 0x3000, normal)])).is_ok());
        assert!(places(&meta(&[(0x1000, 0x3000, normal), (0x2000, 0x4000, normal)])).is_err());
        assert!(places(&meta(&[(0, 0x1000, normal)])).is_err());
        assert!(places(&meta(&[(0x1000, 0x1800, normal)])).is_err());
        assert!(places(&meta(&[(0x1000, u64::MAX - 0xfff, normal)])).is_err());
        assert!(places(&meta(&[(0x2f00_0000_0000, 0x2f00_0000_1000, normal)])).is_err());
        assert!(
            places(&Meta {
                stub: 0,
                ..Meta::default()
            })
            .is_err()
        );
    }

    #[test]
    fn the_stack_gets_its_room() {
        let end = 0x7ffc_0000_0000;
        let alone = places(&meta(&[(end - 0x21000, end, Kind::Stack)])).unwrap();
        assert_eq!(alone[0].start, end - (8 << 20));
        let below = end - (2 << 20);
        let near = places(&meta(&[
            (below - 0x1000, below, Kind::Normal),
            (end - 0x21000, end, Kind::Stack),
        ]))
        .unwrap();
        assert_eq!(near[1].start, below + STACK_GUARD);
    }

    #[test]
    fn ranges_lie_in_one_place() {
        let places = places(&meta(&[
            (0x1000, 0x2000, Kind::Normal),
            (0x2000, 0x3000, Kind::Heap),
        ]))
        .unwrap();
        assert_eq!(holding(&places, 0x2000, 0x1000).unwrap().kind, Kind::Heap);
        assert!(holding(&places, 0x1800, 0x1000).is_none());
        assert!(holding(&places, 0x3000, 1).is_none());
        assert!(holding(&places, 0x1000, u64::MAX).is_none());
        assert_eq!(outside(&[(5, 9), (9, 12)]), [(0, 5), (12, TASK_END)]);
    }
}
