//! `rt_sigaction` and `rt_sigprocmask`: applied at home first, then by the guest's own kernel.

use std::io;

use crate::guest::host::Host;
use crate::migrate::mirror::mirrored;
use crate::sys::abi::{self, EFAULT, ERESTARTNOINTR, SIG_IGN};
use crate::sys::mem;
use crate::sys::seccomp::Notification;
use crate::wire::channel::{INLINE_IN, Request};

const SIG_BLOCK: u64 = 0;
const SIG_UNBLOCK: u64 = 1;
const SIG_SETMASK: u64 = 2;

impl Host {
    pub fn rt_sigaction(&mut self, t: usize, notification: &Notification) -> io::Result<()> {
        let [signo, new, _, size, ..] = notification.args;
        let settable = (1..=64).contains(&signo)
            && signo as i32 != abi::SIGKILL
            && signo as i32 != abi::SIGSTOP;
        if new == 0 || size != 8 || !settable {
            // Reading, or an error: the guest's kernel knows all that is needed.
            return self.let_through(t, notification);
        }
        let mut bytes = [0; 32];
        if mem::read_exact(self.threads[t].tid, new, &mut bytes).is_err() {
            return self.complete(t, notification, -i64::from(EFAULT));
        }
        let word =
            |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let action = [word(0), word(8), word(16), word(24)];
        self.mirror_action(t, signo as i32, action)?;
        if self.has_deliverable(t) {
            // They came before the action did.
            return self.complete(t, notification, -ERESTARTNOINTR);
        }
        self.actions[signo as usize - 1] = action;
        if action[0] == SIG_IGN {
            // The guest's kernel drops what waits there.
            while self.threads[t].take_pending(signo as i32).is_some() {}
        }
        self.let_through(t, notification)
    }

    fn mirror_action(&mut self, t: usize, signo: i32, action: [u64; 4]) -> io::Result<()> {
        let wanted = mirrored(signo, action, self.meta.stub);
        if wanted == mirrored(signo, self.action_of(signo), self.meta.stub) {
            return Ok(());
        }
        let input: Vec<u8> = wanted.iter().flat_map(|word| word.to_le_bytes()).collect();
        let request = Request {
            nr: abi::SYS_RT_SIGACTION,
            args: [signo as u64, self.meta.stub + INLINE_IN, 0, 8, 0, 0],
            in_len: input.len() as u64,
            ..Request::default()
        };
        self.threads[t].deputy.rpc(&request, &input)?;
        self.take_queued_signals(t)
    }

    pub fn rt_sigprocmask(&mut self, t: usize, notification: &Notification) -> io::Result<()> {
        let [how, new, _, size, ..] = notification.args;
        if new == 0 || size != 8 || how > SIG_SETMASK {
            return self.let_through(t, notification);
        }
        let mut bytes = [0; 8];
        if mem::read_exact(self.threads[t].tid, new, &mut bytes).is_err() {
            return self.complete(t, notification, -i64::from(EFAULT));
        }
        let set = u64::from_le_bytes(bytes) & !(abi::bit(abi::SIGKILL) | abi::bit(abi::SIGSTOP));
        let mask = match how {
            SIG_BLOCK => self.threads[t].mask | set,
            SIG_UNBLOCK => self.threads[t].mask & !set,
            _ => set,
        };
        self.set_home_mask(t, mask)?;
        self.take_queued_signals(t)?;
        if self.has_deliverable(t) {
            // They came before the mask did.
            return self.complete(t, notification, -ERESTARTNOINTR);
        }
        self.threads[t].mask = mask;
        self.let_through(t, notification)
    }
}
