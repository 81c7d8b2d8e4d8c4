//! The guest's seccomp filter: memory, time and private futexes are its own kernel's; everything else is notified to the host.

use crate::sys::abi;
use crate::sys::seccomp::{self, Arg, Rule, Verdict};
use crate::syscall;

/// The filter's program, ready to be installed by injection.
pub fn program() -> Vec<u8> {
    let rules: Vec<Rule> = syscall::filter_rules()
        .into_iter()
        // The host follows the signal mask, which this call changes.
        .filter(|rule| u64::from(rule.nr) != abi::SYS_RT_SIGRETURN)
        .map(|rule| Rule {
            nr: u64::from(rule.nr),
            tests: rule
                .tests
                .iter()
                .map(|test| Arg { at: test.arg as usize, mask: test.mask, equals: test.value })
                .collect(),
            verdict: Verdict::Allow,
        })
        .collect();
    seccomp::program(&rules, Verdict::Notify, Verdict::Kill)
}
