//! The seccomp filter of a `mosrun` tree. All that it does not name costs nothing but the kernel's cached "allow".

use crate::sys::abi;
use crate::sys::seccomp::{Arg, Rule, Verdict};

/// Flags with which the program interface is opened (manual, mosix(7)): the access mode, `O_CREAT` and `O_LARGEFILE`, nothing else.
/// Libraries open with `O_CLOEXEC` and are not slowed down.
const INTERFACE_FLAGS: u32 = 0o3 | 0o100 | 0o100000;
const AT_FDCWD: u32 = -100i32 as u32;

/// What is notified to the warden: opens that may be of the program interface. Nothing else: a call that waits for its notification
/// to be received can be interrupted by a signal, and must be one for which `EINTR` is no surprise.
pub fn rules() -> Vec<Rule> {
    let interface = |at: usize| Arg {
        at,
        mask: !INTERFACE_FLAGS,
        equals: 0,
    };
    vec![
        Rule {
            nr: abi::SYS_OPEN,
            tests: vec![interface(1)],
            verdict: Verdict::Notify,
        },
        Rule {
            nr: abi::SYS_OPENAT,
            tests: vec![
                Arg {
                    at: 0,
                    mask: !0,
                    equals: AT_FDCWD,
                },
                interface(2),
            ],
            verdict: Verdict::Notify,
        },
    ]
}
