//! Requests without a deputy: what is decided before anything is sent.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::syscall::{
    After, Fault, Forward, GuestMemory, Home, HostCall, PIECE, Plan, Step, after, forward, plan,
    plan_exec, socket_wait, temporary_mask, time_out_ns, until_ready, with_time_left,
};
use crate::wire::channel::{INLINE_IN, STAGING_SIZE};

const HOME: Home = Home {
    stub: 0x7000_0000_0000,
    big: None,
    channels: crate::syscall::Fds::one(900),
    pid: 4711,
};

/// Memory by pages; what was never stored is not there.
#[derive(Default)]
struct Pages(RefCell<BTreeMap<u64, Vec<u8>>>);

impl Pages {
    fn with(parts: &[(u64, &[u8])]) -> Pages {
        let pages = Pages::default();
        for (addr, data) in parts {
            for page in addr / 4096..=(addr + data.len() as u64) / 4096 {
                pages
                    .0
                    .borrow_mut()
                    .entry(page)
                    .or_insert_with(|| vec![0; 4096]);
            }
            pages.write(*addr, data).unwrap();
        }
        pages
    }
}

impl GuestMemory for Pages {
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), Fault> {
        for (index, byte) in buf.iter_mut().enumerate() {
            let at = addr + index as u64;
            *byte = self.0.borrow().get(&(at / 4096)).ok_or(Fault)?[(at % 4096) as usize];
        }
        Ok(())
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Fault> {
        for (index, &byte) in data.iter().enumerate() {
            let at = addr + index as u64;
            self.0.borrow_mut().get_mut(&(at / 4096)).ok_or(Fault)?[(at % 4096) as usize] = byte;
        }
        Ok(())
    }
}

