//! One row a system call of x86-64 Linux (up to 6.18), by families.

mod files;
mod ipc;
pub mod memory;
mod misc;
mod mounts;
mod process;
mod signals;
mod sockets;
mod time;

use std::sync::OnceLock;

use super::row::Row;

/// One more than the highest number that has a row.
pub const END: u64 = 470;

const FAMILIES: [&[Row]; 10] = [
    files::PATHS,
    files::DESCRIPTORS,
    ipc::ROWS,
    memory::ROWS,
    misc::ROWS,
    mounts::ROWS,
    process::ROWS,
    signals::ROWS,
    sockets::ROWS,
    time::ROWS,
];

/// All rows, sorted by number.
pub fn rows() -> &'static [Row] {
    static SORTED: OnceLock<Vec<Row>> = OnceLock::new();
    SORTED.get_or_init(|| {
        let mut rows: Vec<Row> = FAMILIES
            .iter()
            .flat_map(|family| family.iter().copied())
            .collect();
        rows.sort_by_key(|row| row.nr);
        rows
    })
}

/// The row of call `nr`; `None` for numbers that this kernel does not have.
pub fn find(nr: u64) -> Option<&'static Row> {
    static INDEX: OnceLock<Vec<Option<&'static Row>>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut index = vec![None; END as usize];
        for row in rows() {
            index[row.nr as usize] = Some(row);
        }
        index
    });
    index.get(usize::try_from(nr).ok()?).copied().flatten()
}
