//! The seccomp filter of a `mosrun` tree. All that it does not name costs nothing but the kernel's cached "allow".

use crate::sys::abi;
use crate::sys::seccomp::{Arg, CALLER_HIGH, HIGH, Rule, Verdict};
use crate::wire::channel::{PLACES, ROOM};

/// Flags with which the program interface is opened (manual, mosix(7)): the access mode, `O_CREAT` and `O_LARGEFILE`, nothing else.
/// Libraries open with `O_CLOEXEC` and are not slowed down.
const INTERFACE_FLAGS: u32 = 0o3 | 0o100 | 0o100000;
const AT_FDCWD: u32 = -100i32 as u32;
/// CLOCK_PROCESS_CPUTIME_ID and CLOCK_THREAD_CPUTIME_ID.
const OWN_CPU_CLOCKS: [u32; 2] = [2, 3];
/// The lowest three bits of a negative clock that is a process's or a thread's. 3 is a device's, 7 is nothing.
const OTHERS_CPU_CLOCKS: [u32; 6] = [0, 1, 2, 4, 5, 6];
const NEGATIVE: u32 = 1 << 31;

/// What is notified to the warden: opens that may be of the program interface, and calls that tell CPU time, some of which may have
/// been used elsewhere. Nothing else: a call that waits for its notification to be received can be interrupted by a signal, and
/// then fails with `EINTR` if the handler has no `SA_RESTART`.
pub fn rules() -> Vec<Rule> {
    let interface = |at: usize| Arg {
        at,
        mask: !INTERFACE_FLAGS,
        equals: 0,
    };
    let mut rules = vec![
        Rule {
            nr: abi::SYS_OPEN,
            tests: vec![interface(1)],
            verdict: Verdict::Notify,
        },
        Rule {
            nr: abi::SYS_OPENAT,
            tests: vec![is(0, AT_FDCWD), interface(2)],
            verdict: Verdict::Notify,
        },
    ];
    cpu_time(&mut rules);
    rules
}

fn is(at: usize, equals: u32) -> Arg {
    Arg {
        at,
        mask: !0,
        equals,
    }
}

/// The call is made from the room of stubs that begins at `place`.
fn deputy(place: u64) -> Arg {
    let mask = !((ROOM - 1) >> 32) as u32;
    Arg {
        at: CALLER_HIGH,
        mask,
        equals: (place >> 32) as u32,
    }
}

fn cpu_time(rules: &mut Vec<Rule>) {
    let mut add = |nr, tests, verdict| rules.push(Rule { nr, tests, verdict });
    // Without room for an answer there is nothing to be added to.
    for (nr, room) in [
        (abi::SYS_TIMES, 0),
        (abi::SYS_WAIT4, 3),
        (abi::SYS_WAITID, 4),
    ] {
        add(nr, vec![is(room, 0), is(HIGH + room, 0)], Verdict::Allow);
    }
    for nr in [
        abi::SYS_TIMES,
        abi::SYS_WAIT4,
        abi::SYS_WAITID,
        abi::SYS_GETRUSAGE,
    ] {
        // A deputy's: the host adds what was used elsewhere.
        for place in PLACES {
            add(nr, vec![deputy(place)], Verdict::Allow);
        }
        add(nr, Vec::new(), Verdict::Notify);
    }
    for place in PLACES {
        add(abi::SYS_CLOCK_GETTIME, vec![deputy(place)], Verdict::Allow);
    }
    for clock in OWN_CPU_CLOCKS {
        add(abi::SYS_CLOCK_GETTIME, vec![is(0, clock)], Verdict::Notify);
    }
    for kind in OTHERS_CPU_CLOCKS {
        let test = Arg {
            at: 0,
            mask: NEGATIVE | 7,
            equals: NEGATIVE | kind,
        };
        add(abi::SYS_CLOCK_GETTIME, vec![test], Verdict::Notify);
    }
}