fn forwarded(plan: Plan) -> Forward {
    match plan {
        Plan::Forward(forward) => forward,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_path_goes_inline() {
    let mem = Pages::with(&[(0x10_0ff0, b"/etc/passwd\0")]);
    let open = forwarded(plan(2, [0x10_0ff0, 0, 0, 0, 0, 0], &mem, &HOME));
    assert_eq!(open.request.args[0], HOME.stub + INLINE_IN);
    assert_eq!(&open.input[..12], b"/etc/passwd\0");
    assert_eq!((open.request.in_ptr, open.request.in_len), (0, 16));
    assert_eq!((open.request.out_fixed, open.request.out_max), (0, 0));
}

#[test]
fn bad_pointers_are_left_to_the_home_kernel() {
    let mem = Pages::default();
    let null = forwarded(plan(2, [0; 6], &mem, &HOME));
    assert_eq!(null.request.args[0], 0);
    let wild = forwarded(plan(2, [0x5555_0000, 0, 0, 0, 0, 0], &mem, &HOME));
    assert!(wild.request.args[0] > 0x8000_0000_0000);
}

#[test]
fn the_channel_is_not_there() {
    let mem = Pages::default();
    let close = forwarded(plan(3, [900, 0, 0, 0, 0, 0], &mem, &HOME));
    assert_eq!(close.request.args[0], 0x7fff_ffff);
    assert_eq!(
        plan(33, [1, 900, 0, 0, 0, 0], &mem, &HOME),
        Plan::Host(HostCall::DupOverChannel)
    );
    assert_eq!(
        plan(436, [3, u64::MAX, 0, 0, 0, 0], &mem, &HOME),
        Plan::Host(HostCall::CloseRange)
    );
    assert_eq!(
        forwarded(plan(436, [3, 10, 0, 0, 0, 0], &mem, &HOME))
            .request
            .args[..2],
        [3, 10]
    );
}

#[test]
fn large_transfers_need_room_and_go_in_pieces() {
    let mem = Pages::default();
    let args = [3, 0x10_0000, 1 << 30, 0, 0, 0];
    assert_eq!(plan(0, args, &mem, &HOME), Plan::NeedBig(PIECE));
    let home = Home {
        big: Some((0x6000_0000_0000, PIECE)),
        ..HOME
    };
    let read = forwarded(plan(0, args, &mem, &home));
    assert_eq!(read.request.args[1..3], [0x6000_0000_0000, PIECE]);
    assert_eq!(
        (read.request.out_ptr, read.request.out_max),
        (0x6000_0000_0000, PIECE)
    );
    assert_eq!(
        read.step,
        Step::Piece {
            done: 0,
            len: PIECE,
            more: true
        }
    );
    let second = forwarded(forward(0, args, &mem, &home, PIECE));
    assert_eq!(
        second.step,
        Step::Piece {
            done: PIECE,
            len: PIECE,
            more: true
        }
    );
    let small = forwarded(plan(
        0,
        [3, 0x10_0000, STAGING_SIZE - 112, 0, 0, 0],
        &mem,
        &HOME,
    ));
    assert_eq!((small.request.in_ptr, small.step), (0, Step::Only));
}

#[test]
fn who_does_what() {
    let mem = Pages::default();
    let decide = |nr: u64, args: [u64; 6]| plan(nr, args, &mem, &HOME);
    assert!(matches!(decide(9, [0, 4096, 3, 1, 3, 0]), Plan::GoHome(_)));
    let locked = [0, 4096, 3, 0x2022, u64::MAX, 0];
    assert!(matches!(decide(9, locked), Plan::GoHome(_)));
    let paths = Pages::with(&[(0x20_0000, b"/proc/self/maps\0/proc/self/limits\0")]);
    let opens = |path: u64| plan(257, [-100i64 as u64, path, 0, 0, 0, 0], &paths, &HOME);
    assert!(matches!(opens(0x20_0000), Plan::GoHome(_)));
    assert!(matches!(opens(0x20_0010), Plan::Forward(_)));
    for private_or_read in [[0, 4096, 3, 2, 3, 0], [0, 4096, 1, 1, 3, 0]] {
        assert_eq!(decide(9, private_or_read), Plan::Host(HostCall::MapFile));
    }
    assert_eq!(
        decide(56, [0x3d_0f00, 0, 0, 0, 0, 0]),
        Plan::Host(HostCall::Fork)
    );
    // A thread with descriptors of its own.
    assert!(matches!(
        decide(56, [0x3d_0b00, 0, 0, 0, 0, 0]),
        Plan::GoHome(_)
    ));
    assert_eq!(
        decide(56, [0x120_0011, 0, 0, 0, 0, 0]),
        Plan::Host(HostCall::Fork)
    );
    assert_eq!(
        decide(56, [0x4111, 0, 0, 0, 0, 0]),
        Plan::Host(HostCall::Fork)
    );
    assert!(matches!(decide(38, [1, 0, 0, 0, 0, 0]), Plan::GoHome(_)));
    assert!(matches!(decide(38, [0, 0, 0, 0, 0, 0]), Plan::Forward(_)));
    // The own CPU clock, that of process 1, and a clock of descriptor 5.
    assert!(matches!(decide(228, [2, 0, 0, 0, 0, 0]), Plan::Forward(_)));
    assert!(matches!(
        decide(228, [!1u64 << 3 | 2, 0, 0, 0, 0, 0]),
        Plan::Forward(_)
    ));
    assert!(matches!(
        decide(228, [!5u64 << 3 | 3, 0, 0, 0, 0, 0]),
        Plan::Forward(_)
    ));
    assert_eq!(decide(67, [0; 6]), Plan::Errno(22));
    assert_eq!(decide(500, [0; 6]), Plan::Errno(38));
    assert_eq!(decide(157, [9999, 0, 0, 0, 0, 0]), Plan::Errno(22));
}

#[test]
fn clone3_is_read() {
    let mut words = [0u64; 11];
    words[0] = 0x1_0000_4100;
    words[4] = 17;
    (words[5], words[6]) = (0x7f00_0000, 0x1000);
    let raw: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mem = Pages::with(&[(0x20_0000, &raw)]);
    let args = [0x20_0000, 88, 0, 0, 0, 0];
    let fork = crate::syscall::fork::parse(435, &args, &mem).unwrap();
    assert_eq!(
        (fork.flags, fork.exit_signal, fork.stack),
        (0x1_0000_4100, 17, 0x7f00_1000)
    );
    assert_eq!(plan(435, args, &mem, &HOME), Plan::Host(HostCall::Fork));
    assert_eq!(
        plan(435, [0x20_0000, 8, 0, 0, 0, 0], &mem, &HOME),
        Plan::Errno(22)
    );
}

#[test]
fn arguments_of_exec_move_as_one() {
    let base = 0x30_0000u64;
    let mut mem = Vec::new();
    for pointer in [base + 0x100, base + 0x110, 0] {
        mem.extend_from_slice(&pointer.to_le_bytes());
    }
    let mem = Pages::with(&[
        (base, &mem),
        (base + 0x100, b"ls\0"),
        (base + 0x110, b"-l\0"),
        (base + 0x200, b"/bin/ls\0"),
    ]);
    let exec = forwarded(plan_exec(59, [base + 0x200, base, 0, 0, 0, 0], &mem, &HOME));
    let start = HOME.stub + INLINE_IN;
    let [path, argv, envp, ..] = exec.request.args;
    assert_eq!((path, envp), (start, 0));
    let word =
        |at: u64| u64::from_le_bytes(exec.input[(at - start) as usize..][..8].try_into().unwrap());
    let text = |at: u64| &exec.input[(at - start) as usize..][..3];
    assert_eq!(
        (text(word(argv)), text(word(argv + 8)), word(argv + 16)),
        (&b"ls\0"[..], &b"-l\0"[..], 0)
    );
    assert_eq!(
        plan_exec(59, [base + 0x200, base + 0x9000, 0, 0, 0, 0], &mem, &HOME),
        Plan::Errno(14)
    );
}

#[test]
fn time_outs_shrink() {
    let mut spec = 5u64.to_le_bytes().to_vec();
    spec.extend_from_slice(&250u64.to_le_bytes());
    let mem = Pages::with(&[(0x40_0000, &spec), (0x40_0100, &[0; 64])]);
    let args = [0x40_0100, 1, 0x40_0000, 0, 8, 0];
    assert_eq!(time_out_ns(271, &args, &mem), Some(5_000_000_250));
    let mut ppoll = forwarded(plan(271, args, &mem, &HOME));
    with_time_left(271, &mut ppoll, 1_000_000_007);
    let at = (ppoll.request.args[2] - ppoll.base) as usize;
    assert_eq!(
        ppoll.input[at..at + 16],
        [&1u64.to_le_bytes()[..], &7u64.to_le_bytes()[..]].concat()
    );

    let args = [0x40_0100, 1, 3000, 0, 0, 0];
    assert_eq!(time_out_ns(7, &args, &mem), Some(3_000_000_000));
    let mut poll = forwarded(plan(7, args, &mem, &HOME));
    with_time_left(7, &mut poll, 1_000_001);
    assert_eq!(poll.request.args[2], 2);
    assert_eq!(time_out_ns(7, &[0, 0, u64::MAX, 0, 0, 0], &mem), None);
}

#[test]
fn masks_of_waiting_calls_are_found() {
    let mem = Pages::with(&[
        (0x50_0000, &0x1234u64.to_le_bytes()),
        (0x50_0008, &0x50_0000u64.to_le_bytes()),
    ]);
    assert_eq!(
        temporary_mask(130, &[0x50_0000, 8, 0, 0, 0, 0], &mem),
        Some(0x1234)
    );
    assert_eq!(
        temporary_mask(270, &[0, 0, 0, 0, 0, 0x50_0008], &mem),
        Some(0x1234)
    );
    assert_eq!(temporary_mask(271, &[0, 0, 0, 0, 8, 0], &mem), None);
}

#[test]
fn a_short_answer_harms_no_one() {
    let mem = Pages::with(&[(0x60_0000, &[7; 300]), (0x60_0200, b"/\0")]);
    let stat = forwarded(plan(4, [0x60_0200, 0x60_0000, 0, 0, 0, 0], &mem, &HOME));
    assert_eq!(stat.unpack.finish(&mem, 0, &[0; 10]), -5);
    assert_eq!(stat.unpack.finish(&mem, -2, &[]), -2);
}

#[test]
fn a_socket_is_waited_for_no_longer_than_there_is_time() {
    let mem = Pages::default();
    let args = [3, 0x10_0000, 0, 0, 0, 0];
    let wait = socket_wait(0).unwrap();
    let asked = forwarded(until_ready(args, wait, 1_500_000_000, &mem, &HOME));
    assert_eq!(asked.request.nr, 271);
    let words = [1u64, 500_000_000].map(u64::to_le_bytes).concat();
    assert!(asked.input.windows(16).any(|part| part == words));
    let pollfd = [3, 0, 0, 0, 1, 0, 0, 0];
    assert!(asked.input.windows(8).any(|part| part == pollfd));
    let next = |value: i64| after(&asked, 0, args, &mem, &HOME, value);
    assert_eq!(next(0), After::Done(-11));
    assert_eq!(next(-9), After::Done(-9));
    assert_eq!(next(1), After::More(Box::new(plan(0, args, &mem, &HOME))));
    assert_eq!(socket_wait(42), None);
}
