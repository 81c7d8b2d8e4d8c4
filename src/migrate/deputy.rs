//! The near end of a channel: requests to a deputy's stub and its answers.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use crate::image::capture::Calls;
use crate::migrate::answers::Answers;
use crate::sys::abi;
use crate::sys::poll::Source;
use crate::sys::socket::{self, wait_readable};
use crate::wire::channel::{self, Answer, REQUEST_LEN, Request, SIGINFO_LEN};

/// A `siginfo_t` as the home kernel delivered it.
pub type SigInfo = [u8; SIGINFO_LEN];

/// One frame from the stub.
#[derive(Debug)]
pub enum Frame {
    Reply { value: i64, out: Vec<u8> },
    Signal(Box<SigInfo>),
}

/// The most that an answer may carry: a program's transfers are cut to this by `syscall`.
const MAX_OUT: usize = 64 << 20;

/// Input that is put behind its header to be sent in one piece.
const SHORT_INPUT: usize = 1024;

/// How long an answer is waited for before anything else is.
const SOON: Duration = Duration::from_millis(2);

/// A deputy, as its owner (mover or host) speaks with it.
pub struct Deputy {
    stream: TcpStream,
    /// Base of the stub's range.
    pub base: u64,
    /// The channel's descriptor number in the deputy.
    pub channel_fd: i32,
    /// The channel of the owner before, while the hand-over to this one is not final.
    pub spare: Option<u64>,
    /// Descriptors of the process that the thread closes when it goes on, if it does so from within a call: they held it while it was
    /// frozen.
    pub holding: Vec<u64>,
    /// Signals that arrived while an answer was awaited.
    pub signals: VecDeque<Box<SigInfo>>,
    source: Source,
    answers: Answers,
    /// Most bytes that the answer under way carries.
    expected: usize,
    /// A receive waits for no longer than `SOON`.
    limited: bool,
}

impl Deputy {
    /// `fd` is a connected stream socket whose other end is the stub's channel.
    pub fn new(fd: OwnedFd, base: u64, channel_fd: i32) -> Deputy {
        Deputy {
            source: Source::new(&fd),
            stream: TcpStream::from(fd),
            base,
            channel_fd,
            spare: None,
            holding: Vec::new(),
            signals: VecDeque::new(),
            answers: Answers::default(),
            expected: 0,
            limited: false,
        }
    }

    pub fn raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// This end of the channel.
    pub fn end(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// What is to be watched for frames, unless one has begun.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Whether a part of the next frame is here already.
    pub fn has_begun(&self) -> bool {
        self.answers.has_begun()
    }

    /// Waits for a frame; false when none begins within `timeout`.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        Ok(self.has_begun() || wait_readable(&self.stream, timeout)?)
    }

    /// Waits shortly for the next frame, and takes its beginning; false when none begins. The end of the channel counts as a frame: it
    /// is found when that is read.
    pub fn answers(&mut self) -> bool {
        if !self.limited {
            self.limited = socket::limit_receive(&self.stream, SOON).is_ok();
        }
        self.limited
            && self
                .answers
                .begin(&self.stream, self.expected)
                .unwrap_or(true)
    }

    /// Gives back what an answer carried, as room for others.
    pub fn reuse(&mut self, out: Vec<u8>) {
        self.answers.reuse(out);
    }

