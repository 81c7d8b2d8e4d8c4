//! What the guest's filter allows without asking the host.

use super::row::{Local, Test};
use super::table;

/// Call `nr` is allowed when all tests hold (of any rule of that number).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub nr: u16,
    pub tests: &'static [Test],
}

/// All rules, by number; every call not allowed by one notifies the host.
pub fn filter_rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for row in table::rows() {
        match row.local {
            Local::Never => (),
            Local::Always => rules.push(Rule {
                nr: row.nr,
                tests: &[],
            }),
            Local::If(cases) => rules.extend(cases.iter().map(|&tests| Rule { nr: row.nr, tests })),
        }
    }
    rules
}
