//! The guest's seccomp filter: memory, time and private futexes are its own kernel's; everything else is notified to the host.

use crate::sys::abi;
use crate::sys::seccomp::{self, Arg, Rule, Verdict};
use crate::syscall;

/// Calls that the guest's kernel makes, but of which the host must know: the signal mask changes, or files are mapped elsewhere.
const FOLLOWED: [u64; 2] = [abi::SYS_RT_SIGRETURN, abi::SYS_MREMAP];

/// Whether the filter notifies this call, of those that the host injects itself: what concerns a file.
pub fn is_notified(nr: u64, args: &[u64; 6]) -> bool {
    nr == abi::SYS_CLOSE || (nr == abi::SYS_MMAP && args[3] & abi::MAP_ANONYMOUS == 0)
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
    // Calls of 32-bit programs (`int 0x80`) are notified too: the host brings the process home for them.
    seccomp::program(&rules, Verdict::Notify, Verdict::Notify)
}
