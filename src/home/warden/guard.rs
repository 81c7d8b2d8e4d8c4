//! Who guards the warden: a process that does nothing but keep the tree's listener, the record of what was received from it, and
//! leased files open, and start a warden again that was killed.
//! Without a listener every notified call of the tree would fail.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::home::launch::{Hello, WardenJob};
use crate::home::warden::received::Received;
use crate::home::warden::safe::{Lender, Safe};
use crate::home::warden::state;
use crate::sys::poll::{self, Interest};
use crate::sys::unix::{self, Ended, Fork};
use crate::sys::{process, socket};
use crate::wire::frame::read_frame;

/// Between the death of a warden and the next one, so that one that cannot live does not keep a processor busy.
const PAUSE: Duration = Duration::from_millis(100);

/// The entry of `mos-warden`: `launch` is the connection to mosrun. Ends with the tree.
pub fn run(job: &WardenJob, mut launch: UnixStream) -> io::Result<()> {
    let hello: Hello = read_frame(&mut launch, 1 << 16)?;
    let mut byte = [0];
    let (_, fd) = socket::recv_with_fd(&launch, &mut byte)?;
    let listener = fd.ok_or_else(|| io::Error::other("mosrun sent no listener"))?;
    let mut launch = Some(launch);
    let mut safe = Safe::default();
    let record = unix::memfd(c"received")?;
    loop {
        let calls = Received::new(listener.try_clone()?, record.try_clone()?);
        let (ours, theirs) = UnixStream::pair()?;
        match unix::fork()? {
            Fork::Child => {
                drop(ours);
                warden(
                    job,
                    &hello,
                    calls,
                    (launch.take(), Lender::new(theirs, safe)),
                )
            }
            Fork::Parent { child } => {
                launch = None;
                drop(theirs);
                safe.serve(&ours);
                if unix::reap(child, true)?.is_some_and(|(_, ended)| ended == Ended::Exited(0)) {
                    return Ok(());
                }
            }
        }
        // Readable or not: what counts is whether anybody runs under the filter.
        let ready = poll::wait_events(
            &[(listener.as_fd().as_raw_fd(), Interest::Write)],
            Some(PAUSE),
        )?;
        if ready[0].hung_up {
            return Ok(());
        }
    }
}

fn warden(
    job: &WardenJob,
    hello: &Hello,
    calls: Received,
    (launch, lender): (Option<UnixStream>, Lender),
) -> ! {
    let status = match state::serve(job, hello, calls, launch, lender) {
        Ok(()) => 0,
        Err(error) => {
            log::warn!("warden of {}: {error}", job.pid);
            1
        }
    };
    process::exit_now(status)
}
