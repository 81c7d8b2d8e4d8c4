//! The last step home: kernel state that changed while away, then all registers at once.

use std::io;

use crate::home::mover::seize::words;
use crate::image::{Meta, Resume, Thread};
use crate::image::capture::Calls;
use crate::migrate::deputy::Deputy;
use crate::sys::abi;
use crate::sys::stub;
use crate::wire::channel::{FRAME, FRAME_SIZE, INLINE_IN, RESUME, Request};

/// Index of FS and GS base in `user_regs_struct`.
const FS_BASE: usize = 21;
const GS_BASE: usize = 22;
const RAX: usize = 10;
const RIP: usize = 16;
const SYSCALL_LEN: u64 = 2;

/// Lets the process go on natively. All its signals are blocked until the registers are set.
pub fn resume(pid: i32, meta: &Meta, mut deputy: Deputy) -> io::Result<()> {
    let thread = &meta.threads[0];
    deputy.call(abi::SYS_ARCH_PRCTL, [abi::ARCH_SET_FS, thread.regs[FS_BASE], 0, 0, 0, 0])?;
    deputy.call(abi::SYS_ARCH_PRCTL, [abi::ARCH_SET_GS, thread.regs[GS_BASE], 0, 0, 0, 0])?;
    if thread.robust.0 != 0 {
        deputy.call(abi::SYS_SET_ROBUST_LIST, [thread.robust.0, thread.robust.1, 0, 0, 0, 0])?;
    }
    deputy.call(abi::SYS_SET_TID_ADDRESS, [thread.clear_tid, 0, 0, 0, 0, 0])?;
    deputy.set_actions(&meta.actions)?;
    let caught: Vec<Vec<u8>> = deputy.signals.drain(..).map(|info| info.to_vec()).collect();
    for info in thread.pending.iter().chain(&caught) {
        send_again(pid, &mut deputy, info)?;
    }
    let regs = registers(meta, &mut deputy)?;
    leave_stub(thread, &regs, &mut deputy)
}

/// A signal that was taken off the home process and not yet given to the program is sent by the process to itself, the only sender
/// from whom the kernel takes any `siginfo`.
fn send_again(pid: i32, deputy: &mut Deputy, info: &[u8]) -> io::Result<()> {
    let signo = u64::from(u32::from_le_bytes([info[0], info[1], info[2], info[3]]));
    let place = deputy.base + INLINE_IN;
    let request = Request {
        nr: abi::SYS_RT_TGSIGQUEUEINFO,
        args: [pid as u64, pid as u64, signo, place, 0, 0],
        in_len: info.len() as u64,
        ..Request::default()
    };
    deputy.rpc(&request, info).map(drop)
}

/// The registers with which the program goes on.
fn registers(meta: &Meta, deputy: &mut Deputy) -> io::Result<[u64; 27]> {
    let thread = &meta.threads[0];
    let mut regs = words(&thread.regs)?;
    if let Resume::Written { bytes, .. } = thread.resume {
        // Part of a write was made: natively that part is its result.
        (regs[RAX], regs[RIP]) = (bytes, regs[RIP] + SYSCALL_LEN);
    } else if let Some((_, code)) = thread.interrupted
        && fails_by_handler(meta, code, pending(deputy)? & !thread.mask)
    {
        (regs[RAX], regs[RIP]) = (-i64::from(abi::EINTR) as u64, regs[RIP] + SYSCALL_LEN);
    }
    Ok(regs)
}

/// Signals that wait for the process.
fn pending(deputy: &mut Deputy) -> io::Result<u64> {
    let (_, bytes) = deputy.call_out(abi::SYS_RT_SIGPENDING, [0, 8, 0, 0, 0, 0], 0, 8)?;
    Ok(u64::from_le_bytes(bytes.try_into().map_err(|_| io::ErrorKind::InvalidData)?))
}

/// Whether a call that was interrupted (`code`) fails with `EINTR` because one of `signals` runs a handler before it could be repeated.
fn fails_by_handler(meta: &Meta, code: i64, signals: u64) -> bool {
    (1..).zip(&meta.actions).any(|(signo, [handler, flags, ..])| {
        let handled = signals & abi::bit(signo) != 0 && *handler != abi::SIG_DFL && *handler != abi::SIG_IGN;
        handled && (code != -abi::ERESTARTSYS || flags & abi::SA_RESTART == 0) && code != -abi::ERESTARTNOINTR
    })
}

fn leave_stub(thread: &Thread, regs: &[u64; 27], deputy: &mut Deputy) -> io::Result<()> {
    let at = deputy.base + FRAME;
    let frame = stub::frame::build(regs, &thread.xsave, thread.mask, thread.altstack, at);
    if frame.len() as u64 > FRAME_SIZE {
        return Err(io::Error::other("its processor state is larger than the stub's frame"));
    }
    let request =
        Request { flags: RESUME, in_len: frame.len() as u64, in_ptr: at, out_ptr: at, ..Request::default() };
    deputy.send(&request, &frame)
}
