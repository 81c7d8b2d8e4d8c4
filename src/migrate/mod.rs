//! Moving one process: the phases, the two ends, and who owns the process in each.
//!
//! ```text
//! sender (mover at home, or host)          receiver (host, or mover at home)
//!   Opening::Migrate / Return   ──────▶
//!                               ◀──────   Verdict
//!   Stage::Early, pages         ──────▶   begin to build             (as often as that helps, while the process runs on)
//!   stop the process
//!   Stage::Last, pages          ──────▶   build
//!                               ◀──────   Built::Ready { port, token }
//!   switch the deputy's channel ──────▶   (its answer arrives on the new channel)
//!   Switched                    ──────▶
//!                               ◀──────   Started::Yes
//! ```
//!
//! Until the channel is switched the sender owns the process and can let it run on; after it the receiver does. The deputy keeps a
//! second descriptor of the sender's channel until the receiver, about to let the process run, has it closed: should the receiver
//! die before, the deputy is the sender's again, and tells it so. A sender that sees its channel end has handed over for good.
//! And as long as the program has not called anything since it left home, a deputy that has lost its owner rolls back.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

pub mod answers;
pub mod deputy;
pub mod fault;
mod hand_over;
pub mod live;
pub mod mirror;
pub mod rounds;
pub mod sockets;
pub mod source;
pub mod target;
pub mod tracee;

/// How long either end of a move may be silent, or not read, before the move is given up. Between two words nothing is to be
/// done that takes long: a process that does not stop is given up after two seconds.
const SILENCE: Duration = Duration::from_secs(30);

/// Makes a move on `conn` end when the other end says nothing for too long.
///
/// # Errors
///
/// Those of the socket.
pub fn limit_silence(conn: &TcpStream) -> io::Result<()> {
    conn.set_read_timeout(Some(SILENCE))?;
    conn.set_write_timeout(Some(SILENCE))
}
