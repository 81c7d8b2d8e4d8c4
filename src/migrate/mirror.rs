//! What the deputy does with a signal so that home behaves as if the program were there.

use crate::sys::abi::{self, DefaultAction, SIG_DFL, SIG_IGN};
use crate::sys::stub;

/// The deputy's action for a program's action: ignored and default stay native (the home process dies, stops or ignores by
/// itself); what has a handler, and what would dump core, goes to the stub's handler and from there to the guest.
pub fn mirrored(signo: i32, action: [u64; 4], base: u64) -> [u64; 4] {
    let [handler, flags, _, _] = action;
    let kept = flags & (abi::SA_NOCLDSTOP | abi::SA_NOCLDWAIT);
    if handler == SIG_IGN
        || (handler == SIG_DFL && abi::default_action(signo) != DefaultAction::Core)
    {
        return [handler, kept, 0, 0];
    }
    let flags = kept | abi::SA_SIGINFO | abi::SA_RESTORER;
    [base + stub::handler(), flags, base + stub::restorer(), !0]
}

/// `mirrored` for all 64 signals.
pub fn mirrored_all(actions: &[[u64; 4]], base: u64) -> Vec<[u64; 4]> {
    (1..)
        .zip(actions)
        .map(|(signo, action)| mirrored(signo, *action, base))
        .collect()
}
