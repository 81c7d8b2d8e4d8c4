//! The page of code by which calls are made in a guest, and the room behind it.
//!
//! It lies at the base of the range that is the stub's in the process at home:
//!
//! ```text
//! 0x0000  code: `syscall; int3`, and at 0x40 a loop that makes a list of calls
//! 0x1000  one page that can be written, for output of single calls
//! 0x2000  nothing to the end of the range; while the guest is built: lists of calls, and what they point to
//! ```

use std::io;

use crate::sys::errno::from_raw;
use crate::sys::inject::Injector;
use crate::sys::mem;
use crate::sys::regs::{NO_CALL, Regs};
use crate::wire::channel::STUB_SIZE;

/// Offset of the page for output of single calls.
pub const SCRATCH: u64 = 0x1000;
/// Offset of room for times that threads wait, which stays while the guest runs.
pub const TIMES: u64 = STUB_SIZE - 0x4000;
/// Offset of the list of calls, while the guest is built.
const LIST: u64 = 0x2000;
/// Most calls in a list.
const LIST_CALLS: usize = 1024;
/// Offset of what calls point to, while the guest is built.
pub const DATA: u64 = LIST + (LIST_CALLS * CALL_LEN) as u64;
/// Bytes from [`DATA`] to the end of the range.
pub const DATA_LEN: u64 = TIMES - DATA;
const LOOP: u64 = 0x40;
/// Number, six arguments, result.
const CALL_LEN: usize = 64;

const SINGLE: [u8; 3] = [0x0f, 0x05, 0xcc];
/// With rbx at the list and rbp calls in it: load, call, store the result, next; then trap.
const LIST_LOOP: [u8; 43] = [
    0x48, 0x8b, 0x03, // mov rax, [rbx]
    0x48, 0x8b, 0x7b, 0x08, // mov rdi, [rbx+8]
    0x48, 0x8b, 0x73, 0x10, // mov rsi, [rbx+16]
    0x48, 0x8b, 0x53, 0x18, // mov rdx, [rbx+24]
    0x4c, 0x8b, 0x53, 0x20, // mov r10, [rbx+32]
    0x4c, 0x8b, 0x43, 0x28, // mov r8, [rbx+40]
    0x4c, 0x8b, 0x4b, 0x30, // mov r9, [rbx+48]
    0x0f, 0x05, // syscall
    0x48, 0x89, 0x43, 0x38, // mov [rbx+56], rax
    0x48, 0x83, 0xc3, 0x40, // add rbx, 64
    0x48, 0xff, 0xcd, // dec rbp
    0x75, 0xd6, // jnz to the beginning
    0xcc, // int3
];

/// The contents of the page.
pub fn code() -> Vec<u8> {
    let mut code = SINGLE.to_vec();
    code.resize(LOOP as usize, 0xcc);
    code.extend_from_slice(&LIST_LOOP);
    code
}

/// One call of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub nr: u64,
    pub args: [u64; 6],
    /// What it was for, in words, if it must not fail.
    pub must: Option<&'static str>,
}

impl Call {
    /// A call without which the guest cannot be built; `what` completes "could not …".
    pub fn must(what: &'static str, nr: u64, args: [u64; 6]) -> Call {
        Call {
            nr,
            args,
            must: Some(what),
        }
    }

    /// A call that may fail.
    pub fn may(nr: u64, args: [u64; 6]) -> Call {
        Call {
            nr,
            args,
            must: None,
        }
    }
}

/// Makes all calls in order, a thousand per stop, and gives their results. (`SIGTRAP` of the process gets its default action.)
pub fn run_list(injector: &mut Injector, base: u64, calls: &[Call]) -> io::Result<Vec<u64>> {
    let pid = injector.pid()?;
    let mut results = Vec::with_capacity(calls.len());
    for chunk in calls.chunks(LIST_CALLS) {
        let words = |call: &Call| -> [u64; 8] {
            let [a, b, c, d, e, f] = call.args;
            [call.nr, a, b, c, d, e, f, 0]
        };
        let mut list: Vec<u8> = chunk
            .iter()
            .flat_map(words)
            .flat_map(u64::to_le_bytes)
            .collect();
        mem::write_all(pid, base + LIST, &list)?;
        let saved = *injector.saved_mut();
        injector.run(&Regs {
            rip: base + LOOP,
            rbx: base + LIST,
            rbp: chunk.len() as u64,
            orig_rax: NO_CALL,
            ..saved
        })?;
        mem::read_exact(pid, base + LIST, &mut list)?;
        for (call, done) in chunk.iter().zip(list.chunks_exact(CALL_LEN)) {
            let result = u64::from_le_bytes(done[56..].try_into().expect("eight bytes"));
            check(call, result)?;
            results.push(result);
        }
    }
    Ok(results)
}

fn check(call: &Call, result: u64) -> io::Result<()> {
    match (call.must, from_raw(result)) {
        (Some(what), Err(error)) => Err(io::Error::new(
            error.kind(),
            format!("could not {what} at {:#x}: {error}", call.args[0]),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_jumps_to_its_beginning() {
        let jump = LIST_LOOP.len() - 3;
        assert_eq!(LIST_LOOP[jump], 0x75);
        assert_eq!(jump as i64 + 2 + i64::from(LIST_LOOP[jump + 1] as i8), 0);
        assert!(code().len() <= SCRATCH as usize && DATA < STUB_SIZE);
    }
}
