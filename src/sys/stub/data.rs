//! The stub's state, as its code knows it by offset, and what is written there before the stub starts.

use std::mem::offset_of;

use super::layout::{DATA, FRAME, SIGINFO_LEN};

/// Signals that the stub can keep. When it has no more room, it blocks all signals, and the kernel keeps the rest.
pub(super) const QUEUE: usize = 32;
/// A queued signal is the frame that will be sent: header and `siginfo`.
pub(super) const QUEUED_LEN: usize = 16 + SIGINFO_LEN;

/// Most bytes of the address to connect to: `sockaddr_un`.
const ADDRESS_MAX: usize = 110;
/// Most bytes that are sent after connecting.
const GREETING_MAX: usize = 64;
/// Most bytes of the message for a lost channel.
const LOST_MAX: usize = 256;

/// There is a way back.
pub(super) const UNDECIDED: u32 = 0;
/// There is none any more: the first program's request has come.
pub(super) const COMMITTED: u32 = 1;
/// One thread takes it, and gives the signal actions back.
pub(super) const ROLLING_BACK: u32 = 2;
/// That is done: all others may follow.
pub(super) const ROLLED_BACK: u32 = 3;
/// The message about the loss has been printed.
pub(super) const DYING: u32 = 4;

/// The new owner has the process for good.
pub(super) const FINAL: u32 = 1;
/// Some thread has fallen back to the former owner: all do.
pub(super) const FALLEN_BACK: u32 = 2;

/// The state, at `B + DATA`.
#[repr(C)]
pub(super) struct Page {
    /// The channel's descriptor; -1 before it is connected.
    pub channel: i32,
    /// The number that the channel gets after connecting.
    pub wanted: i32,
    /// Address of the rollback frame; 0: there is no way back.
    pub rollback: u64,
    /// The program's signal mask, set again after the stub had to block all.
    pub mask: u64,
    /// What became of the way back, for all threads of the process: one of `UNDECIDED` … `DYING`.
    pub decided: u32,
    /// How many threads are about to leave their stubs for home.
    pub leaving: u32,
    /// What became of a hand-over, for all threads: 0, [`FINAL`] or [`FALLEN_BACK`].
    pub handed: u32,
    /// Where these three are: in the page of the stub of one of them. 0: here.
    pub decision: u64,
    /// The stub has blocked all signals because its queue is full.
    pub masked: u32,
    /// Counters of signals (slot = counter mod [`QUEUE`]): `kept … head` are sent but must be taken again on a rollback,
    /// `head … tail` are to be sent.
    pub kept: u32,
    pub head: u32,
    pub tail: u32,
    /// `tail` when a fork began: what was queued then is the parent's.
    pub fork_tail: u32,
    /// Header of the answer that is being sent.
    pub answer: [u8; 16],
    /// The answer's two pieces, and the `msghdr` that points to them.
    pub iov: [u64; 4],
    pub message: [u64; 7],
    pub address_len: u32,
    pub greeting_len: u32,
    pub lost_len: u32,
    /// The stub serves: the process is a deputy.
    pub serving: u32,
    /// What was left of the time of a call when it came home, where the program's own `timespec` must stay as it is, and the pointer
    /// to that one.
    pub time: [u64; 2],
    pub time_pointer: u64,
    /// A second descriptor of the channel of the owner before this one, while a hand-over is not final; 0: none.
    pub spare: u32,
    /// Why the process is frozen (`home::mover::park`); 0: it is not. Then its descriptors listed at `B + PARKING` hold the image and
    /// the other ends of its threads' channels, and are closed when it leaves the stub.
    pub parked: u32,
    pub address: [u8; ADDRESS_MAX + 2],
    pub greeting: [u8; GREETING_MAX],
    pub lost: [u8; LOST_MAX],
    /// The program's 64 actions as they were when the stub started.
    pub saved: [[u64; 4]; 64],
    pub queue: [[u8; QUEUED_LEN]; QUEUE],
}

const _: () = assert!(size_of::<Page>() as u64 <= FRAME - DATA);

