//! The stub in real processes: a forked child maps it, jumps into it, and is spoken to over a socket pair.

use std::io::{Read, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;

use super::*;
use crate::wire::channel::*;

const BASE: u64 = 0x2f00_0000_0000;
const FD: i32 = 900;

struct Child {
    pid: i32,
    stream: UnixStream,
}

/// Where a rolled back child finds itself.
extern "C" fn returned() -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(42) }
}

fn start(lost: &str) -> Child {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut regs = [0u64; 27];
    let stack = Box::leak(vec![0u8; 1 << 16].into_boxed_slice());
    regs[16] = returned as *const () as u64;
    regs[17] = 0x33;
    regs[18] = 0x202;
    regs[19] = (stack.as_ptr() as u64 + (1 << 15)) & !15;
    regs[20] = 0x2b;
    let mut xsave = vec![0u8; crate::sys::cpu::xsave_size()];
    xsave[0] = 0x7f;
    xsave[1] = 0x03;
    xsave[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
    let frame = frame::build(&regs, &xsave, 0, (0, 7, 0), BASE + FRAME);
    assert!(frame.len() as u64 <= FRAME_SIZE);
    let data = Data::new(FD).rollback(BASE + FRAME).lost(lost).encode();
    // SAFETY: the child makes raw calls only, on memory that is its own copy, and never returns.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: see above; the range is free in a test process, and the stub needs nothing but it.
        unsafe {
            libc::dup2(theirs.into_raw_fd(), FD);
            // What other tests have open is theirs: its end would not be seen there.
            libc::syscall(libc::SYS_close_range, 3, FD - 1, 0);
            libc::syscall(libc::SYS_close_range, FD + 1, u32::MAX, 0);
            let map = libc::mmap(BASE as *mut _, STUB_SIZE as usize, 7, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE, -1, 0);
            if map as u64 != BASE {
                libc::_exit(90);
            }
            std::ptr::copy_nonoverlapping(code().as_ptr(), map.cast(), code().len());
            std::ptr::copy_nonoverlapping(data.as_ptr(), (BASE + DATA) as *mut u8, data.len());
            std::ptr::copy_nonoverlapping(frame.as_ptr(), (BASE + FRAME) as *mut u8, frame.len());
            let all = u64::MAX;
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, 0, 8);
            std::arch::asm!("mov rsp, {stack}", "jmp {entry}", stack = in(reg) BASE + STACK_TOP, entry = in(reg) BASE + ENTRY, options(noreturn));
        }
    }
    drop(theirs);
    Child { pid, stream: ours }
}

impl Child {
    fn send(&mut self, request: &Request, input: &[u8]) {
        let request = Request { in_len: input.len() as u64, ..request.clone() };
        self.stream.write_all(&request.encode()).unwrap();
        self.stream.write_all(input).unwrap();
    }

    fn frame(&mut self) -> (Answer, Vec<u8>) {
        let mut header = [0; ANSWER_LEN];
        self.stream.read_exact(&mut header).unwrap();
        let answer = Answer::decode(&header);
        let mut out = vec![0; answer.len as usize];
        self.stream.read_exact(&mut out).unwrap();
        (answer, out)
    }

    fn ask(&mut self, request: &Request, input: &[u8]) -> (i64, Vec<u8>) {
        self.send(request, input);
        let (answer, out) = self.frame();
        assert_eq!(answer.kind, KIND_REPLY);
        (answer.value, out)
    }

    fn call(&mut self, nr: i64, args: [u64; 6]) -> i64 {
        self.ask(&Request { nr: nr as u64, args, ..Request::default() }, &[]).0
    }

