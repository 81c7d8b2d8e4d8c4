use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

use super::deputy::{Deputy, at};
use crate::sys::trial;

fn pipe(deputy: &Deputy) -> [OwnedFd; 2] {
    let mut ends = [0i32; 2];
    assert_eq!(deputy.call(22, &[at(&mut ends)]), 0);
    ends.map(trial::own)
}

#[test]
fn select_and_its_kin() {
    let deputy = Deputy::new();
    let [read, write] = pipe(&deputy);
    let (r, w) = (read.as_raw_fd() as usize, write.as_raw_fd() as usize);
    let set = |fds: &[usize]| {
        let mut set = vec![0u64; 16];
        fds.iter().for_each(|fd| set[fd / 64] |= 1 << (fd % 64));
        set
    };
    let (mut reads, mut writes, mut time) = (set(&[r]), set(&[w]), [1u64, 0]);
    let count = r.max(w) as u64 + 1;
    assert_eq!(
        deputy.call(
            23,
            &[count, at(&mut reads), at(&mut writes), 0, at(&mut time)]
        ),
        1
    );
    assert_eq!((reads, writes), (set(&[]), set(&[w])));
    assert!(time[0] <= 1);
    let (mut reads, mut time, mut mask) = (set(&[r]), [0u64, 2_000_000], [0u64]);
    let mut masked = [at(&mut mask), 8];
    assert_eq!(
        deputy.call(
            270,
            &[count, at(&mut reads), 0, 0, at(&mut time), at(&mut masked)]
        ),
        0
    );
    assert_eq!(time, [0, 0]);
    let mut reads = set(&[r]);
    assert_eq!(
        Deputy::hiding(r as i32).call(23, &[count, at(&mut reads), 0, 0, 0]),
        -9
    );
}

#[test]
fn poll_and_epoll() {
    let deputy = Deputy::new();
    let [read, write] = pipe(&deputy);
    let entry = |fd: i32, events: u64| u64::from(fd as u32) | events << 32;
    let mut list = [
        entry(read.as_raw_fd(), 1),
        entry(-1, 1),
        entry(write.as_raw_fd(), 4),
    ];
    assert_eq!(deputy.call(7, &[at(&mut list), 3, 0]), 1);
    assert_eq!(list[2] >> 48, 4);
    assert_eq!(list[0] >> 48, 0);
    let mut time = [0u64, 1000];
    assert_eq!(
        deputy.call(271, &[at(&mut list), 3, at(&mut time), 0, 8]),
        1
    );
    let mut one = [entry(write.as_raw_fd(), 4)];
    assert_eq!(
        Deputy::hiding(write.as_raw_fd()).call(7, &[at(&mut one), 1, 0]),
        1
    );
    assert_eq!(one[0], entry(write.as_raw_fd(), 4) | 0x20 << 48);

    let epoll = trial::own(deputy.call(291, &[0]) as i32);
    let mut event = vec![0u8; 12];
    event[0] = 4;
    event[4..].copy_from_slice(&0x1122_3344_5566_7788u64.to_le_bytes());
    let add = [
        epoll.as_raw_fd() as u64,
        1,
        write.as_raw_fd() as u64,
        at(&mut event),
    ];
    assert_eq!(deputy.call(233, &add), 0);
    let mut events = vec![0xccu8; 36];
    assert_eq!(deputy.call(232, &[add[0], at(&mut events), 3, 0]), 1);
    assert_eq!((&events[..12], events[12]), (&event[..], 0xcc));
    assert_eq!(
        deputy.call(281, &[add[0], at(&mut events), 5000, 0, 0, 8]),
        1
    );
    assert_eq!(deputy.call(441, &[add[0], at(&mut events), 3, 0, 0, 8]), 1);
    assert_eq!(deputy.call(232, &[add[0], at(&mut events), 0, 0]), -22);
    assert_eq!(deputy.call(233, &[add[0], 2, add[2], 0]), 0);
}

