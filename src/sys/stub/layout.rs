//! Where things are in the stub's range, and the numbers of the protocol that its code serves (`wire::channel` describes it).

/// Size of the stub's range in the address space of a process, and of its reservation in a guest.
pub const STUB_SIZE: u64 = 0x80000;
/// Where the stub is put, if nothing is there and all the room behind it is free. Programs that choose addresses by chance (the machines
/// of JavaScript, some allocators) do so below 64 TiB, the kernel puts executables at 85 TiB and all else below 128 TiB.
pub const PLACES: [u64; 6] = [
    0x4200_0000_0000,
    0x4a00_0000_0000,
    0x5200_0000_0000,
    0x5f00_0000_0000,
    0x6800_0000_0000,
    0x7000_0000_0000,
];
/// What belongs to mos from the base of a process's first stub on: that stub, its larger staging areas, and further threads' stubs.
pub const ROOM: u64 = 512 << 30;
/// Distance from the base of a process's first stub to those of its further threads, side by side.
pub const THREADS: u64 = 2 << 30;
/// Distance from the base of a process's first stub to the larger staging areas of its threads.
pub const BIG: u64 = 4 << 30;
/// Distance between two of those, and the most that each can have.
pub const BIG_SIZE: u64 = 4 << 30;
/// How many there are; those of further threads are where the kernel puts them.
pub const BIG_AREAS: u64 = 120;
/// The base of the stub of a process's thread number `at`; `base` is that of the first.
pub const fn stub_of(base: u64, at: u64) -> u64 {
    if at == 0 {
        base
    } else {
        base + THREADS + (at - 1) * STUB_SIZE
    }
}
/// Offset in the stub's range of its code (one page, read and execute).
pub const CODE: u64 = 0;
/// Offset of the data page (`sys::stub` documents its fields).
pub const DATA: u64 = 0x1000;
/// Offset of the rollback frame: a complete `rt_sigframe` as the kernel lays it out, at most [`FRAME_SIZE`] bytes.
pub const FRAME: u64 = 0x3000;
/// Room for the rollback frame.
pub const FRAME_SIZE: u64 = 0x5000;
/// Offset just past the stub's stack, which grows down to `FRAME + FRAME_SIZE`.
pub const STACK_TOP: u64 = 0x10000;
/// Offset of the staging area; a request's header is received at its beginning.
pub const STAGING: u64 = 0x10000;
/// Size of the staging area.
pub const STAGING_SIZE: u64 = STUB_SIZE - STAGING;
/// Offset of the record of a frozen process, at the end of the staging area: the control message by which its first thread received the
/// descriptors that hold it.
pub const PARKING: u64 = STUB_SIZE - 0x1000;
/// Bytes of a request's header.
pub const REQUEST_LEN: usize = 112;
/// Offset in the stub's range of input that is received inline.
pub const INLINE_IN: u64 = STAGING + REQUEST_LEN as u64;
/// Bytes of an answer's header.
pub const ANSWER_LEN: usize = 16;
/// Bytes of a `siginfo_t`.
pub const SIGINFO_LEN: usize = 128;

/// This request is a call of the program itself: from now on there is no way back to the state at departure.
pub const PROGRAM: u64 = 1;
/// The call is fork-like: the child moves `child_fd` over its channel, empties its signal queue and goes on with the loop; the
/// parent answers with the child's pid.
pub const FORK: u64 = 2;
/// The answer carries as many bytes more as the call's result says: so many, or so many units of the size that stands in the flags
/// from bit [`UNIT_SHIFT`] on (0: bytes).
pub const OUT_BY_RESULT: u64 = 4;
/// See [`OUT_BY_RESULT`].
pub const UNIT_SHIFT: u32 = 32;
/// No system call: only input and output (to write or read the deputy's memory).
pub const NO_CALL: u64 = 8;
/// Signals that are caught while this call has not started yet abort it (`value` is [`ABORTED`]); set on every call of a program.
pub const ABORTABLE: u64 = 16;
/// No system call: store the 64 signal actions (32 bytes each, as `rt_sigaction` gives them) at `out_ptr`.
pub const GET_ACTIONS: u64 = 32;
/// No system call: set the signal actions from 64 entries of 32 bytes at `in_ptr`; entries of SIGKILL and SIGSTOP are skipped.
pub const SET_ACTIONS: u64 = 64;
/// No system call: `rt_sigreturn` with the frame at `out_ptr`, after closing the channel, as soon as `args[0]` threads of the process
/// have come that far. The thread leaves the stub.
pub const RESUME: u64 = 128;
/// After the call, remember `args[1..]`'s mask as the program's: the call is `rt_sigprocmask(SIG_SETMASK)` of this deputy and
/// the mask is in `child_fd`.
pub const SET_MASK: u64 = 256;
/// The call is a `clone` of a thread with a stack of its own, on which the address of the entry of its own stub lies.
pub const THREAD: u64 = 1024;
/// No system call: close the channel and end this thread with status `args[0]`.
pub const END_THREAD: u64 = 2048;
/// No system call: the hand-over of the whole process is final.
pub const SETTLE: u64 = 4096;
/// Forget the rollback frame without being a program's call.
pub const COMMIT: u64 = 512;

/// `value` of an answer whose call was not started, or was interrupted by a mover before it had any effect: issue it again.
pub const ABORTED: i64 = -5000;
/// The same of a call that had begun to wait: for a signal that comes with it, it counts as interrupted.
pub const INTERRUPTED: i64 = -5001;

/// `value` of an answer to no request: the channel's new owner is gone before the hand-over was final, and its former owner, who
/// receives this, owns the deputy again.
pub const FELL_BACK: i64 = -5002;

/// Kinds of answer frames.
pub const KIND_REPLY: u32 = 1;
pub const KIND_SIGNAL: u32 = 2;
