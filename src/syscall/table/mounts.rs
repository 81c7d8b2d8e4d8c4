//! Mounts, quotas and what else is about whole file systems.

use crate::syscall::row::{Row, fwd, own};
use crate::syscall::shape::Arg::*;
use crate::syscall::shape::{Arg, Own, Size::*};

const V: Arg = Val;

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    fwd(155, "pivot_root", &[Path, Path]),
    fwd(162, "sync", &[]),
    fwd(163, "acct", &[Path]),
    own(165, "mount", Own::Mount),
    fwd(166, "umount2", &[Path]),
    fwd(167, "swapon", &[Path]),
    fwd(168, "swapoff", &[Path]),
    own(179, "quotactl", Own::Quotactl),
    fwd(428, "open_tree", &[Fd, Path]),
    fwd(429, "move_mount", &[Fd, Path, Fd, Path]),
    fwd(430, "fsopen", &[Path]),
    own(431, "fsconfig", Own::FsConfig),
    fwd(432, "fsmount", &[Fd]),
    fwd(433, "fspick", &[Fd, Path]),
    fwd(442, "mount_setattr", &[Fd, Path, V, In(Arg(4))]),
    own(443, "quotactl_fd", Own::Quotactl),
    own(457, "statmount", Own::StatMount),
    fwd(458, "listmount", &[In(Head), Units(2, 8, 0x1_0000)]),
    fwd(467, "open_tree_attr", &[Fd, Path, V, In(Arg(4))]),
];
