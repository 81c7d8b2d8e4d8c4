//! Memory: almost all of it is the guest's own.

use crate::syscall::row::{HostCall, Row, Test, fwd, gone, home, host, local};
use crate::syscall::shape::Arg::*;

/// The flags of mmap: anonymous, private, no huge pages.
const ANONYMOUS: &[&[Test]] = &[&[Test {
    arg: 3,
    mask: 0x4_002f,
    value: 0x22,
}]];

const fn advice(value: u32) -> [Test; 1] {
    [Test {
        arg: 2,
        mask: u32::MAX,
        value,
    }]
}

/// Advice that changes no contents, or only in ways that are the same for private memory of any kind.
const ADVICE: &[&[Test]] = &[
    &advice(0),
    &advice(1),
    &advice(2),
    &advice(3),
    &advice(8),
    &advice(14),
    &advice(15),
    &advice(16),
    &advice(17),
    &advice(20),
    &advice(21),
    &advice(22),
    &advice(23),
    &advice(25),
];

const OWN_PAGES: &[&[Test]] = &[&[Test {
    arg: 0,
    mask: u32::MAX,
    value: 0,
}]];

const KEYS: &str = "memory protection keys";

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    host(9, "mmap", HostCall::MapFile).local_if(ANONYMOUS).note("files by the host; writable shared memory goes home"),
    local(10, "mprotect"),
    local(11, "munmap"),
    local(12, "brk"),
    local(25, "mremap"),
    host(26, "msync", HostCall::MSync),
    local(27, "mincore"),
    host(28, "madvise", HostCall::Advise).local_if(ADVICE).note("what drops contents is the host's"),
    local(149, "mlock"),
    local(150, "munlock"),
    local(151, "mlockall"),
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
    local(325, "mlock2"),
    home(329, "pkey_mprotect", KEYS),
    home(330, "pkey_alloc", KEYS),
    home(331, "pkey_free", KEYS),
    fwd(319, "memfd_create", &[Str(250)]),
    home(447, "memfd_secret", "secret memory"),
    local(450, "set_mempolicy_home_node"),
    home(453, "map_shadow_stack", "shadow stack"),
    home(462, "mseal", "sealed memory"),
];
