//! What a system call of a guest means: one table, one row a call, and how the arguments of a forwarded call travel.
//!
//! Pure: memory is read and written by [`GuestMemory`], requests are values. A host does, for each call of its guest:
//!
//! ```text
//! loop {
//!     match plan(nr, args, mem, home) {
//!         NeedBig(bytes) => have a request map an area at home; set home.big; again
//!         Forward(forward) => {
//!             (value, out) = send forward.request and forward.input; take the answer
//!             value = forward.unpack.finish(mem, value, out)
//!             match after(&forward, nr, args, mem, home, value) {
//!                 Done(value) => answer the guest
//!                 More(plan) => that plan is next (a further piece of a long transfer)
//!             }
//!         }
//!         …
//!     }
//! }
//! ```
//!
//! A pointer that the guest itself cannot use is replaced by one that no process can use: the home kernel finds the fault, in its
//! own order among the errors, and before any effect.

mod classify;
pub mod errno;
mod exec;
mod filter;
pub mod fork;
mod memory;
pub mod nr;
mod pack;
pub mod print;
mod row;
mod shape;
mod shapes;
mod sockets;
pub mod table;
#[cfg(test)]
mod tests;
mod timeouts;
mod unpack;
pub mod usage;

pub use exec::plan_exec;
pub use filter::{Rule, filter_rules};
pub use memory::{Fault, Fds, GuestMemory, Home, ProcessMemory, StrError};
pub use pack::PIECE;
pub use row::{Class, HostCall, Local, Restart, Row, Test, TimeOut};
pub use sockets::{SocketWait, poll_input, socket_wait, until_ready};
pub use timeouts::{is_timed_futex, temporary_mask, time_out_ns, with_time_left};
pub use unpack::{Unpack, When};

use crate::wire::channel::Request;
use pack::Pack;
use shape::Shape;

/// What the host is to do with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Send this request to the deputy.
    Forward(Forward),
    /// Map an area of at least so many bytes at home and plan again.
    NeedBig(u64),
    /// Answer with this error number (positive).
    Errno(i32),
    /// Bring the process home, where it makes the call itself; why, in words.
    GoHome(&'static str),
    Host(HostCall),
}

/// A call to be made by the deputy. The host adds the flags that belong to the channel (`PROGRAM`, `ABORTABLE`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    pub request: Request,
    /// Exactly `request.in_len` bytes.
    pub input: Vec<u8>,
    /// Address of the input in the deputy.
    pub base: u64,
    pub unpack: Unpack,
    pub step: Step,
}

impl Forward {
    /// Continues a sleep or poll from the deputy's restart block. `out`: address and length of what it gives, the same in the guest.
    pub fn continued(out: Option<(u64, u64)>) -> Forward {
        let (out_ptr, out_fixed) = out.unwrap_or_default();
        let request = Request {
            nr: crate::sys::abi::SYS_RESTART_SYSCALL,
            out_ptr,
            out_fixed,
            ..Request::default()
        };
        Forward {
            request,
            input: Vec::new(),
            base: 0,
            unpack: Unpack::whole(out),
            step: Step::Only,
        }
    }
}

/// Which part of a call a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All of it.
    Only,
    /// `len` bytes of a transfer of which `done` were made before, and not the last ones if `more`.
    Piece { done: u64, len: u64, more: bool },
    /// vmsplice: is it a pipe?
    AskPipe,
    /// vmsplice as a write: the end of the pipe tells whether it is one. `room`: what the pipe can hold.
    TryWrite { room: u64 },
    /// vmsplice: how much is in the pipe, which can hold `room` bytes?
    AskLevel { room: u64 },
    /// Waits until a socket is ready for a call whose time is counted from earlier on.
    AwaitReady,
    /// Asks how many semaphores a set has, before all their values can travel.
    CountSemaphores,
}

/// What follows an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// The guest gets this value.
    Done(i64),
    /// The call is not over: do this next, as with a plan of its own.
    More(Box<Plan>),
}

/// Whether a `madvise` drops contents (otherwise, when the host is asked, it leaves a mark on an area).
pub fn drops_contents(advice: u64) -> bool {
    table::memory::DROPS.contains(&(advice & 0xffff_ffff))
}

