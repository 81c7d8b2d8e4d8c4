//! The stub: code that makes the home process of an away program its deputy. See `wire::channel` for its protocol.
//!
//! ```text
//! B + CODE      one page of code, this file's bytes
//! B + DATA      state (data.rs), signal ring, saved actions
//! B + FRAME     rollback frame (an rt_sigframe, frame.rs)
//!   … STACK_TOP stack
//! B + STAGING   request header, inline input, output
//! ```

mod code;
mod data;
pub mod frame;
#[cfg(test)]
mod tests;

pub use data::Data;

use crate::wire::channel::ABORTED;

unsafe extern "C" {
    static mos_stub_begin: u8;
    static mos_stub_end: u8;
    static mos_stub_handler: u8;
    static mos_stub_restorer: u8;
    static mos_stub_gadget: u8;
    static mos_stub_call_done: u8;
}

/// Offset of the first instruction: connect (if told to), then serve.
pub const ENTRY: u64 = 0;

/// The stub's code, to be copied to `B + CODE`.
pub fn code() -> &'static [u8] {
    // SAFETY: both symbols bound one piece of assembled code in the binary's text, which is never written.
    unsafe {
        let begin = &raw const mos_stub_begin;
        std::slice::from_raw_parts(begin, (&raw const mos_stub_end).offset_from(begin) as usize)
    }
}

fn offset(symbol: *const u8) -> u64 {
    symbol as u64 - (&raw const mos_stub_begin) as u64
}

/// Offset of the signal handler.
pub fn handler() -> u64 {
    offset(&raw const mos_stub_handler)
}

/// Offset of the handler's return path.
pub fn restorer() -> u64 {
    offset(&raw const mos_stub_restorer)
}

/// Offset of a `syscall; int3`.
pub fn gadget() -> u64 {
    offset(&raw const mos_stub_gadget)
}

/// Whether a deputy is stopped just behind (or inside) the call of a request.
pub fn is_behind_call(rip: u64, base: u64) -> bool {
    rip == base + offset(&raw const mos_stub_call_done)
}

/// What a deputy that was stopped by ptrace must be given in `rax` and `orig_rax` so that the stub answers "aborted": for a
/// program's call that the kernel interrupted before it had an effect. `None`: nothing is to be changed (the stub's own calls
/// are restarted by the kernel, and a call that has its result keeps it).
pub fn after_interrupt(rip: u64, rax: u64, orig_rax: u64, base: u64) -> Option<(u64, u64)> {
    let interrupted = matches!(rax as i64, -512 | -513 | -514 | -516 | -4);
    let in_call = rip == base + offset(&raw const mos_stub_call_done) && orig_rax as i64 >= 0;
    (interrupted && in_call).then_some((ABORTED as u64, u64::MAX))
}
