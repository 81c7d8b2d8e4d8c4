//! The program that is measured: it does what each line of its input says and answers with a line, mostly a time in nanoseconds. An
//! order that begins with `cpu` is answered with CPU time: calls that wait for nobody are not to wait for other programs either.

use std::ffi::OsString;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;

use super::busy::{Caller, Writer};
use mos::sys::tracked::clock_ns;
use mos::sys::{socket, unix};

/// Its name; it is no command for people.
pub const NAME: &str = "mos-bench-worker";

const PAGE: u64 = 4096;
/// Numbers of the kernel's clocks.
const MONOTONIC: i32 = 1;
const THREAD_CPU: i32 = 3;

/// Size of the file that is read and written: more than a processor's near caches hold.
const FILE_LEN: u64 = 16 << 20;
/// A file that is opened: one that every system has.
const OPENED: &str = "/proc/self/exe";

/// Serves until the end of its input.
pub fn run(_: &[OsString]) -> i32 {
    let mut worker = Worker::default();
    for line in io::stdin().lock().lines() {
        let answer = match line.and_then(|line| worker.follow(&line)) {
            Ok(number) => number.to_string(),
            Err(error) => format!("failed: {error}"),
        };
        if writeln!(io::stdout(), "{answer}").is_err() {
            break;
        }
    }
    0
}

#[derive(Default)]
struct Worker {
    writer: Option<Writer>,
    pool: Vec<Caller>,
    file: Option<File>,
    memory: Vec<u8>,
    /// What the last writer wrote in each tenth of a second.
    written: Vec<u64>,
    listener: Option<TcpListener>,
    peer: Option<TcpStream>,
}

impl Worker {
    fn follow(&mut self, line: &str) -> io::Result<u64> {
        let mut words = line.split_ascii_whitespace().peekable();
        let clock = if words.next_if_eq(&"cpu").is_some() {
            THREAD_CPU
        } else {
            MONOTONIC
        };
        let times =
            |count: u64, what: &mut dyn FnMut(u64) -> io::Result<()>| times(clock, count, what);
        let verb = words.next().unwrap_or_default();
        let mut numbers = words.map(|word| word.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        match verb {
            "pid" => Ok(u64::from(std::process::id())),
            "getppid" => times(next(), &mut |_| {
                black_box(std::os::unix::process::parent_id());
                Ok(())
            }),
            "open" => times(next(), &mut |_| File::open(OPENED).map(drop)),
            "read" => self.read(clock, next(), next()),
            "write" => self.write(clock, next(), next()),
            "fill" => Ok(self.fill(next())),
            "sum" => Ok(self.sum()),
            "touch" => Ok(self.touch(next(), next())),
            "keep-writing" => self.keep_writing(next()),
            "stop-writing" => self.stop_writing(),
            "slices" => Ok(self.slices().len() as u64),
            "slice" => Ok(*self.slices().get(next() as usize).unwrap_or(&0)),
            "pool" => self.make_pool(next()),
            "calls" => self.calls(next()),
            "listen" => self.listen(),
            "accept" => self.accept(),
            "connect" => self.connect(next()),
            "ping" => self.ping(next(), next(), next()),
            "pong" => self.pong(next(), next(), next()),
            "send" => self.send(next(), next()),
            "receive" => self.receive(next(), next()),
            "send-memory" => self.send_memory(),
            "receive-fresh" => self.receive_fresh(next()),
            _ => Err(io::Error::other(format!("no such order: {line}"))),
        }
    }

    /// A file that is in memory.
    fn file(&mut self) -> io::Result<&File> {
        if self.file.is_none() {
            let mut file = unix::memfd(c"bench")?;
            file.write_all(&vec![1; FILE_LEN as usize])?;
            self.file = Some(file);
        }
        Ok(self.file.as_ref().expect("just made"))
    }

    fn read(&mut self, clock: i32, size: u64, count: u64) -> io::Result<u64> {
        let mut buffer = vec![0; size as usize];
        let file = self.file()?;
        times(clock, count, &mut |round| {
            file.read_exact_at(&mut buffer, round * size % FILE_LEN)
        })
    }

    fn write(&mut self, clock: i32, size: u64, count: u64) -> io::Result<u64> {
        let buffer = vec![2; size as usize];
        let file = self.file()?;
        times(clock, count, &mut |round| {
            file.write_all_at(&buffer, round * size % FILE_LEN)
        })
    }

    /// Takes memory and fills it with what cannot be compressed; the sum of it.
    fn fill(&mut self, bytes: u64) -> u64 {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        self.memory = vec![0; bytes as usize];
        for word in self.memory.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        self.sum()
    }

    /// Writes to the first of so many pages in a hundred; how many bytes of pages that were.
    fn touch(&mut self, parts: u64, of: u64) -> u64 {
        let pages = self.memory.len() as u64 / PAGE * parts / of.max(1);
        let written = self.memory.iter_mut().step_by(PAGE as usize);
        written.take(pages as usize).for_each(|byte| *byte ^= 1);
        pages * PAGE
    }

    /// Has a thread write to the memory, so many bytes of pages in a second, from now on.
    fn keep_writing(&mut self, rate: u64) -> io::Result<u64> {
        let memory = std::mem::take(&mut self.memory);
        self.writer = Some(Writer::start(memory, rate)?);
        Ok(0)
    }

    /// The longest time in which it did not get on, in nanoseconds.
    fn stop_writing(&mut self) -> io::Result<u64> {
        let writer = self.writer.take().ok_or(io::ErrorKind::NotFound)?;
        let written = writer.stop()?;
        (self.memory, self.written) = (written.memory, written.slices);
        Ok(written.longest_ns)
    }

    fn slices(&self) -> &[u64] {
        &self.written
    }

    /// Starts threads that make calls when they are told.
    fn make_pool(&mut self, threads: u64) -> io::Result<u64> {
        self.pool = (0..threads)
            .map(|_| Caller::start())
            .collect::<io::Result<_>>()?;
        Ok(threads)
    }

    /// So many calls, by all threads of the pool together.
    fn calls(&mut self, count: u64) -> io::Result<u64> {
        let each = count.div_ceil(self.pool.len().max(1) as u64);
        times(MONOTONIC, 1, &mut |_| {
            self.pool.iter().try_for_each(|caller| caller.begin(each))?;
            self.pool.iter().try_for_each(Caller::done)
        })
    }

    /// One byte of each page tells whether all pages are there.
    fn sum(&self) -> u64 {
        let bytes = self.memory.iter().step_by(4096);
        bytes.fold(0, |sum: u64, byte| sum.rotate_left(7) ^ u64::from(*byte))
    }

    fn listen(&mut self) -> io::Result<u64> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        self.listener = Some(listener);
        Ok(u64::from(port))
    }

