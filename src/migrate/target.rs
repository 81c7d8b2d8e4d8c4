//! The receiving end's common half: announce a channel, wait for the deputy, take it over.

use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::migrate::deputy::Deputy;
use crate::migrate::fault;
use crate::migrate::source::FRAME_LIMIT;
use crate::sys::process::random;
use crate::wire::channel::TOKEN_LEN;
use crate::wire::client::Client;
use crate::wire::control::{FromMosd, ToMosd};
use crate::wire::frame::{read_frame, write_frame};
use crate::wire::node::{Built, Switching};

/// How long the deputy may take to open the channel that it was told to open.
const CHANNEL_WAIT: Duration = Duration::from_secs(20);

/// Says that the process is built and takes over its deputy.
pub fn take_deputy(
    conn: &mut TcpStream,
    client: &mut Client,
    port: u16,
    (base, channel_fd): (u64, i32),
) -> io::Result<Deputy> {
    let mut raw = [0; TOKEN_LEN];
    random(&mut raw)?;
    let token: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    client.send(&ToMosd::Expect {
        token: token.clone(),
    })?;
    fault::point("target.ready")?;
    write_frame(
        conn,
        &Built::Ready {
            port,
            token: token.clone(),
        },
    )?;
    let switching: Switching = read_frame(conn, FRAME_LIMIT)?;
    fault::point("target.channel")?;
    let fd = await_channel(client, &token)?;
    let mut deputy = Deputy::new(fd, base, channel_fd);
    fault::point("target.take")?;
    deputy.take_over(switching.fd)?;
    deputy.spare = Some(switching.spare);
    Ok(deputy)
}

fn await_channel(client: &mut Client, wanted: &str) -> io::Result<OwnedFd> {
    let deadline = Instant::now() + CHANNEL_WAIT;
    loop {
        client.wait_readable(deadline.saturating_duration_since(Instant::now()))?;
        match client.recv()? {
            (FromMosd::Channel { token }, Some(fd)) if token == wanted => return Ok(fd),
            (FromMosd::ListYours { id }, _) => client.send(&ToMosd::Mine {
                id,
                procs: Vec::new(),
            })?,
            (FromMosd::Error(why), _) => return Err(io::Error::other(why)),
            _ => {}
        }
    }
}
