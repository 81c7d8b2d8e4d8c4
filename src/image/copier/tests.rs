use super::*;
use crate::image::pages::{Piece, read_head};
use crate::sys::pagemap::PAGE;
use crate::sys::writes::OPEN;
use crate::sys::{mem, trial};

const PAGES: u64 = 16;

/// Memory of this very process, and a copier of it.
fn memory(files: Files) -> (Area, Copier) {
    let pid = std::process::id() as i32;
    let (nr, flags) = OPEN;
    let fd = trial::own(trial::call(nr, [flags, 0, 0, 0, 0, 0]) as i32);
    let base = trial::map(PAGES * PAGE, 3);
    let area = Area {
        start: base,
        end: base + PAGES * PAGE,
        prot: 3,
        ..Area::default()
    };
    let watch = Arc::new(WriteWatch::new(fd).unwrap());
    (area, Copier::new(pid, files, Some(watch)))
}

fn write(area: &Area, page: u64, value: u8) {
    let pid = std::process::id() as i32;
    mem::write_all(pid, area.start + page * PAGE, &[value]).unwrap();
}

/// The pieces, each with the first bytes of its pages.
fn pieces(mut stream: &[u8]) -> Vec<(Piece, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(head) = read_head(&mut stream).unwrap() {
        let mut all_contents = Vec::new();
        head.read_contents(&mut stream, 0, &mut all_contents)
            .unwrap();
        let mut contents = &all_contents[..];
        for piece in head.pieces {
            let len = if piece.follows() {
                piece.len as usize
            } else {
                0
            };
            let (own, rest) = contents.split_at(len);
            all.push((piece, own.iter().step_by(PAGE as usize).copied().collect()));
            contents = rest;
        }
    }
    all
}

/// What a receiver would have: page, first byte.
fn apply(area: &Area, stream: &[u8], have: &mut Vec<(u64, u8)>, last: bool) {
    let mut now = Vec::new();
    for (piece, values) in pieces(stream) {
        let first = (piece.addr - area.start) / PAGE;
        for page in first..first + u64::from(piece.len) / PAGE {
            let before = have.iter().find(|(at, _)| *at == page).copied();
            have.retain(|(at, _)| *at != page);
            match piece.kept {
                true => now.extend(before),
                false if piece.zero => {}
                false => now.push((page, values[(page - first) as usize])),
            }
        }
    }
    if last {
        have.clear();
    }
    have.extend(now);
    have.sort_unstable();
}

#[test]
fn rounds_bring_what_was_written_and_drop_what_is_gone() {
    let (area, mut copier) = memory(Files::Send);
    let areas = [area.clone()];
    let mut have = Vec::new();
    let round = |copier: &mut Copier, have: &mut Vec<(u64, u8)>| {
        let mut stream = Vec::new();
        let look = copier.look(&areas).unwrap();
        copier.send_round(&areas, &look, &mut stream).unwrap();
        apply(&areas[0], &stream, have, false);
        look.bytes() / PAGE
    };
    for page in 2..6 {
        write(&area, page, page as u8);
    }
    assert_eq!(round(&mut copier, &mut have), 4);
    assert_eq!(have, [(2, 2), (3, 3), (4, 4), (5, 5)]);
    write(&area, 3, 0);
    write(&area, 9, 9);
    assert_eq!(round(&mut copier, &mut have), 2);
    assert_eq!(have, [(2, 2), (4, 4), (5, 5), (9, 9)]);
    assert_eq!(round(&mut copier, &mut have), 0);
    // Dropped by the program; and other memory in the place of a part.
    const MADVISE: u64 = 28;
    const MMAP: u64 = 9;
    let at = |page: u64| area.start + page * PAGE;
    assert_eq!(trial::call(MADVISE, [at(4), PAGE, 4, 0, 0, 0]), 0);
    write(&area, 10, 10);
    let fixed = trial::call(MMAP, [at(5), 2 * PAGE, 3, 0x32, u64::MAX, 0]);
    assert_eq!(fixed as u64, at(5));
    write(&area, 6, 6);
    let part = |from: u64, to: u64| Area {
        start: at(from),
        end: at(to),
        ..area.clone()
    };
    let areas = [part(0, 5), part(5, 7), part(7, PAGES)];
    let look = copier.look_stopped(&areas).unwrap();
    assert_eq!(look.bytes() / PAGE, 2);
    let mut stream = Vec::new();
    copier.send_last(&areas, &look, &mut stream).unwrap();
    apply(&area, &stream, &mut have, true);
    assert_eq!(have, [(2, 2), (6, 6), (9, 9), (10, 10)]);
}

#[test]
fn home_is_told_what_has_become_zero() {
    let (area, copier) = memory(Files::SendCopies);
    let areas = [area.clone()];
    let mut copier = copier.with_home(vec![(area.start, area.end)]);
    write(&area, 1, 7);
    write(&area, 2, 7);
    copier
        .watch
        .as_ref()
        .unwrap()
        .add(area.start, area.end)
        .unwrap();
    let map = Pagemap::open(copier.pid).unwrap();
    map.take_written(area.start, area.end).unwrap();
    let mut home = vec![(1, 7), (2, 7), (3, 7)];
    write(&area, 2, 0);
    copier.begin(copier.pid, Files::There);
    let mut stream = Vec::new();
    let look = copier.look(&areas).unwrap();
    copier.send_round(&areas, &look, &mut stream).unwrap();
    apply(&area, &stream, &mut home, false);
    let mut stream = Vec::new();
    let look = copier.look_stopped(&areas).unwrap();
    assert_eq!(look.bytes(), 0);
    copier.send_last(&areas, &look, &mut stream).unwrap();
    apply(&area, &stream, &mut home, true);
    assert_eq!(home, [(1, 7)]);
    assert_eq!(total(copier.home_has()), (PAGES - 1) * PAGE);
}

#[test]
fn files_are_sent_once_and_apart_from_what_covers_them() {
    let (mut area, mut copier) = memory(Files::SendCopies);
    for page in [2, 3, 7] {
        write(&area, page, page as u8);
    }
    area.file = Some(FileArea::default());
    let areas = [area];
    let all = |copier: &mut Copier| {
        let mut stream = Vec::new();
        let look = copier.look_stopped(&areas).unwrap();
        copier.send_last(&areas, &look, &mut stream).unwrap();
        pieces(&stream)
    };
    let pages = |pieces: &[(Piece, Vec<u8>)], file: bool, zero: bool| -> u64 {
        let alike = pieces.iter().map(|(piece, _)| piece);
        let alike = alike.filter(|piece| (piece.file, piece.zero) == (file, zero));
        alike.map(|piece| u64::from(piece.len)).sum::<u64>() / PAGE
    };
    let sent = all(&mut copier);
    assert_eq!(
        (pages(&sent, true, true), pages(&sent, false, false)),
        (PAGES, 3)
    );
    let again = all(&mut copier);
    assert_eq!(
        (pages(&again, true, true), pages(&again, false, false)),
        (3, 3)
    );
    copier.files = Files::There;
    let own: Vec<_> = again.into_iter().filter(|(piece, _)| !piece.file).collect();
    assert_eq!(all(&mut copier), own);
}
