//! A deputy without channel: executes requests here, in an area of its own.

use std::cell::Cell;

use crate::sys::{mem, trial};
use crate::syscall::{After, Fault, Forward, GuestMemory, Home, Plan, after, plan};
use crate::wire::channel::{INLINE_IN, OUT_BY_RESULT, STUB_SIZE, UNIT_SHIFT};

/// The memory of this process as a guest's.
pub struct Own;

impl GuestMemory for Own {
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), Fault> {
        mem::read_exact(std::process::id() as i32, addr, buf).map_err(|_| Fault)
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Fault> {
        mem::write_all(std::process::id() as i32, addr, data).map_err(|_| Fault)
    }
}

pub struct Deputy {
    home: Cell<Home>,
    /// Requests executed.
    pub requests: Cell<u32>,
}

/// A descriptor that plays the channel.
pub const CHANNEL: i32 = 1_000_000;

impl Deputy {
    pub fn new() -> Deputy {
        let stub = trial::map(STUB_SIZE, 3);
        let pid = std::process::id() as i32;
        Deputy {
            home: Cell::new(Home {
                stub,
                big: None,
                channels: crate::syscall::Fds::one(CHANNEL),
                pid,
            }),
            requests: Cell::new(0),
        }
    }

    pub fn hiding(fd: i32) -> Deputy {
        let deputy = Deputy::new();
        deputy.home.set(Home {
            channels: crate::syscall::Fds::one(fd),
            ..deputy.home.get()
        });
        deputy
    }

    /// What the guest would get.
    pub fn call(&self, nr: u64, args: &[u64]) -> i64 {
        let mut six = [0; 6];
        six[..args.len()].copy_from_slice(args);
        let mut next = plan(nr, six, &Own, &self.home.get());
        loop {
            match next {
                Plan::Errno(error) => return -i64::from(error),
                Plan::NeedBig(bytes) => {
                    let len = bytes.next_multiple_of(1 << 21);
                    self.home.set(Home {
                        big: Some((trial::map(len, 3), len)),
                        ..self.home.get()
                    });
                    next = plan(nr, six, &Own, &self.home.get());
                }
                Plan::Forward(forward) => {
                    let value = self.execute(&forward);
                    match after(&forward, nr, six, &Own, &self.home.get(), value) {
                        After::Done(value) => return value,
                        After::More(more) => next = *more,
                    }
                }
                other => panic!("call {nr}: {other:?}"),
            }
        }
    }

    fn execute(&self, forward: &Forward) -> i64 {
        self.requests.set(self.requests.get() + 1);
        let request = &forward.request;
        let home = self.home.get();
        let in_ptr = if request.in_ptr == 0 {
            home.stub + INLINE_IN
        } else {
            request.in_ptr
        };
        assert_eq!(
            (forward.base, forward.input.len() as u64),
            (in_ptr, request.in_len)
        );
        self.inside(in_ptr, request.in_len);
        Own.write(in_ptr, &forward.input).unwrap();
        let value = trial::call(request.nr, request.args);
        let streamed = if request.flags & OUT_BY_RESULT != 0 {
            (value.max(0) as u64 * (request.flags >> UNIT_SHIFT)).min(request.out_max)
        } else {
            0
        };
        let mut out = vec![0; (request.out_fixed + streamed) as usize];
        self.inside(request.out_ptr, request.out_fixed + request.out_max);
        Own.read(request.out_ptr, &mut out).unwrap();
        forward.unpack.finish(&Own, value, &out)
    }

    /// All that a request touches lies in the areas that are there for it.
    fn inside(&self, addr: u64, len: u64) {
        let home = self.home.get();
        let within = |(start, size): (u64, u64)| addr >= start && addr + len <= start + size;
        assert!(
            len == 0 || within((home.stub, STUB_SIZE)) || home.big.is_some_and(within),
            "{addr:#x}+{len:#x}"
        );
    }
}

/// Address of a buffer that a call may read or write.
pub fn at<T>(buf: &mut [T]) -> u64 {
    buf.as_mut_ptr() as u64
}

/// An address that is not mapped for anyone: a page without rights.
pub fn nowhere() -> u64 {
    trial::map(4096, 0)
}

/// The address of a string, which is kept for good.
pub fn text(string: &str) -> u64 {
    let mut bytes = string.as_bytes().to_vec();
    bytes.push(0);
    bytes.leak().as_ptr() as u64
}

/// A fresh directory that goes when dropped.
pub struct Dir(pub std::path::PathBuf);

impl Dir {
    pub fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("mos-calls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
