use std::collections::BTreeMap;

use crate::syscall::shape::Shape;
use crate::syscall::{Class, HostCall, Local, Test, filter_rules, print, table};

/// Names of x86-64 calls up to 6.18, of which newer ones than the C library's header knows are written here.
const NEWER: [(u16, &str); 20] = [
    (335, "uretprobe"),
    (336, "uprobe"),
    (451, "cachestat"),
    (452, "fchmodat2"),
    (453, "map_shadow_stack"),
    (454, "futex_wake"),
    (455, "futex_wait"),
    (456, "futex_requeue"),
    (457, "statmount"),
    (458, "listmount"),
    (459, "lsm_get_self_attr"),
    (460, "lsm_set_self_attr"),
    (461, "lsm_list_modules"),
    (462, "mseal"),
    (463, "setxattrat"),
    (464, "getxattrat"),
    (465, "listxattrat"),
    (466, "removexattrat"),
    (467, "open_tree_attr"),
    (468, "file_getattr"),
];

#[test]
fn rows_are_sorted_and_unique() {
    let rows = table::rows();
    assert!(rows.windows(2).all(|pair| pair[0].nr < pair[1].nr));
    assert!(u64::from(rows.last().unwrap().nr) < table::END);
}

#[test]
fn every_number_has_a_row() {
    for nr in (0..=336).chain(424..table::END) {
        assert!(table::find(nr).is_some(), "{nr}");
    }
    assert!(table::find(337).is_none() && table::find(table::END).is_none());
    assert!(table::find(u64::MAX).is_none());
}

#[test]
fn names_are_those_of_the_kernel() {
    let headers = [
        "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        "/usr/include/asm/unistd_64.h",
    ];
    let mut names: BTreeMap<u16, String> = NEWER
        .iter()
        .map(|&(nr, name)| (nr, name.to_owned()))
        .collect();
    for header in headers {
        let text = std::fs::read_to_string(header).unwrap_or_default();
        for line in text
            .lines()
            .filter_map(|line| line.strip_prefix("#define __NR_"))
        {
            let (name, nr) = line.split_once(' ').unwrap();
            names.insert(nr.parse().unwrap(), name.to_owned());
        }
    }
    for row in table::rows() {
        if let Some(name) = names.get(&row.nr) {
            assert_eq!(row.name, name);
        }
    }
}

#[test]
fn what_is_forwarded_has_a_shape() {
    for row in table::rows() {
        let shaped = row.shape != Shape::None;
        assert!(shaped || row.class != Class::Forward, "{}", row.name);
        let notified = row.local != Local::Always;
        assert!(notified || row.class == Class::Native, "{}", row.name);
    }
    assert_eq!(
        table::find(35).unwrap().class,
        Class::Host(HostCall::NanoSleep)
    );
}

#[test]
fn filters_pass_what_is_local_only() {
    let rules = filter_rules();
    assert!(
        rules
            .iter()
            .any(|rule| rule.nr == 11 && rule.tests.is_empty())
    );
    // Of futexes all but a wait with a relative time-out.
    let futex = |operation: u32, time_out: u32| {
        let value = |arg: u8| if arg == 1 { operation } else { time_out };
        let passes = |test: &Test| value(test.arg) & test.mask == test.value;
        let mut rules = rules.iter().filter(|rule| rule.nr == 202);
        rules.any(|rule| rule.tests.iter().all(passes))
    };
    assert!(futex(0, 0) && futex(128, 0) && futex(1, 7) && futex(9, 7) && futex(393, 7));
    assert!(!futex(0, 7) && !futex(128, 7) && !futex(256, 7));
    // A private anonymous mapping passes, a shared one and one of huge pages do not.
    let mmap = rules.iter().find(|rule| rule.nr == 9).unwrap();
    let passes = |flags: u32| {
        mmap.tests
            .iter()
            .all(|test| test.arg == 3 && flags & test.mask == test.value)
    };
    assert!(passes(0x22) && passes(0x32) && passes(0x2_0022));
    assert!(!passes(0x21) && !passes(0x02) && !passes(0x4_0022) && !passes(0x23));
    for nr in [0, 1, 2, 41, 59, 62, 101] {
        assert!(rules.iter().all(|rule| rule.nr != nr), "{nr}");
    }
}

#[test]
fn the_table_prints_one_line_a_call() {
    let text = print::table();
    assert_eq!(text.lines().count(), table::rows().len() + 1);
    assert!(text.contains("101  ptrace                   goes home      ptrace"));
}