/// Offset of the spare channel's number (32 bits) in the stub's range.
pub const SPARE: u64 = DATA + offset_of!(Page, spare) as u64;

/// Offset of the word that says why a process is frozen (32 bits; 0: it is not) in the range of its first stub.
pub const PARKED: u64 = DATA + offset_of!(Page, parked) as u64;

/// Offset of the word about a hand-over (32 bits) in the range of the process's first stub.
pub const HANDED: u64 = DATA + offset_of!(Page, handed) as u64;
const _: () = assert!(offset_of!(Page, leaving) == offset_of!(Page, decided) + 4);
const _: () = assert!(offset_of!(Page, handed) == offset_of!(Page, decided) + 8);

/// What a stub is started with.
#[derive(Clone, Debug)]
pub struct Data {
    channel_fd: i32,
    rollback: u64,
    decision: u64,
    address: Vec<u8>,
    greeting: Vec<u8>,
    lost: Vec<u8>,
}

impl Data {
    /// A stub whose channel is descriptor `channel_fd`, open already unless one of the `connect` methods is used.
    pub fn new(channel_fd: i32) -> Data {
        Data {
            channel_fd,
            rollback: 0,
            decision: 0,
            address: Vec::new(),
            greeting: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// First connects to the abstract Unix socket `name` (at most 107 bytes; more are cut).
    pub fn connect_abstract(mut self, name: &str) -> Data {
        self.address = (libc::AF_UNIX as u16).to_le_bytes().to_vec();
        self.address.push(0);
        self.address.extend(name.bytes().take(ADDRESS_MAX - 3));
        self
    }

    /// First connects to this TCP address.
    pub fn connect_tcp(mut self, to: std::net::SocketAddrV4) -> Data {
        self.address = (libc::AF_INET as u16).to_le_bytes().to_vec();
        self.address.extend(to.port().to_be_bytes());
        self.address.extend(to.ip().octets());
        self.address.extend([0; 8]);
        self
    }

    /// Sends this after connecting (at most 64 bytes; more are cut).
    pub fn greeting(mut self, bytes: &[u8]) -> Data {
        self.greeting = bytes.iter().copied().take(GREETING_MAX).collect();
        self
    }

    /// Address of the rollback frame. Without one, an end of the channel kills the process from the beginning.
    pub fn rollback(mut self, frame: u64) -> Data {
        self.rollback = frame;
        self
    }

    /// The stub of a further thread: it goes the way of the one at `base`.
    pub fn follows(mut self, base: u64) -> Data {
        self.decision = base + DATA + offset_of!(Page, decided) as u64;
        self
    }

    /// What is written to standard error when the channel is lost for good (at most 256 bytes; more are cut).
    pub fn lost(mut self, message: &str) -> Data {
        self.lost = message.bytes().take(LOST_MAX).collect();
        self
    }

    /// The bytes to write at `B + DATA`. They reset all of the state, also of a stub that has run there before.
    pub fn encode(&self) -> Vec<u8> {
        let mut page = vec![0; offset_of!(Page, saved)];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        let channel = if self.address.is_empty() {
            self.channel_fd
        } else {
            -1
        };
        put(offset_of!(Page, channel), &channel.to_le_bytes());
        put(offset_of!(Page, wanted), &self.channel_fd.to_le_bytes());
        put(offset_of!(Page, rollback), &self.rollback.to_le_bytes());
        put(offset_of!(Page, decision), &self.decision.to_le_bytes());
        put(offset_of!(Page, mask), &u64::MAX.to_le_bytes());
        put(
            offset_of!(Page, address_len),
            &(self.address.len() as u32).to_le_bytes(),
        );
        put(
            offset_of!(Page, greeting_len),
            &(self.greeting.len() as u32).to_le_bytes(),
        );
        put(
            offset_of!(Page, lost_len),
            &(self.lost.len() as u32).to_le_bytes(),
        );
        put(offset_of!(Page, address), &self.address);
        put(offset_of!(Page, greeting), &self.greeting);
        put(offset_of!(Page, lost), &self.lost);
        page
    }
}