    fn accept(&mut self) -> io::Result<u64> {
        let listener = self.listener.take().ok_or(io::ErrorKind::NotConnected)?;
        let (peer, _) = listener.accept()?;
        socket::tune_tcp(&peer)?;
        self.peer = Some(peer);
        Ok(0)
    }

    fn connect(&mut self, port: u64) -> io::Result<u64> {
        let peer = TcpStream::connect((Ipv4Addr::LOCALHOST, port as u16))?;
        socket::tune_tcp(&peer)?;
        self.peer = Some(peer);
        Ok(0)
    }

    fn peer(&mut self) -> io::Result<&mut TcpStream> {
        self.peer
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn ping(&mut self, request: u64, reply: u64, count: u64) -> io::Result<u64> {
        let (request, mut reply) = (vec![0; request as usize], vec![0; reply as usize]);
        let peer = self.peer()?;
        times(MONOTONIC, count, &mut |_| {
            peer.write_all(&request)?;
            peer.read_exact(&mut reply)
        })
    }

    fn pong(&mut self, request: u64, reply: u64, count: u64) -> io::Result<u64> {
        let (mut request, reply) = (vec![0; request as usize], vec![0; reply as usize]);
        let peer = self.peer()?;
        times(MONOTONIC, count, &mut |_| {
            peer.read_exact(&mut request)?;
            peer.write_all(&reply)
        })
    }

    /// Sends as fast as the other side takes it, and waits for its word that it has all.
    fn send(&mut self, size: u64, count: u64) -> io::Result<u64> {
        let buffer = vec![3; size as usize];
        let peer = self.peer()?;
        times(MONOTONIC, 1, &mut |_| {
            (0..count).try_for_each(|_| peer.write_all(&buffer))?;
            peer.read_exact(&mut [0])
        })
    }

    fn receive(&mut self, size: u64, count: u64) -> io::Result<u64> {
        let mut buffer = vec![0; size as usize];
        let peer = self.peer()?;
        times(MONOTONIC, 1, &mut |_| {
            (0..count).try_for_each(|_| peer.read_exact(&mut buffer))?;
            peer.write_all(&[0])
        })
    }

    fn send_memory(&mut self) -> io::Result<u64> {
        let mut peer = self.peer.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        times(MONOTONIC, 1, &mut |_| {
            peer.write_all(&self.memory)?;
            peer.read_exact(&mut [0])
        })
    }

    fn receive_fresh(&mut self, bytes: u64) -> io::Result<u64> {
        let peer = self.peer()?;
        times(MONOTONIC, 1, &mut |_| {
            // Memory of zeros from the kernel, none of it touched yet.
            let mut memory = vec![0; bytes as usize];
            peer.read_exact(&mut memory)?;
            black_box(&memory);
            peer.write_all(&[0])
        })
    }
}

/// Does it `count` times, giving the number of the round; how long it took on that clock, in nanoseconds.
fn times(clock: i32, count: u64, what: &mut dyn FnMut(u64) -> io::Result<()>) -> io::Result<u64> {
    let begin = clock_ns(clock)?;
    (0..count).try_for_each(what)?;
    Ok(clock_ns(clock)? - begin)
}