    /// Sends a request with its input. One request may be under way at a time.
    pub fn send(&mut self, request: &Request, input: &[u8]) -> io::Result<()> {
        debug_assert_eq!(request.in_len as usize, input.len());
        log::trace!(
            "request {} flags {:#x} {:x?}",
            request.nr,
            request.flags,
            request.args
        );
        self.expected = (request.out_fixed + request.out_max) as usize;
        let header = request.encode();
        if input.len() <= SHORT_INPUT {
            let mut bytes = [0; REQUEST_LEN + SHORT_INPUT];
            bytes[..REQUEST_LEN].copy_from_slice(&header);
            bytes[REQUEST_LEN..][..input.len()].copy_from_slice(input);
            return self.stream.write_all(&bytes[..REQUEST_LEN + input.len()]);
        }
        let total = header.len() + input.len();
        let mut sent = self
            .stream
            .write_vectored(&[IoSlice::new(&header), IoSlice::new(input)])?;
        while sent < total {
            let rest = if sent < header.len() {
                &header[sent..]
            } else {
                &input[sent - header.len()..]
            };
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => sent += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads one frame; blocks until it is complete. `UnexpectedEof` when the deputy has closed the channel.
    pub fn read_frame(&mut self) -> io::Result<Frame> {
        let bad = |what: &str| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the deputy sent a {what} that cannot be"),
            )
        };
        let length = |answer: &Answer| match (answer.kind, answer.len as usize) {
            (channel::KIND_SIGNAL, SIGINFO_LEN) => Ok(SIGINFO_LEN),
            (channel::KIND_REPLY, len) if len <= MAX_OUT => Ok(len),
            _ => Err(bad("frame")),
        };
        let (answer, out) = self.answers.next(&self.stream, self.expected, length)?;
        if answer.kind == channel::KIND_REPLY {
            let value = answer.value;
            return Ok(Frame::Reply { value, out });
        }
        match SigInfo::try_from(&out[..]) {
            Ok(info) if is_signal(&info) => Ok(Frame::Signal(Box::new(info))),
            _ => Err(bad("signal")),
        }
    }

    /// Sends a request and waits for its answer; signals that arrive first are queued in `signals`.
    pub fn rpc(&mut self, request: &Request, input: &[u8]) -> io::Result<(i64, Vec<u8>)> {
        self.send(request, input)?;
        loop {
            match self.read_frame()? {
                Frame::Reply { value, out } => return Ok((value, out)),
                Frame::Signal(info) => self.signals.push_back(info),
            }
        }
    }

    /// A plain system call in the deputy; a failure of the call is an error too.
    pub fn call(&mut self, nr: u64, args: [u64; 6]) -> io::Result<u64> {
        checked(self.raw_call(nr, args)?)
    }

    /// A call whose argument `at` points to `input`.
    pub fn call_with(
        &mut self,
        nr: u64,
        args: [u64; 6],
        at: usize,
        input: &[u8],
    ) -> io::Result<u64> {
        checked(self.try_call_with(nr, args, at, input)?)
    }

    /// The same; its raw result.
    pub fn try_call_with(
        &mut self,
        nr: u64,
        mut args: [u64; 6],
        at: usize,
        input: &[u8],
    ) -> io::Result<i64> {
        args[at] = self.base + channel::INLINE_IN;
        let request = Request {
            nr,
            args,
            in_len: input.len() as u64,
            ..Request::default()
        };
        Ok(self.rpc(&request, input)?.0)
    }

    /// Reads the deputy's memory.
    pub fn read_memory(&mut self, addr: u64, len: u64) -> io::Result<Vec<u8>> {
        let request = Request {
            flags: channel::NO_CALL,
            out_ptr: addr,
            out_fixed: len,
            ..Request::default()
        };
        Ok(self.rpc(&request, &[])?.1)
    }

    /// Writes the deputy's memory.
    pub fn write_memory(&mut self, addr: u64, bytes: &[u8]) -> io::Result<()> {
        let request = Request {
            flags: channel::NO_CALL,
            in_len: bytes.len() as u64,
            in_ptr: addr,
            ..Request::default()
        };
        self.rpc(&request, bytes).map(drop)
    }

    /// Has it forget the way back to its state at departure.
    pub fn commit(&mut self) -> io::Result<()> {
        let request = Request {
            flags: channel::COMMIT | channel::NO_CALL,
            ..Request::default()
        };
        self.rpc(&request, &[]).map(drop)
    }

