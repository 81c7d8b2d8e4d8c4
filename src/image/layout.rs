//! Where everything of a guest goes, decided before anything is done.

use std::io;

use crate::image::{Area, FileArea, Kind, Meta, ranges};
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
    /// Protection while contents arrive. What is not accessible at all is often huge, and is never made accessible here; but common
    /// memory cannot be written by force.
    pub fn first_prot(&self) -> u32 {
        if self.prot == 0 && self.kind != Kind::Common {
            0
        } else {
            PROT_READ | PROT_WRITE
        }
    }

    /// The part of it between two addresses.
    fn part(&self, start: u64, end: u64) -> Place {
        let skipped = start - self.start;
        let file = self.file.map(|backed| Backed {
            offset: backed.offset + skipped,
            ..backed
        });
        Place {
            start,
            end,
            file,
            ..self.clone()
        }
    }

    /// Whether it is memory of the process's own only.
    pub fn is_anonymous(&self) -> bool {
        let normal = matches!(self.kind, Kind::Normal | Kind::Heap | Kind::Stack);
        normal && !self.shared && self.file.is_none()
    }

    fn maps_the_same(&self, other: &Place) -> bool {
        let is = |kind: Kind| (self.kind == kind) == (other.kind == kind);
        self.file == other.file && is(Kind::Stack) && is(Kind::Common)
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

/// Whether a guest that is being built from one image can be made that of another of the same process, later: not if another program
/// was started meanwhile, or mos got another place in it.
pub fn continues(before: &Meta, after: &Meta) -> bool {
    let kernels = |meta: &Meta| -> Vec<Area> {
        let mut areas = meta.areas.clone();
        areas.retain(|area| matches!(area.kind, Kind::Vdso | Kind::Vvar));
        areas
    };
    let fixed = |meta: &Meta| (meta.stub, meta.stack_limit, meta.vdso_hash.clone());
    (&before.home, &before.comm, fixed(before)) == (&after.home, &after.comm, fixed(after))
        && kernels(before) == kernels(after)
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
            Some(_) if area.kind == Kind::Common => {
                return Err(bad("map a file that is common memory"));
            }
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

/// What makes one layout of a guest that is being built another. Ranges ascend.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub unmap: Vec<(u64, u64)>,
    pub map: Vec<Place>,
    /// To be accessible while contents arrive, or no longer.
    pub protect: Vec<Place>,
    /// What stays, and may keep what it has.
    pub kept: Vec<(u64, u64)>,
}

/// Compares two layouts. Views of files are mapped last of all, and the kernel's areas never change: neither is considered.
pub fn changes(now: &[Place], wanted: &[Place]) -> Changes {
    let here = |place: &&Place| !place.shared && !matches!(place.kind, Kind::Vdso | Kind::Vvar);
    let now: Vec<&Place> = now.iter().filter(here).collect();
    let wanted: Vec<&Place> = wanted.iter().filter(here).collect();
    let mut points: Vec<u64> = now
        .iter()
        .chain(&wanted)
        .flat_map(|place| [place.start, place.end])
        .collect();
    points.sort_unstable();
    points.dedup();
    let mut changes = Changes::default();
    for pair in points.windows(2) {
        let at = |places: &[&Place]| {
            let next = places.partition_point(|place| place.end <= pair[0]);
            let place = places.get(next).filter(|place| place.start <= pair[0]);
            place.map(|place| place.part(pair[0], pair[1]))
        };
        match (at(&now), at(&wanted)) {
            (None, None) => {}
            (Some(_), None) => ranges::push(&mut changes.unmap, (pair[0], pair[1])),
            (None, Some(place)) => changes.map.push(place),
            (Some(is), Some(place)) if is.maps_the_same(&place) => {
                ranges::push(&mut changes.kept, (pair[0], pair[1]));
                if is.first_prot() != place.first_prot() {
                    changes.protect.push(place);
                }
            }
            (Some(_), Some(place)) => {
                ranges::push(&mut changes.unmap, (pair[0], pair[1]));
                changes.map.push(place);
            }
        }
    }
    changes
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

    #[test]
    fn a_layout_becomes_another() {
        let of = |areas: &[(u64, u64, Kind)]| places(&meta(areas)).unwrap();
        let (a, b, c) = (0x10_0000, 0x20_0000, 0x30_0000);
        let before = of(&[(a, b, Kind::Normal)]);
        let mut after = of(&[(a, a + 0x1000, Kind::Normal), (b - 0x1000, c, Kind::Heap)]);
        assert_eq!(
            changes(&before, &before).kept,
            [(a, b)],
            "what is the same stays"
        );
        let plan = changes(&before, &after);
        assert_eq!(plan.kept, [(a, a + 0x1000), (b - 0x1000, b)]);
        assert_eq!(plan.unmap, [(a + 0x1000, b - 0x1000)]);
        let mapped: Vec<_> = plan
            .map
            .iter()
            .map(|place| (place.start, place.end))
            .collect();
        assert_eq!(mapped, [(b, c)]);
        assert!(plan.protect.is_empty());
        after[0].prot = 0;
        let file = Backed {
            file: 0,
            offset: 0x7000,
        };
        after[1].file = Some(file);
        let plan = changes(&before, &after);
        assert_eq!(plan.protect.len(), 1);
        assert_eq!(plan.unmap, [(a + 0x1000, b)]);
        assert_eq!(plan.map[1].file.unwrap().offset, 0x8000);
    }
}
