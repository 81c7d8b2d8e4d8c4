//! The stub: a page of code that makes the home process of an away program its deputy. `wire::channel` describes its protocol.
//!
//! ```text
//! B + CODE       one page of code (code.rs)
//! B + DATA       state, saved signal actions, queue of caught signals (data.rs)
//! B + FRAME      rollback frame, a complete `rt_sigframe` (frame.rs)
//!   … STACK_TOP  stack
//! B + STAGING    a request's header, its inline input, output of calls
//! ```
//!
//! Whoever starts it keeps all signals blocked from before the first instruction until a `SET_ACTIONS` request has mirrored
//! the dispositions; a `SET_MASK` request then lets signals in. The mirrored actions have no `SA_RESTART` and block all signals.

mod code;
mod data;
pub mod frame;
pub mod layout;
#[cfg(test)]
mod tests;

pub use data::{Data, HANDED, PARKED, SPARE};

use std::mem::offset_of;

use layout::{DATA, INTERRUPTED};

/// Offset of the first instruction: connect (if told to), then serve.
pub const ENTRY: u64 = 0;
const HANDLER: u64 = 0x10;
const RESTORER: u64 = 0x20;
const GADGET: u64 = 0x30;
/// Offset just behind the `syscall` instruction of abortable calls.
const CALL_END: u64 = 0x56;
/// The same of other calls.
const PLAIN_END: u64 = 0x6d;

/// The stub's code, to be copied to `B + CODE`.
pub fn code() -> &'static [u8] {
    code::bytes()
}

/// Offset of the signal handler (for actions with `SA_SIGINFO` and all signals blocked).
pub const fn handler() -> u64 {
    HANDLER
}

/// Offset of the handler's return path, the `sa_restorer`.
pub const fn restorer() -> u64 {
    RESTORER
}

/// Offset of a `syscall; int3`.
pub const fn gadget() -> u64 {
    GADGET
}

/// Whether `address` is in the room of stubs.
pub fn is_inside(address: u64) -> bool {
    layout::PLACES
        .iter()
        .any(|base| (*base..base + layout::ROOM).contains(&address))
}

/// Offset of a word that is not zero while the process is a deputy.
pub const fn serving() -> u64 {
    DATA + offset_of!(data::Page, serving) as u64
}

/// Offset of the room for a `timespec` and, behind it, the pointer that it stands in for.
pub const fn time() -> u64 {
    DATA + offset_of!(data::Page, time) as u64
}

/// Whether a deputy is stopped just behind (or inside) the call of a request.
pub fn is_behind_call(rip: u64, base: u64) -> bool {
    rip == base + CALL_END || rip == base + PLAIN_END
}

/// What a deputy that was stopped by ptrace must be given in `rax` and `orig_rax` so that the stub answers [`INTERRUPTED`]: for a
/// program's call that the kernel interrupted before it had an effect.
///
/// `None`: nothing is to be changed. The stub's own calls go on by themselves, a call that has its result keeps it, and
/// `-EINTR` that came from a caught signal (the handler has run: `orig_rax` is -1) is the program's to see. A deputy may also be
/// found just before its call, so whoever wants it out of a call asks again until the call is answered.
pub fn after_interrupt(rip: u64, rax: u64, orig_rax: u64, base: u64) -> Option<(u64, u64)> {
    let interrupted = matches!(rax as i64, -512 | -513 | -514 | -516 | -4);
    let in_call = rip == base + CALL_END && orig_rax as i64 >= 0;
    (interrupted && in_call).then_some((INTERRUPTED as u64, u64::MAX))
}