#[test]
fn children_are_waited_for() {
    let deputy = Deputy::new();
    let start = |code: &str| {
        u64::from(
            Command::new("/bin/sh")
                .args(["-c", code])
                .spawn()
                .unwrap()
                .id(),
        )
    };
    let child = start("exit 7");
    let (mut status, mut usage) = ([0x5555_5555u32; 2], vec![0u8; 144]);
    assert_eq!(
        deputy.call(61, &[child, at(&mut status), 0, at(&mut usage)]),
        child as i64
    );
    assert_eq!(status, [7 << 8, 0x5555_5555]);
    assert!(usage.iter().any(|&byte| byte != 0));

    let child = start("sleep 5");
    let mut status = [0x5555_5555u32];
    assert_eq!(deputy.call(61, &[child, at(&mut status), 1, 0]), 0);
    assert_eq!(status, [0x5555_5555]);
    let (mut ours, mut native) = (vec![0xddu8; 128], vec![0xddu8; 128]);
    assert_eq!(deputy.call(247, &[1, child, at(&mut ours), 4 | 1, 0]), 0);
    assert_eq!(
        trial::call(247, [1, child, at(&mut native), 4 | 1, 0, 0]),
        0
    );
    assert_eq!(ours, native);
    assert_eq!(deputy.call(62, &[child, 9]), 0);
    // WNOWAIT, so that both see the same.
    assert_eq!(
        deputy.call(247, &[1, child, at(&mut ours), 4 | 0x100_0000, 0]),
        0
    );
    assert_eq!(
        trial::call(247, [1, child, at(&mut native), 4 | 0x100_0000, 0, 0]),
        0
    );
    assert_eq!(ours, native);
    assert_eq!(deputy.call(61, &[child, 0, 0, 0]), child as i64);
    assert_eq!(deputy.call(61, &[child, 0, 0, 0]), -10);
}

#[test]
fn timers_and_clocks() {
    let deputy = Deputy::new();
    let (mut event, mut timer) = ([0u64; 8], [u32::MAX; 2]);
    // SIGEV_NONE.
    event[1] = 1 << 32;
    assert_eq!(deputy.call(222, &[1, at(&mut event), at(&mut timer)]), 0);
    assert_eq!(timer[1], u32::MAX);
    let timer = u64::from(timer[0]);
    let (mut new, mut old) = ([0u64, 0, 50, 0], [9u64; 4]);
    assert_eq!(deputy.call(223, &[timer, 0, at(&mut new), at(&mut old)]), 0);
    assert_eq!(old, [0; 4]);
    assert_eq!(deputy.call(224, &[timer, at(&mut old)]), 0);
    assert!(old[2] >= 49 && old[2] <= 50);
    assert_eq!(deputy.call(226, &[timer]), 0);
    let fd = trial::own(deputy.call(283, &[1, 0]) as i32);
    let mut new = [0u64, 0, 0, 1];
    assert_eq!(
        deputy.call(286, &[fd.as_raw_fd() as u64, 0, at(&mut new), 0]),
        0
    );
    let mut ticks = [0u64];
    assert_eq!(
        deputy.call(0, &[fd.as_raw_fd() as u64, at(&mut ticks), 8]),
        8
    );
    assert_eq!(ticks[0], 1);
}

#[test]
fn signals_are_taken_by_waiting() {
    let deputy = Deputy::new();
    // SIGRTMAX - 3, blocked in this thread only, sent to this thread only.
    let signal = 61u64;
    let (mut set, tid) = ([1u64 << (signal - 1)], trial::call(186, [0; 6]) as u64);
    assert_eq!(trial::call(14, [0, at(&mut set), 0, 8, 0, 0]), 0);
    let mut info = vec![0u8; 128];
    let mut time = [0u64, 1000];
    assert_eq!(
        deputy.call(128, &[at(&mut set), at(&mut info), at(&mut time), 8]),
        -11
    );
    let mut sent = vec![0u8; 128];
    sent[0] = signal as u8;
    sent[8..12].copy_from_slice(&(-1i32).to_le_bytes());
    sent[24..32].copy_from_slice(&0xabcd_u64.to_le_bytes());
    let pid = u64::from(std::process::id());
    assert_eq!(deputy.call(297, &[pid, tid, signal, at(&mut sent)]), 0);
    assert_eq!(
        deputy.call(128, &[at(&mut set), at(&mut info), at(&mut time), 8]),
        signal as i64
    );
    assert_eq!(info[24..32], 0xabcd_u64.to_le_bytes());
    let fd = trial::own(deputy.call(289, &[u64::MAX, at(&mut set), 8, 0o4000]) as i32);
    assert_eq!(
        deputy.call(0, &[fd.as_raw_fd() as u64, at(&mut info), 128]),
        -11
    );
}
