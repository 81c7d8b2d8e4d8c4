//! keyctl, by operation.

use crate::syscall::Plan;
use crate::syscall::pack::{PIECE, Pack};
use crate::syscall::shape::Arg::*;
use crate::syscall::shape::{Arg, Size::*, pack_args};

/// The arguments after the operation; `None` when it cannot be forwarded.
fn arguments(operation: u32) -> Option<&'static [Arg]> {
    const V: Arg = Val;
    const TYPE: Arg = Str(32);
    Some(match operation {
        // JOIN_SESSION_KEYRING.
        1 => &[V, Path],
        // UPDATE.
        2 => &[V, V, In(Arg(3))],
        // DESCRIBE, READ, GET_SECURITY: filled only if it all fits, or as far as it does.
        6 | 11 | 17 => &[V, V, InOut(Arg(3))],
        // SEARCH.
        10 => &[V, V, TYPE, Path],
        // INSTANTIATE.
        12 => &[V, V, In(Arg(3))],
        // RESTRICT_KEYRING.
        29 => &[V, V, TYPE, Path],
        // CAPABILITIES.
        31 => &[V, InOut(Arg(2))],
        // Numbers only: GET_KEYRING_ID, REVOKE, CHOWN, SETPERM, CLEAR, LINK, UNLINK, NEGATE, SET_REQKEY_KEYRING, SET_TIMEOUT,
        // ASSUME_AUTHORITY, SESSION_TO_PARENT, REJECT, INVALIDATE, GET_PERSISTENT, MOVE, WATCH_KEY.
        0 | 3 | 4 | 5 | 7 | 8 | 9 | 13 | 14 | 15 | 16 | 18 | 19 | 21 | 22 | 30 | 32 => &[],
        _ => return None,
    })
}

pub fn keyctl(mut pack: Pack) -> Plan {
    let operation = pack.args[0] as u32;
    let Some(shape) = arguments(operation) else {
        return Plan::GoHome("keyctl with public keys");
    };
    // Operations that fill a buffer may be told any room; no key is larger than this.
    let room = if operation == 31 { 2 } else { 3 };
    if matches!(operation, 6 | 11 | 17 | 31) {
        pack.args[room] = pack.args[room].min(PIECE);
    }
    pack_args(&mut pack, shape);
    pack.finish()
}