    fn take_signals(&mut self, mask: u64) {
        let mut actions = vec![0u8; 64 * 32];
        for action in actions.chunks_exact_mut(32) {
            for (at, word) in [BASE + handler(), 0x0400_0004, BASE + restorer(), !0].into_iter().enumerate() {
                action[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
            }
        }
        assert_eq!(self.ask(&Request { flags: SET_ACTIONS, ..Request::default() }, &actions).0, 0);
        let request = Request {
            flags: SET_MASK,
            nr: libc::SYS_rt_sigprocmask as u64,
            args: [2, BASE + INLINE_IN, 0, 8, 0, 0],
            child_fd: mask,
            ..Request::default()
        };
        assert_eq!(self.ask(&request, &mask.to_le_bytes()).0, 0);
    }

    fn end(self) -> i32 {
        drop(self.stream);
        let mut status = 0;
        // SAFETY: `status` is live; the child is ours.
        assert_eq!(unsafe { libc::waitpid(self.pid, &raw mut status, 0) }, self.pid);
        status
    }
}

#[test]
fn code_fits_its_page() {
    assert!(code().len() <= 4096);
    assert!(restorer() < code().len() as u64);
}

#[test]
fn calls_are_made_and_answered() {
    let mut child = start("");
    assert_eq!(child.call(libc::SYS_getpid, [0; 6]), i64::from(child.pid));
    assert_eq!(child.call(libc::SYS_close, [77, 0, 0, 0, 0, 0]), -9);
    let place = BASE + INLINE_IN;
    let pipe = Request { nr: libc::SYS_pipe as u64, args: [place, 0, 0, 0, 0, 0], out_ptr: place, out_fixed: 8, ..Request::default() };
    let (value, fds) = child.ask(&pipe, &[]);
    assert_eq!(value, 0);
    let (from, to) = (u64::from(fds[0]), u64::from(fds[4]));
    let write = Request { nr: libc::SYS_write as u64, args: [to, place, 5, 0, 0, 0], ..Request::default() };
    assert_eq!(child.ask(&write, b"hello").0, 5);
    let read = Request { flags: OUT_BY_RESULT, nr: 0, args: [from, place, 100, 0, 0, 0], out_ptr: place, out_max: 100, ..Request::default() };
    assert_eq!(child.ask(&read, &[]), (5, b"hello".to_vec()));
    let actions = Request { flags: GET_ACTIONS, out_ptr: place, out_fixed: 64 * 32, ..Request::default() };
    assert_eq!(child.ask(&actions, &[]).1.len(), 2048);
    let big = vec![7u8; 200_000];
    let memory = Request { flags: NO_CALL, in_ptr: BASE + STAGING + 0x1000, out_ptr: BASE + STAGING + 0x1000, out_fixed: 200_000, ..Request::default() };
    assert_eq!(child.ask(&memory, &big), (0, big.clone()));
    assert_eq!(child.end(), 42 << 8);
}

#[test]
fn the_end_of_the_channel_rolls_back_or_kills() {
    assert_eq!(start("").end(), 42 << 8);
    let mut child = start("");
    child.ask(&Request { flags: COMMIT | NO_CALL, ..Request::default() }, &[]);
    assert_eq!(child.end(), libc::SIGKILL);
}

#[test]
fn signals_arrive_when_idle_and_interrupt_calls() {
    let mut child = start("");
    child.take_signals(0);
    // SAFETY: signals to our own child.
    let kill = |pid, signo| assert_eq!(unsafe { libc::kill(pid, signo) }, 0);
    kill(child.pid, libc::SIGUSR1);
    let (answer, info) = child.frame();
    assert_eq!((answer.kind, answer.value, info[0]), (KIND_SIGNAL, 10, 10));
    let pause = Request { flags: ABORTABLE, nr: libc::SYS_pause as u64, ..Request::default() };
    child.send(&pause, &[]);
    kill(child.pid, libc::SIGUSR2);
    assert_eq!(child.frame().0.value, 12);
    let answer = child.frame().0;
    assert_eq!(answer.kind, KIND_REPLY);
    assert!(answer.value == -4 || answer.value == ABORTED);
    assert_eq!(child.end(), 42 << 8);
}

#[test]
fn no_queued_signal_is_lost_under_fire() {
    const SHOTS: i32 = 3000;
    let mut child = start("");
    child.take_signals(0);
    let pid = child.pid;
    let shooter = std::thread::spawn(move || {
        for shot in 0..SHOTS {
            let value = libc::sigval { sival_ptr: shot as *mut _ };
            // SAFETY: a signal to our own child.
            while unsafe { libc::sigqueue(pid, 40, value) } != 0 {
                std::thread::yield_now();
            }
        }
    });
    let mut caught = 0;
    while caught < SHOTS {
        child.send(&Request { flags: ABORTABLE, nr: libc::SYS_getppid as u64, ..Request::default() }, &[]);
        loop {
            let (answer, info) = child.frame();
            if answer.kind == KIND_REPLY {
                // SAFETY: no arguments.
                assert!(answer.value == ABORTED || answer.value == i64::from(unsafe { libc::getpid() }));
                break;
            }
            assert_eq!(i32::from_le_bytes([info[24], info[25], info[26], info[27]]), caught);
            caught += 1;
        }
    }
    shooter.join().unwrap();
    assert_eq!(child.end(), 42 << 8);
}
