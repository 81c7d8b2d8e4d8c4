//! The stub in real processes: a forked child maps it, jumps into it, and is spoken to over a socket pair.

use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use super::*;
use crate::wire::channel::*;

mod child;
mod landing;
mod signals;

use child::{BASE, Child, FD, SPARE, start, start_with};

/// Exit status of a child that came back through its rollback frame.
const CAME_BACK: i32 = 42 << 8;

#[test]
fn code_fits_its_page_and_entries_are_where_the_constants_say() {
    assert!(code().len() <= 4096);
    assert_eq!(code::call_ends(), [CALL_END, PLAIN_END]);
    assert_eq!(code()[GADGET as usize..][..3], [0x0f, 0x05, 0xcc]);
    assert_eq!(code()[RESTORER as usize], 0xb8);
    assert_eq!(code()[HANDLER as usize], 0xe9);
}

#[test]
fn calls_are_made_and_answered() {
    let mut child = start();
    assert_eq!(child.call(libc::SYS_getpid, [0; 6]), i64::from(child.pid));
    assert_eq!(
        child.call(libc::SYS_getppid, [0; 6]),
        i64::from(std::process::id())
    );
    assert_eq!(child.call(libc::SYS_close, [77, 0, 0, 0, 0, 0]), -9);
    let (from, to) = child.pipe();
    let place = BASE + INLINE_IN;
    let write = Request {
        nr: libc::SYS_write as u64,
        args: [to, place, 5, 0, 0, 0],
        ..Request::default()
    };
    assert_eq!(child.ask(&write, b"hello").0, 5);
    let read = Request {
        args: [from, place, 100, 0, 0, 0],
        out_ptr: place,
        out_max: 100,
        ..Request::default()
    };
    let read = Request {
        flags: OUT_BY_RESULT | ABORTABLE,
        nr: libc::SYS_read as u64,
        ..read
    };
    assert_eq!(child.ask(&read, &[]), (5, b"hello".to_vec()));
    let failing = Request {
        args: [u64::MAX, 0, 0, 0, 0, 0],
        ..read
    };
    assert_eq!(child.ask(&failing, &[]), (-9, vec![]));
    child.ask(&write, b"abcde");
    let units = Request {
        flags: read.flags | 3 << UNIT_SHIFT,
        args: [from, place, 2, 0, 0, 0],
        ..read.clone()
    };
    assert_eq!(child.ask(&units, &[]).1.len(), 6);
    let cut = Request {
        args: [from, place, 3, 0, 0, 0],
        out_max: 8,
        ..units
    };
    assert_eq!(child.ask(&cut, &[]).1.len(), 8);
    assert_eq!(child.end(), CAME_BACK);
}

#[test]
fn input_and_output_of_all_sizes_arrive_wherever_they_go() {
    let mut child = start();
    let bytes: Vec<u8> = (0..STAGING_SIZE as usize - REQUEST_LEN)
        .map(|at| (at * 7 + at / 251) as u8)
        .collect();
    for len in [1, 4095, 4096, 4097, 70_000, bytes.len()] {
        for place in [
            0,
            BASE + INLINE_IN,
            BASE + INLINE_IN + 100,
            BASE + STAGING + 0x1000,
        ] {
            let len = len.min((BASE + STUB_SIZE).saturating_sub(place) as usize);
            let out_ptr = if place == 0 { BASE + INLINE_IN } else { place };
            let request = Request {
                flags: NO_CALL,
                in_ptr: place,
                out_ptr,
                out_fixed: len as u64,
                ..Request::default()
            };
            let (value, out) = child.ask(&request, &bytes[..len]);
            assert!(
                value == 0 && out == bytes[..len],
                "{len} bytes at {place:#x}"
            );
        }
    }
    assert_eq!(child.end(), CAME_BACK);
}

