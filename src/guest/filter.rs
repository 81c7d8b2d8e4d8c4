//! The guest's seccomp filter: memory, time and private futexes are its own kernel's; everything else is notified to the host.

use crate::sys::abi;
use crate::sys::seccomp::{self, Arg, Rule, Verdict};
use crate::syscall;

/// Calls that the guest's kernel makes, but of which the host must know: the signal mask changes, or what is mapped where.
const FOLLOWED: [u64; 4] = [
    abi::SYS_RT_SIGRETURN,
    abi::SYS_MMAP,
    abi::SYS_MUNMAP,
    abi::SYS_MREMAP,
];
/// Huge pages are a pool of this machine's, not the guest's to take.
const PLAIN_MASK: u32 =
    (abi::MAP_ANONYMOUS | abi::MAP_PRIVATE | abi::MAP_SHARED | abi::MAP_FIXED | abi::MAP_HUGETLB)
        as u32;
const PLAIN: u32 = (abi::MAP_ANONYMOUS | abi::MAP_PRIVATE) as u32;

/// Whether the filter notifies this call, of those that the host injects itself.
pub fn is_notified(nr: u64, args: &[u64; 6]) -> bool {
    let plain = nr == abi::SYS_MMAP && args[3] as u32 & PLAIN_MASK == PLAIN;
    FOLLOWED.contains(&nr) && !plain
}

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
            equals: PLAIN,
        }],
        verdict: Verdict::Allow,
    });
    // Calls of 32-bit programs (`int 0x80`) are notified too: the host brings the process home for them.
    seccomp::program(&rules, Verdict::Notify, Verdict::Notify)
}
