//! The guest's seccomp filter: memory, time and private futexes are its own kernel's; everything else is notified to the host.

use crate::sys::abi;
use crate::sys::seccomp::{self, Arg, Rule, Verdict};
use crate::syscall;

/// Sixth argument of a mapping call that the host injects. The kernel does not look at it (it is the offset of a mapping without a
/// file); a guest that uses it maps and unmaps memory unnoticed, which harms itself only.
pub const INJECTED: u64 = 0x4d4f_5000;
/// Calls that the guest's kernel makes, but of which the host must know: the signal mask changes, or what is mapped where.
const FOLLOWED: [u64; 4] = [
    abi::SYS_RT_SIGRETURN,
    abi::SYS_MMAP,
    abi::SYS_MUNMAP,
    abi::SYS_MREMAP,
];
const PLAIN_MASK: u32 =
    (abi::MAP_ANONYMOUS | abi::MAP_PRIVATE | abi::MAP_SHARED | abi::MAP_FIXED) as u32;

/// The filter's program, ready to be installed by injection.
pub fn program() -> Vec<u8> {
    let rules: Vec<Rule> = syscall::filter_rules()
        .into_iter()
        .filter(|rule| !FOLLOWED.contains(&u64::from(rule.nr)))
        .map(|rule| Rule {
            nr: u64::from(rule.nr),
            tests: rule
                .tests
                .iter()
                .map(|test| Arg {
                    at: test.arg as usize,
                    mask: test.mask,
                    equals: test.value,
                })
                .collect(),
            verdict: Verdict::Allow,
        })
        .collect();
    let mut rules = rules;
    // Anonymous private memory where nothing was mapped before.
    rules.push(Rule {
        nr: abi::SYS_MMAP,
        tests: vec![Arg {
            at: 3,
            mask: PLAIN_MASK,
            equals: (abi::MAP_ANONYMOUS | abi::MAP_PRIVATE) as u32,
        }],
        verdict: Verdict::Allow,
    });
    // The host's own, by injection.
    for nr in [abi::SYS_MMAP, abi::SYS_MUNMAP] {
        let marked = Arg {
            at: 5,
            mask: !0,
            equals: INJECTED as u32,
        };
        rules.push(Rule {
            nr,
            tests: vec![marked],
            verdict: Verdict::Allow,
        });
    }
    seccomp::program(&rules, Verdict::Notify, Verdict::Kill)
}
