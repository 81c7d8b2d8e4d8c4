//! The guest's seccomp filter: memory, time and private futexes are its own kernel's; everything else is notified to the host.

use crate::sys::seccomp::{self, Arg, Rule, Verdict};
use crate::syscall;

/// The filter's program, ready to be installed by injection.
pub fn program() -> Vec<u8> {
    let rules: Vec<Rule> = syscall::filter_rules()
        .into_iter()
        .map(|rule| Rule {
            nr: rule.nr,
            tests: rule.tests.iter().map(|test| Arg { at: test.at, mask: test.mask, equals: test.equals }).collect(),
            verdict: Verdict::Allow,
        })
        .collect();
    seccomp::program(&rules, Verdict::Notify)
}
