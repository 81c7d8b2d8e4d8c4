//! The receiving end's common half: announce a channel, wait for the deputy, take it over.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::image::Thread;
use crate::migrate::deputy::Deputy;
use crate::migrate::fault;
use crate::migrate::source::{FRAME_LIMIT, Toll};
use crate::sys::process::random;
use crate::wire::channel::TOKEN_LEN;
use crate::wire::client::Client;
use crate::wire::control::{FromMosd, ToMosd};
use crate::wire::frame::{read_frame, write_frame};
use crate::wire::node::{Built, Switching};

/// How long the deputy may take to open the channel that it was told to open.
const CHANNEL_WAIT: Duration = Duration::from_secs(20);

/// Says that the process is built and takes over the deputies of its threads; and what the move takes.
pub fn take_deputies(
    conn: &mut TcpStream,
    client: &mut Client,
    port: u16,
    threads: &[Thread],
) -> io::Result<(Vec<Deputy>, Toll)> {
    let mut tokens = Vec::with_capacity(threads.len());
    for _ in threads {
        tokens.push(announce_channel(client)?);
    }
    fault::point("target.ready")?;
    write_frame(
        conn,
        &Built::Ready {
            port,
            tokens: tokens.clone(),
        },
    )?;
    let switching: Switching = read_frame(conn, FRAME_LIMIT)?;
    let toll = Toll::new(switching.figures, Instant::now());
    fault::point("target.channel")?;
    if [switching.fds.len(), switching.spares.len()] != [threads.len(); 2] {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the channels are not those of the threads",
        ));
    }
    let mut channels = await_channels(client, &tokens)?;
    fault::point("target.take")?;
    let mut deputies = Vec::with_capacity(threads.len());
    let numbers = switching.fds.into_iter().zip(switching.spares);
    for ((thread, token), (fd, spare)) in threads.iter().zip(&tokens).zip(numbers) {
        let channel = channels.remove(token).ok_or(io::ErrorKind::NotConnected)?;
        let mut deputy = Deputy::new(channel, thread.stub, thread.channel_fd);
        deputy.take_over(fd)?;
        deputy.spare = Some(spare);
        deputies.push(deputy);
    }
    Ok((deputies, toll))
}

/// Has mosd expect a channel; its token, as text.
pub fn announce_channel(client: &mut Client) -> io::Result<String> {
    let mut raw = [0; TOKEN_LEN];
    random(&mut raw)?;
    let token: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    client.send(&ToMosd::Expect {
        token: token.clone(),
    })?;
    Ok(token)
}

/// Waits until all announced channels are there.
pub fn await_channels(
    client: &mut Client,
    wanted: &[String],
) -> io::Result<BTreeMap<String, OwnedFd>> {
    let deadline = Instant::now() + CHANNEL_WAIT;
    let mut channels = BTreeMap::new();
    while channels.len() < wanted.len() {
        client.wait_readable(deadline.saturating_duration_since(Instant::now()))?;
        match client.recv()? {
            (FromMosd::Channel { token }, Some(fd)) if wanted.contains(&token) => {
                channels.insert(token, fd);
            }
            (FromMosd::ListYours { id }, _) => client.send(&ToMosd::Mine {
                id,
                procs: Vec::new(),
            })?,
            (FromMosd::Error(why), _) => return Err(io::Error::other(why)),
            _ => {}
        }
    }
    Ok(channels)
}
