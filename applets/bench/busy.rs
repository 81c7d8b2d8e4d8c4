//! Threads of a worker: one that writes memory all the time, and some that make calls.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PAGE: usize = 4096;
/// What is written at one go takes about so long; then the rest of the time is slept.
const STEP: Duration = Duration::from_millis(1);
/// From this rate on there is no time to sleep, in bytes per second.
const FAST: u64 = 1_000_000_000;
/// What is written is counted by so much time.
pub const SLICE: Duration = Duration::from_millis(100);

/// A thread that writes to one page after the other.
pub struct Writer {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Written>,
}

/// What it has done.
pub struct Written {
    pub memory: Vec<u8>,
    /// The longest time from one step to the next.
    pub longest_ns: u64,
    /// Bytes of pages that were written in each [`SLICE`].
    pub slices: Vec<u64>,
}

impl Writer {
    /// Writes `rate` bytes of pages in a second, if it can.
    pub fn start(memory: Vec<u8>, rate: u64) -> io::Result<Writer> {
        let end = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&end);
        let thread = std::thread::Builder::new().spawn(move || write(memory, rate, &told))?;
        Ok(Writer { end, thread })
    }

    pub fn stop(self) -> io::Result<Written> {
        self.end.store(true, Ordering::Relaxed);
        let died = |_| io::Error::other("the writer died");
        self.thread.join().map_err(died)
    }
}

fn write(mut memory: Vec<u8>, rate: u64, end: &AtomicBool) -> Written {
    let pages = memory.len() / PAGE;
    let step = ((rate as f64 * STEP.as_secs_f64()) as usize / PAGE).clamp(1, pages.max(1));
    let (mut at, mut longest_ns, mut slices) = (0, 0, Vec::new());
    let begin = Instant::now();
    let (mut last, mut due) = (begin, begin);
    while !end.load(Ordering::Relaxed) {
        for _ in 0..step.min(pages) {
            memory[at * PAGE] ^= 1;
            at = (at + 1) % pages;
        }
        let now = Instant::now();
        longest_ns = longest_ns.max((now - last).as_nanos() as u64);
        last = now;
        let slice = ((now - begin).as_nanos() / SLICE.as_nanos()) as usize;
        slices.resize(slice.max(slices.len().saturating_sub(1)) + 1, 0);
        slices[slice] += (step * PAGE) as u64;
        // What was missed is not made up for.
        due = (due + STEP).max(now);
        while rate >= FAST && Instant::now() < due {
            std::hint::spin_loop();
        }
        if rate < FAST {
            std::thread::sleep(due - now);
        }
    }
    Written {
        memory,
        longest_ns,
        slices,
    }
}

/// A thread that makes calls when it is told.
pub struct Caller {
    orders: Sender<u64>,
    done: Receiver<()>,
}

impl Caller {
    pub fn start() -> io::Result<Caller> {
        let (orders, told) = channel::<u64>();
        let (finished, done) = channel();
        std::thread::Builder::new().spawn(move || {
            for count in told {
                for _ in 0..count {
                    black_box(std::os::unix::process::parent_id());
                }
                if finished.send(()).is_err() {
                    break;
                }
            }
        })?;
        Ok(Caller { orders, done })
    }

    pub fn begin(&self, count: u64) -> io::Result<()> {
        self.orders.send(count).map_err(io::Error::other)
    }

    pub fn done(&self) -> io::Result<()> {
        self.done.recv().map_err(io::Error::other)
    }
}
