//! A child process in the stub, and the other end of its channel.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::landing;
use crate::sys::stub::{Data, ENTRY, code};
use crate::wire::channel::*;

/// Where the stub is; free in a test process.
pub const BASE: u64 = 0x2f00_0000_0000;
/// The channel's descriptor.
pub const FD: i32 = 900;
/// The descriptor of a second channel, for a fork.
pub const SPARE: i32 = 902;

pub struct Child {
    pub pid: i32,
    pub stream: UnixStream,
    pub stderr: Option<File>,
    /// The other end of `SPARE`.
    pub spare: Option<UnixStream>,
}

/// A child whose channel is open, with a way back to `landing`.
pub fn start() -> Child {
    start_with(Data::new(FD).rollback(BASE + FRAME))
}

pub fn start_with(data: Data) -> Child {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (spare, their_spare) = UnixStream::pair().unwrap();
    let (stderr, their_stderr) = std::io::pipe().unwrap();
    let frame = landing::frame(landing::CODE_BACK, 0, BASE + FRAME);
    assert!(frame.len() as u64 <= FRAME_SIZE);
    let data = data.encode();
    // SAFETY: the child makes raw calls only, on memory that is its own copy, and never returns.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let fds = [
            (theirs.as_raw_fd(), FD),
            (their_spare.as_raw_fd(), SPARE),
            (their_stderr.as_raw_fd(), 2),
        ];
        run(&data, &frame, fds);
    }
    Child {
        pid,
        stream: ours,
        stderr: Some(File::from(OwnedFd::from(stderr))),
        spare: Some(spare),
    }
}

/// Becomes the deputy.
fn run(data: &[u8], frame: &[u8], fds: [(i32, i32); 3]) -> ! {
    // SAFETY: only raw calls and copies into a range that is mapped here; control never comes back.
    unsafe {
        for (from, to) in fds {
            libc::dup2(from, to);
        }
        // What other tests have open is theirs: its end would not be seen there.
        libc::syscall(libc::SYS_close_range, 3, FD - 1, 0);
        libc::syscall(libc::SYS_close_range, FD + 1, SPARE - 1, 0);
        libc::syscall(libc::SYS_close_range, SPARE + 1, u32::MAX, 0);
        let all = u64::MAX;
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const all,
            0,
            8,
        );
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let map = libc::mmap(BASE as *mut _, STUB_SIZE as usize, 7, flags, -1, 0);
        if map as u64 != BASE {
            libc::_exit(90);
        }
        std::ptr::copy_nonoverlapping(code().as_ptr(), map.cast(), code().len());
        std::ptr::copy_nonoverlapping(data.as_ptr(), (BASE + DATA) as *mut u8, data.len());
        std::ptr::copy_nonoverlapping(frame.as_ptr(), (BASE + FRAME) as *mut u8, frame.len());
        let (stack, entry) = (BASE + STACK_TOP, BASE + ENTRY);
        std::arch::asm!("mov rsp, {stack}", "jmp {entry}", stack = in(reg) stack, entry = in(reg) entry, options(noreturn));
    }
}

impl Child {
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn send(&mut self, request: &Request, input: &[u8]) {
        let request = Request {
            in_len: input.len() as u64,
            ..request.clone()
        };
        self.write(&[&request.encode()[..], input].concat());
    }

    pub fn frame(&mut self) -> (Answer, Vec<u8>) {
        let mut header = [0; ANSWER_LEN];
        self.stream.read_exact(&mut header).unwrap();
        let answer = Answer::decode(&header);
        let mut out = vec![0; answer.len as usize];
        self.stream.read_exact(&mut out).unwrap();
        (answer, out)
    }

    /// Sends a request and takes its answer, which no signal may precede.
    pub fn ask(&mut self, request: &Request, input: &[u8]) -> (i64, Vec<u8>) {
        self.send(request, input);
        let (answer, out) = self.frame();
        assert_eq!(answer.kind, KIND_REPLY);
        (answer.value, out)
    }

    pub fn call(&mut self, nr: i64, args: [u64; 6]) -> i64 {
        self.ask(
            &Request {
                nr: nr as u64,
                args,
                ..Request::default()
            },
            &[],
        )
        .0
    }

    /// A pipe in the child: its reading and its writing end.
    pub fn pipe(&mut self) -> (u64, u64) {
        let place = BASE + INLINE_IN;
        let pipe = Request {
            nr: libc::SYS_pipe as u64,
            args: [place, 0, 0, 0, 0, 0],
            ..Request::default()
        };
        let (value, fds) = self.ask(
            &Request {
                out_ptr: place,
                out_fixed: 8,
                ..pipe
            },
            &[],
        );
        assert_eq!(value, 0);
        (u64::from(fds[0]), u64::from(fds[4]))
    }

    pub fn take_stderr(&mut self) -> File {
        self.stderr.take().unwrap()
    }

    /// Ends the channel; the child's wait status.
    pub fn end(self) -> i32 {
        drop(self.stream);
        wait(self.pid)
    }
}

pub fn wait(pid: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is live; the child is ours.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    status
}