/// What to do with call `nr` of a guest.
pub fn plan(nr: u64, args: [u64; 6], mem: &dyn GuestMemory, home: &Home) -> Plan {
    let Some(row) = table::find(nr) else {
        return Plan::Errno(errno::ENOSYS as i32);
    };
    match classify::by_arguments(nr, &args, mem, home).unwrap_or(row.class) {
        Class::Forward => forward(nr, args, mem, home, 0),
        Class::Native => Plan::Host(HostCall::Native),
        Class::Host(call) => match classify::constant(call) {
            Some(value) => Plan::Errno(-value as i32),
            None => Plan::Host(call),
        },
        Class::GoHome(why) => Plan::GoHome(why),
        Class::Refuse(error) => Plan::Errno(error as i32),
    }
}

/// The request for call `nr`, whoever decided that the deputy makes it; `done` bytes of its data were moved already by requests that
/// were interrupted or are pieces (0 to begin; only calls that transfer data look at it). The value that the guest gets
/// counts them in, by [`after`].
pub fn forward(nr: u64, args: [u64; 6], mem: &dyn GuestMemory, home: &Home, done: u64) -> Plan {
    let Some(row) = table::find(nr) else {
        return Plan::Errno(errno::ENOSYS as i32);
    };
    let mut pack = Pack::new(nr, args, mem, home);
    pack.done = done;
    match row.shape {
        Shape::Args(shapes) => {
            shape::pack_args(&mut pack, shapes);
            pack.finish()
        }
        Shape::Own(how) => shapes::pack(pack, how),
        Shape::None => Plan::Host(HostCall::Native),
    }
}

/// What follows an answer to `forward`, whose value (after `finish`) is `value`.
pub fn after(
    forwarded: &Forward,
    nr: u64,
    args: [u64; 6],
    mem: &dyn GuestMemory,
    home: &Home,
    value: i64,
) -> After {
    match forwarded.step {
        Step::Only => After::Done(value),
        Step::Piece { done, .. } if value < 0 => {
            After::Done(if done > 0 { done as i64 } else { value })
        }
        Step::Piece { done, len, more } => {
            let moved = done + value as u64;
            if more && value as u64 == len {
                After::More(Box::new(forward(nr, args, mem, home, moved)))
            } else {
                After::Done(moved as i64)
            }
        }
        Step::AskPipe if value < 0 => After::Done(-errno::EBADF),
        Step::AskPipe => {
            let room = value as u64;
            After::More(Box::new(shapes::vectors::vmsplice_write(
                args, mem, home, room,
            )))
        }
        Step::TryWrite { .. } if value == -errno::EBADF => {
            After::More(Box::new(shapes::vectors::vmsplice_read(args, mem, home)))
        }
        // Full; or a pipe that something was spliced into, which cannot be asked to take what it can.
        Step::TryWrite { room }
            if value == -errno::EOPNOTSUPP
                || value == -errno::EAGAIN && shapes::vectors::waits(&args) =>
        {
            After::More(Box::new(shapes::vectors::vmsplice_level(
                args, mem, home, room,
            )))
        }
        Step::TryWrite { .. } => After::Done(value),
        Step::AskLevel { .. } if value < 0 => After::Done(value),
        // An empty pipe takes all that it can hold at once; of one that is not, only a page is known to go in as a whole.
        Step::AskLevel { room } => {
            let most = if value == 0 { room } else { memory::PAGE };
            After::More(Box::new(shapes::vectors::vmsplice_wait(
                args, mem, home, most,
            )))
        }
        Step::AwaitReady if value == 0 => After::Done(-errno::EAGAIN),
        Step::AwaitReady if value < 0 => After::Done(value),
        Step::AwaitReady => After::More(Box::new(plan(nr, args, mem, home))),
        Step::CountSemaphores if value < 0 => After::Done(value),
        Step::CountSemaphores => After::More(Box::new(shapes::semaphores(
            nr,
            args,
            mem,
            home,
            value as u64,
        ))),
    }
}