    /// Has it end its thread; it closes the channel.
    pub fn end_thread(&mut self, code: u64) -> io::Result<()> {
        let request = Request {
            flags: channel::PROGRAM | channel::END_THREAD,
            args: [code, 0, 0, 0, 0, 0],
            ..Request::default()
        };
        self.send(&request, &[])
    }

    /// Sets the signal mask of the deputy, for good.
    pub fn set_mask(&mut self, mask: u64) -> io::Result<()> {
        let request = Request {
            flags: channel::SET_MASK,
            nr: abi::SYS_RT_SIGPROCMASK,
            args: [abi::SIG_SETMASK, self.base + channel::INLINE_IN, 0, 8, 0, 0],
            in_len: 8,
            child_fd: mask,
            ..Request::default()
        };
        checked(self.rpc(&request, &mask.to_le_bytes())?.0).map(drop)
    }

    /// Has the deputy, thread `tid` of process `pid`, send this `siginfo` to itself, being the only sender from whom the kernel takes any.
    pub fn queue_signal(&mut self, pid: i32, tid: i32, info: &[u8]) -> io::Result<()> {
        let signo = u64::from(u32::from_le_bytes([info[0], info[1], info[2], info[3]]));
        let place = self.base + channel::INLINE_IN;
        let request = Request {
            nr: abi::SYS_RT_TGSIGQUEUEINFO,
            args: [pid as u64, tid as u64, signo, place, 0, 0],
            in_len: info.len() as u64,
            ..Request::default()
        };
        self.rpc(&request, info).map(drop)
    }

    /// The 64 signal actions of the deputy: handler, flags, restorer, mask.
    pub fn actions(&mut self) -> io::Result<Vec<[u64; 4]>> {
        let request = Request {
            flags: channel::GET_ACTIONS,
            out_ptr: self.base + channel::INLINE_IN,
            out_fixed: 64 * 32,
            ..Request::default()
        };
        let (_, out) = self.rpc(&request, &[])?;
        Ok(out.chunks_exact(32).map(action_from_bytes).collect())
    }

    /// Sets all 64 signal actions (SIGKILL's and SIGSTOP's are skipped).
    pub fn set_actions(&mut self, actions: &[[u64; 4]]) -> io::Result<()> {
        let input: Vec<u8> = actions
            .iter()
            .flatten()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let request = Request {
            flags: channel::SET_ACTIONS,
            in_len: input.len() as u64,
            in_ptr: 0,
            args: [self.base + channel::INLINE_IN, 0, 0, 0, 0, 0],
            ..Request::default()
        };
        checked(self.rpc(&request, &input)?.0).map(drop)
    }
}

impl Calls for Deputy {
    fn raw_call(&mut self, nr: u64, args: [u64; 6]) -> io::Result<i64> {
        Ok(self
            .rpc(
                &Request {
                    nr,
                    args,
                    ..Request::default()
                },
                &[],
            )?
            .0)
    }

    fn call_out(
        &mut self,
        nr: u64,
        mut args: [u64; 6],
        at: usize,
        len: u64,
    ) -> io::Result<(i64, Vec<u8>)> {
        let place = self.base + channel::INLINE_IN;
        args[at] = place;
        self.rpc(
            &Request {
                nr,
                args,
                out_ptr: place,
                out_fixed: len,
                ..Request::default()
            },
            &[],
        )
    }
}

/// Whether these are the bytes of a `siginfo_t` of a signal that exists.
pub fn is_signal(info: &[u8]) -> bool {
    info.len() == SIGINFO_LEN && matches!(info[..4], [1..=64, 0, 0, 0])
}

fn action_from_bytes(bytes: &[u8]) -> [u64; 4] {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    [word(0), word(8), word(16), word(24)]
}

/// A raw result as `Result`.
pub fn checked(value: i64) -> io::Result<u64> {
    if (-4095..0).contains(&value) || value == channel::ABORTED {
        Err(io::Error::from_raw_os_error(if value == channel::ABORTED {
            abi::EINTR
        } else {
            -value as i32
        }))
    } else {
        Ok(value as u64)
    }
}
