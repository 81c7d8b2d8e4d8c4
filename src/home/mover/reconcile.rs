//! The areas of a home process against those of its image: what must be mapped, unmapped or protected anew. Pure.

use crate::image::{Area, FileArea, Kind};

/// What makes the areas of a process equal to those of an image. Ranges are in ascending order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub unmap: Vec<(u64, u64)>,
    /// New anonymous areas, replacing whatever is there.
    pub map: Vec<Area>,
    pub protect: Vec<(u64, u64, u32)>,
    /// What stays: contents can be written at once. Second: whether a private file lies under it; shared areas are not listed.
    pub kept: Vec<((u64, u64), bool)>,
    /// Where the image maps a file and the process does not: that cannot be, as the deputy maps what its guest maps.
    pub lacking: Vec<(u64, u64)>,
}

/// Areas that a move never touches.
fn fixed(area: &Area) -> bool {
    matches!(
        area.kind,
        Kind::Vdso | Kind::Vvar | Kind::Vsyscall | Kind::Stub
    )
}

/// Compares the areas of the process now with the wanted ones. `reserved` (the stub and what lies behind it) stays out.
pub fn plan(now: &[Area], wanted: &[Area], reserved: (u64, u64)) -> Plan {
    let inside =
        |area: &&Area| !fixed(area) && (area.end <= reserved.0 || reserved.1 <= area.start);
    let now: Vec<&Area> = now.iter().filter(inside).collect();
    let wanted: Vec<&Area> = wanted.iter().filter(inside).collect();
    let mut points: Vec<u64> = now
        .iter()
        .chain(&wanted)
        .flat_map(|area| [area.start, area.end])
        .collect();
    points.sort_unstable();
    points.dedup();
    let mut plan = Plan::default();
    let (mut at_now, mut at_wanted) = (0, 0);
    for pair in points.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        let is = covering(&now, &mut at_now, start);
        let should = covering(&wanted, &mut at_wanted, start);
        plan.interval(start, end, is, should);
    }
    plan
}

/// The area of a sorted list that covers `start`, moving a cursor along.
fn covering<'a>(areas: &[&'a Area], cursor: &mut usize, start: u64) -> Option<&'a Area> {
    while *cursor < areas.len() && areas[*cursor].end <= start {
        *cursor += 1;
    }
    areas
        .get(*cursor)
        .copied()
        .filter(|area| area.start <= start)
}

impl Plan {
    fn interval(&mut self, start: u64, end: u64, is: Option<&Area>, should: Option<&Area>) {
        match (is, should) {
            (None, None) => {}
            (Some(_), None) => push_range(&mut self.unmap, start, end),
            (Some(is), Some(should)) if same_backing(is, should, start) => {
                if is.prot != should.prot {
                    self.protect.push((start, end, should.prot));
                }
                if !is.shared {
                    self.kept.push(((start, end), is.file.is_some()));
                }
            }
            (_, Some(should)) if should.file.is_some() => push_range(&mut self.lacking, start, end),
            (_, Some(should)) => self.map.push(Area {
                start,
                end,
                file: None,
                shared: false,
                ..should.clone()
            }),
        }
    }
}

fn push_range(ranges: &mut Vec<(u64, u64)>, start: u64, end: u64) {
    match ranges.last_mut() {
        Some(last) if last.1 == start => last.1 = end,
        _ => ranges.push((start, end)),
    }
}

/// Which file it is need not be compared: the process maps every file that its image does, in the same order. (The names that a
/// host gives them are not always those of `/proc/PID/maps`.)
fn same_backing(is: &Area, should: &Area, at: u64) -> bool {
    let place = |area: &Area, file: &FileArea| file.offset + (at - area.start);
    let file = |area: &Area| area.file.as_ref().map(|file| place(area, file));
    let common = |area: &Area| area.kind == Kind::Common;
    is.shared == should.shared && common(is) == common(should) && file(is) == file(should)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(start: u64, end: u64, prot: u32) -> Area {
        Area {
            start,
            end,
            prot,
            ..Area::default()
        }
    }

    fn file(start: u64, end: u64, offset: u64) -> Area {
        let file = FileArea {
            path: "f".into(),
            offset,
            dev: 1,
            inode: 2,
        };
        Area {
            file: Some(file),
            ..area(start, end, 1)
        }
    }

    #[test]
    fn equal_maps_need_nothing() {
        let areas = [area(0, 10, 3), file(20, 30, 0)];
        let plan = plan(&areas, &areas, (100, 200));
        assert_eq!(
            (plan.unmap, plan.map, plan.protect),
            (vec![], vec![], vec![])
        );
        assert_eq!(plan.kept, [((0, 10), false), ((20, 30), true)]);
    }

    #[test]
    fn parts_are_unmapped_mapped_and_protected() {
        let now = [area(0, 30, 3), area(40, 50, 3)];
        let wanted = [area(0, 10, 1), area(20, 45, 3)];
        let plan = plan(&now, &wanted, (100, 200));
        assert_eq!(plan.unmap, [(10, 20), (45, 50)]);
        assert_eq!(plan.protect, [(0, 10, 1)]);
        assert_eq!(
            plan.map
                .iter()
                .map(|a| (a.start, a.end))
                .collect::<Vec<_>>(),
            [(30, 40)]
        );
    }

    #[test]
    fn another_offset_of_a_file_is_another_backing() {
        let shifted = plan(&[file(0, 10, 0)], &[file(0, 10, 5)], (100, 200));
        assert_eq!((shifted.map, shifted.lacking), (vec![], vec![(0, 10)]));
        let split = plan(&[file(0, 10, 0)], &[file(5, 10, 5)], (100, 200));
        assert_eq!((split.unmap, split.map), (vec![(0, 5)], vec![]));
    }

    #[test]
    fn the_stub_is_left_alone() {
        let plan = plan(&[area(100, 150, 7)], &[], (100, 200));
        assert_eq!(plan, Plan::default());
    }
}