#[test]
fn a_request_in_pieces_is_put_together() {
    let mut child = start();
    let request = Request {
        nr: libc::SYS_getpid as u64,
        in_len: 3,
        ..Request::default()
    };
    let bytes = [&request.encode()[..], b"abc"].concat();
    for piece in bytes.chunks(50) {
        child.write(piece);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(child.frame().0.value, i64::from(child.pid));
    assert_eq!(child.end(), CAME_BACK);
}

#[test]
fn output_that_is_not_there_does_not_break_the_stream() {
    let mut child = start();
    let page = BASE + STAGING + 0x8000;
    child.ask(
        &Request {
            flags: NO_CALL,
            in_ptr: page,
            ..Request::default()
        },
        &[5; 0x3000],
    );
    assert_eq!(
        child.call(libc::SYS_mprotect, [page + 0x1000, 0x1000, 0, 0, 0, 0]),
        0
    );
    let request = Request {
        flags: NO_CALL,
        out_ptr: page + 16,
        out_fixed: 0x3000 - 16,
        ..Request::default()
    };
    let (_, out) = child.ask(&request, &[]);
    assert!(
        out[..0x1000 - 16]
            .iter()
            .chain(&out[0x2000 - 16..])
            .all(|byte| *byte == 5)
    );
    assert_eq!(child.call(libc::SYS_getpid, [0; 6]), i64::from(child.pid));
    assert_eq!(child.end(), CAME_BACK);
}

#[test]
fn the_end_of_the_channel_kills_after_a_programs_call() {
    let mut child = start_with(
        Data::new(FD)
            .rollback(BASE + FRAME)
            .lost("its memory is lost\n"),
    );
    child.ask(
        &Request {
            flags: PROGRAM,
            nr: libc::SYS_getpid as u64,
            ..Request::default()
        },
        &[],
    );
    let mut stderr = child.take_stderr();
    assert_eq!(child.end(), libc::SIGKILL);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
    assert_eq!(said, "its memory is lost\n");
}

#[test]
fn a_stub_connects_and_greets_or_goes_back() {
    let name = format!("mos-stub-test-{}", std::process::id());
    let listener =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let data = Data::new(SPARE - 1)
        .connect_abstract(&name)
        .greeting(b"good day")
        .rollback(BASE + FRAME);
    let mut child = start_with(data);
    child.stream = listener.accept().unwrap().0;
    let mut greeting = [0; 8];
    std::io::Read::read_exact(&mut child.stream, &mut greeting).unwrap();
    assert_eq!(&greeting, b"good day");
    assert_eq!(
        child.call(
            libc::SYS_fcntl,
            [SPARE as u64 - 1, libc::F_GETFD as u64, 0, 0, 0, 0]
        ),
        1
    );
    drop(listener);
    assert_eq!(child.end(), CAME_BACK);
    let child = start_with(
        Data::new(SPARE - 1)
            .connect_abstract(&name)
            .rollback(BASE + FRAME),
    );
    assert_eq!(child.end(), CAME_BACK);
}

#[test]
fn a_fork_has_its_own_channel() {
    let mut parent = start();
    let flags = FORK | PROGRAM | ABORTABLE;
    let fork = Request {
        flags,
        nr: libc::SYS_fork as u64,
        child_fd: SPARE as u64,
        ..Request::default()
    };
    let pid = parent.ask(&fork, &[]).0;
    assert!(pid > 0);
    let spare: UnixStream = parent.spare.take().unwrap();
    assert_eq!(
        parent.call(libc::SYS_close, [SPARE as u64, 0, 0, 0, 0, 0]),
        0
    );
    let mut forked = Child {
        pid: pid as i32,
        stream: spare,
        stderr: None,
        spare: None,
    };
    assert_eq!(forked.call(libc::SYS_getpid, [0; 6]), pid);
    assert_eq!(
        forked.call(libc::SYS_getppid, [0; 6]),
        i64::from(parent.pid)
    );
    assert_eq!(
        forked.call(libc::SYS_close, [SPARE as u64, 0, 0, 0, 0, 0]),
        -9
    );
    assert_eq!(parent.call(libc::SYS_getpid, [0; 6]), i64::from(parent.pid));
    drop(forked);
    let wait = Request {
        nr: libc::SYS_wait4 as u64,
        args: [pid as u64, BASE + INLINE_IN, 0, 0, 0, 0],
        ..Request::default()
    };
    let (value, status) = parent.ask(
        &Request {
            out_ptr: BASE + INLINE_IN,
            out_fixed: 4,
            ..wait
        },
        &[],
    );
    assert_eq!((value, status), (pid, libc::SIGKILL.to_le_bytes().to_vec()));
    assert_eq!(parent.end(), libc::SIGKILL);
}

#[test]
fn an_interrupted_call_is_aborted_and_a_finished_one_is_not() {
    let end = BASE + CALL_END;
    for result in [-512i64, -513, -514, -516, -4] {
        assert_eq!(
            after_interrupt(end, result as u64, 0, BASE),
            Some((INTERRUPTED as u64, u64::MAX))
        );
    }
    assert_eq!(after_interrupt(end, 5, 0, BASE), None);
    assert_eq!(after_interrupt(end, -4i64 as u64, u64::MAX, BASE), None);
    assert_eq!(after_interrupt(end + 2, -512i64 as u64, 45, BASE), None);
}

#[test]
fn a_former_owner_gets_the_deputy_back_until_the_new_one_is_final() {
    for last in ["falls back", "is final", "goes home"] {
        let mut child = start();
        let commit = Request {
            flags: COMMIT | NO_CALL,
            ..Request::default()
        };
        assert_eq!(child.ask(&commit, &[]).0, 0);
        // The former owner's channel is kept under a second number, and the other descriptor becomes the channel.
        let kept = child.call(libc::SYS_dup, [FD as u64, 0, 0, 0, 0, 0]);
        set_spare(&mut child, kept as u32);
        let switch = [SPARE as u64, FD as u64, libc::O_CLOEXEC as u64, 0, 0, 0];
        let switch = Request {
            nr: libc::SYS_dup3 as u64,
            args: switch,
            ..Request::default()
        };
        child.send(&switch, &[]);
        let new = child.spare.take().unwrap();
        let former = std::mem::replace(&mut child.stream, new);
        assert_eq!(child.frame().0.value, i64::from(FD));
        child.call(libc::SYS_close, [SPARE as u64, 0, 0, 0, 0, 0]);
        match last {
            "falls back" => {
                // In the middle of a request.
                child.write(&[0; 50]);
                child.stream = former;
                assert_eq!(child.frame().0.value, FELL_BACK);
                assert_eq!(child.call(libc::SYS_getpid, [0; 6]), i64::from(child.pid));
                assert_eq!(
                    child.call(libc::SYS_close, [kept as u64, 0, 0, 0, 0, 0]),
                    -9
                );
            }
            "is final" => {
                set_spare(&mut child, 0);
                child.call(libc::SYS_close, [kept as u64, 0, 0, 0, 0, 0]);
                assert_eq!((&former).read(&mut [0; 16]).unwrap(), 0);
            }
            _ => {
                let leave = Request {
                    flags: RESUME,
                    out_ptr: BASE + FRAME,
                    ..Request::default()
                };
                child.send(&leave, &[]);
                assert_eq!((&former).read(&mut [0; 16]).unwrap(), 0);
                assert_eq!(child.end(), CAME_BACK);
                continue;
            }
        }
        assert_eq!(child.end() & 0x7f, libc::SIGKILL);
    }
}

fn set_spare(child: &mut Child, number: u32) {
    let request = Request {
        flags: NO_CALL,
        in_ptr: BASE + super::SPARE,
        ..Request::default()
    };
    assert_eq!(child.ask(&request, &number.to_le_bytes()).0, 0);
}
