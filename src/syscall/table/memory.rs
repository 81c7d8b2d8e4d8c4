//! Memory: almost all of it is the guest's own.

use crate::syscall::row::{HostCall, Row, Test, fwd, gone, home, host, local};
use crate::syscall::shape::Arg::*;

/// The flags of mmap: anonymous, private; no huge pages, not locked, not growing.
const ANONYMOUS: &[&[Test]] = &[&[Test {
    arg: 3,
    mask: 0x4_212f,
    value: 0x22,
}]];

const fn advice(value: u32) -> [Test; 1] {
    [Test {
        arg: 2,
        mask: u32::MAX,
        value,
    }]
}

/// Advice that leaves no mark, and drops nothing of a file's: normal, random, sequential, willneed, free, remove, hugepage,
/// nohugepage, cold, pageout, populate for reading and for writing, collapse.
const ADVICE: &[&[Test]] = &[
    &advice(0),
    &advice(1),
    &advice(2),
    &advice(3),
    &advice(8),
    &advice(9),
    &advice(14),
    &advice(15),
    &advice(20),
    &advice(21),
    &advice(22),
    &advice(23),
    &advice(25),
];

/// Advice that drops contents: dontneed, the same for locked pages.
pub const DROPS: [u64; 2] = [4, 24];

const OWN_PAGES: &[&[Test]] = &[&[Test {
    arg: 0,
    mask: u32::MAX,
    value: 0,
}]];

const KEYS: &str = "memory protection keys";
const LOCKED: &str = "locked memory";

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    host(9, "mmap", HostCall::MapFile).local_if(ANONYMOUS).note("files by the host; shared memory goes home"),
    local(10, "mprotect"),
    local(11, "munmap"),
    local(12, "brk"),
    local(25, "mremap"),
    local(26, "msync"),
    local(27, "mincore"),
    host(28, "madvise", HostCall::Advise).local_if(ADVICE).note("home remembers what is advised for good"),
    home(149, "mlock", LOCKED),
    local(150, "munlock"),
    home(151, "mlockall", LOCKED),
    local(152, "munlockall"),
    gone(134, "uselib"),
    home(216, "remap_file_pages", "non-linear file mapping"),
    local(237, "mbind"),
    local(238, "set_mempolicy"),
    local(239, "get_mempolicy"),
    fwd(256, "migrate_pages", &[]).note("of the home process"),
    home(279, "move_pages", "pages of chosen NUMA nodes").local_if(OWN_PAGES),
    home(323, "userfaultfd", "userfaultfd"),
    local(324, "membarrier"),
    home(325, "mlock2", LOCKED),
    home(329, "pkey_mprotect", KEYS),
    home(330, "pkey_alloc", KEYS),
    home(331, "pkey_free", KEYS),
    fwd(319, "memfd_create", &[Str(250)]),
    home(447, "memfd_secret", "secret memory"),
    local(450, "set_mempolicy_home_node"),
    home(453, "map_shadow_stack", "shadow stack"),
    home(462, "mseal", "sealed memory"),
];
