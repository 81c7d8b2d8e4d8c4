//! The sending end, from the offer to the switch of the channel; the same for a mover at home and for a host.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

use crate::migrate::deputy::Deputy;
use crate::migrate::fault;
use crate::sys::poll::{self, Interest};
use crate::wire::channel::{TOKEN_LEN, Token};
use crate::wire::control::Figures;
use crate::wire::frame::{read_frame, write_frame};
use crate::wire::node::{Built, Opening, Started, Switching, Verdict};

/// The most that a frame of a migration other than pages may take.
pub const FRAME_LIMIT: usize = 16 << 20;

/// Why a move did not happen; the process runs on where it was.
#[derive(Debug)]
pub struct Stayed(pub String);

impl fmt::Display for Stayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for Stayed {
    fn from(error: io::Error) -> Stayed {
        Stayed(match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => "the connection was lost".to_owned(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                "the other node does not answer".to_owned()
            }
            _ => error.to_string(),
        })
    }
}

/// What a move takes, as it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Toll {
    so_far: Figures,
    /// When the process was told to stop.
    since: Instant,
}

impl Toll {
    /// Of a process that has been told to stop at `since`, or had taken `so_far` by then.
    pub fn new(so_far: Figures, since: Instant) -> Toll {
        Toll { so_far, since }
    }

    /// What it has taken until now.
    pub fn figures(&self) -> Figures {
        let stopped = self.since.elapsed().as_nanos() as u64;
        Figures {
            stopped_ns: self.so_far.stopped_ns.saturating_add(stopped),
            ..self.so_far
        }
    }
}

/// Asks whether the receiver takes the process; nothing has been stopped yet.
pub fn offer(conn: &mut TcpStream, opening: &Opening) -> Result<(), Stayed> {
    fault::point("source.offer")?;
    write_frame(conn, opening)?;
    match read_frame(conn, FRAME_LIMIT)? {
        Verdict::Accept => Ok(()),
        Verdict::Refuse(why) => Err(Stayed(why)),
    }
}

/// Waits until the receiver has built the process and gives it the deputies of all threads. On failure the sender still owns them,
/// or owns them again: the deputies themselves see to it that there is one owner, and say who it is. `first`: base of the
/// process's first stub. `toll`: what the move has taken so far. Gives what it took in all.
pub fn hand_over(
    conn: &mut TcpStream,
    deputies: &mut [&mut Deputy],
    first: u64,
    node: Ipv4Addr,
    toll: Toll,
) -> Result<Figures, Stayed> {
    let fds = prepare(conn, deputies, node)?;
    deputies[0].begin_hand_over(first)?;
    let mut spares = Vec::with_capacity(deputies.len());
    for deputy in deputies.iter_mut() {
        spares.push(deputy.keep_spare()?);
    }
    let switching = Switching {
        fds: fds.clone(),
        spares: spares.clone(),
        figures: toll.figures(),
    };
    if let Err(why) = announce(conn, switching) {
        for (deputy, spare) in deputies.iter_mut().zip(spares) {
            deputy.drop_spare(spare)?;
        }
        close_all(deputies, &fds)?;
        return Err(why);
    }
    for (deputy, fd) in deputies.iter_mut().zip(fds) {
        deputy.switch(fd)?;
    }
    let mut why = Stayed("it ended there before the process ran".to_owned());
    if let Err(error) = await_word(conn, deputies[0], &mut why) {
        why = error;
    }
    let mut all = true;
    for (deputy, spare) in deputies.iter_mut().zip(spares) {
        all &= deputy.handed_over(spare)?;
    }
    if all {
        Ok(toll.figures())
    } else {
        log::info!("the deputy came back: {why}");
        Err(why)
    }
}

/// What the receiver says, until the deputy says more.
fn await_word(conn: &mut TcpStream, deputy: &Deputy, why: &mut Stayed) -> Result<(), Stayed> {
    fault::point("source.started")?;
    if deputy.has_begun() {
        return Ok(());
    }
    let fds = [conn.as_raw_fd(), deputy.raw_fd()].map(|fd| (fd, Interest::Read));
    let ready = poll::wait(&fds, None)?;
    if ready[0]
        && !ready[1]
        && let Started::No(reason) = read_frame(conn, FRAME_LIMIT)?
    {
        *why = Stayed(reason);
    }
    Ok(())
}

/// Why the receiver does not read on: it may have said so before it closed.
pub fn reason(conn: &mut TcpStream, error: io::Error) -> Stayed {
    let closed = matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    );
    match closed.then(|| read_frame(conn, FRAME_LIMIT)) {
        Some(Ok(Built::Failed(why))) => Stayed(why),
        _ => error.into(),
    }
}

/// Has every deputy open a channel to the receiver.
fn prepare(
    conn: &mut TcpStream,
    deputies: &mut [&mut Deputy],
    node: Ipv4Addr,
) -> Result<Vec<u64>, Stayed> {
    fault::point("source.built")?;
    let (port, tokens) = match read_frame(conn, FRAME_LIMIT)? {
        Built::Ready { port, tokens } if tokens.len() == deputies.len() => (port, tokens),
        Built::Ready { .. } => {
            return Err(Stayed(
                "the receiver wants other threads than there are".to_owned(),
            ));
        }
        Built::Failed(why) => return Err(Stayed(why)),
    };
    fault::point("source.channel")?;
    let mut fds = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        let opened =
            parse_token(token).and_then(|token| Ok(deputies[at].open_channel(node, port, &token)?));
        match opened {
            Ok(fd) => fds.push(fd),
            Err(why) => {
                close_all(deputies, &fds)?;
                return Err(why);
            }
        }
    }
    Ok(fds)
}

fn close_all(deputies: &mut [&mut Deputy], fds: &[u64]) -> io::Result<()> {
    for (deputy, fd) in deputies.iter_mut().zip(fds) {
        deputy.call(crate::sys::abi::SYS_CLOSE, [*fd, 0, 0, 0, 0, 0])?;
    }
    Ok(())
}

fn announce(conn: &mut TcpStream, switching: Switching) -> Result<(), Stayed> {
    fault::point("source.switch")?;
    write_frame(conn, &switching)?;
    Ok(())
}

/// A token travels as hexadecimal text.
pub fn parse_token(text: &str) -> Result<Token, Stayed> {
    let bad = || Stayed("the receiver sent a token that cannot be".to_owned());
    let mut token = [0; TOKEN_LEN];
    if text.len() != 2 * TOKEN_LEN || !text.is_ascii() {
        return Err(bad());
    }
    for (byte, at) in token.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| bad())?;
    }
    Ok(token)
}
