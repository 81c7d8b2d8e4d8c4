//! The rest: kernel administration, keys, security, calls that are gone.

use crate::syscall::row::{Restart::*, Row, fwd, gone, home, local, own};
use crate::syscall::shape::Arg::*;
use crate::syscall::shape::{Arg, Own, Size::*};

const V: Arg = Val;
const URING: &str = "io_uring";
const PROBE: &str = "probes of the kernel's own";

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    own(103, "syslog", Own::Syslog).waits(Begins),
    fwd(153, "vhangup", &[]),
    gone(156, "_sysctl"),
    own(169, "reboot", Own::Reboot),
    fwd(170, "sethostname", &[In(Int(1))]),
    fwd(171, "setdomainname", &[In(Int(1))]),
    gone(174, "create_module"),
    home(175, "init_module", "loading a kernel module"),
    fwd(176, "delete_module", &[Str(64)]),
    gone(177, "get_kernel_syms"),
    gone(178, "query_module"),
    gone(180, "nfsservctl"),
    gone(181, "getpmsg"),
    gone(182, "putpmsg"),
    gone(183, "afs_syscall"),
    gone(184, "tuxcall"),
    gone(185, "security"),
    gone(236, "vserver"),
    home(246, "kexec_load", "loading a kernel"),
    fwd(248, "add_key", &[Str(32), Path, In(Arg(3))]),
    fwd(249, "request_key", &[Str(32), Path, Path]).waits(Begins),
    own(250, "keyctl", Own::Keyctl).note("by operation; public keys go home"),
    home(298, "perf_event_open", "performance counters"),
    fwd(313, "finit_module", &[Fd, Path]),
    own(317, "seccomp", Own::Seccomp).note("filters go home"),
    local(318, "getrandom"),
    fwd(320, "kexec_file_load", &[Fd, Fd, V, In(Arg(2))]),
    home(321, "bpf", "bpf"),
    home(335, "uretprobe", PROBE),
    home(336, "uprobe", PROBE),
    home(425, "io_uring_setup", URING),
    home(426, "io_uring_enter", URING),
    home(427, "io_uring_register", URING),
    fwd(444, "landlock_create_ruleset", &[In(Arg(1))]),
    own(445, "landlock_add_rule", Own::LandlockRule),
    fwd(446, "landlock_restrict_self", &[Fd]),
    own(459, "lsm_get_self_attr", Own::LsmAttr),
    fwd(460, "lsm_set_self_attr", &[V, In(Int(2))]),
    own(461, "lsm_list_modules", Own::LsmAttr),
];
