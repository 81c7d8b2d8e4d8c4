//! Connections that others open, until it is known what they are for.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use crate::wire::auth::{Handshake, NODE_MAGIC};
use crate::wire::channel::{CHANNEL_MAGIC, TOKEN_LEN, Token};
use crate::wire::frame::{FrameBuffer, LIMIT_BEFORE_AUTH};
use crate::wire::node::Opening;

/// How long a connection may take to say what it is for.
pub const PATIENCE: Duration = Duration::from_secs(5);

enum Phase {
    /// The first eight bytes tell a channel from a node connection.
    Magic(Vec<u8>),
    Token(Vec<u8>),
    Handshake(Box<Handshake>),
    Opening {
        input: FrameBuffer,
        uid: u32,
    },
}

/// What has become of a connection.
#[derive(Debug)]
pub enum Progress {
    /// It needs more bytes.
    Waiting,
    Channel(Token),
    /// Authenticated; opened there on behalf of `uid`.
    Opened {
        opening: Opening,
        uid: u32,
    },
}

/// A connection that was accepted. Not a byte beyond what it needs is read.
pub struct Incoming {
    pub stream: TcpStream,
    pub from: Ipv4Addr,
    pub until: Instant,
    phase: Phase,
}

impl Incoming {
    pub fn new(stream: TcpStream, from: Ipv4Addr, now: Instant) -> Incoming {
        Incoming {
            stream,
            from,
            until: now + PATIENCE,
            phase: Phase::Magic(Vec::new()),
        }
    }

    /// Reads what has come and answers. `known`: the other side's address is a node's.
    ///
    /// # Errors
    ///
    /// Why the connection is to be closed.
    pub fn advance(&mut self, secret: &[u8], known: bool) -> io::Result<Progress> {
        loop {
            let mut bytes = [0; 4096];
            let wanted = self.wanted()?.min(bytes.len());
            match self.stream.read(&mut bytes[..wanted]) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "it closed the connection",
                    ));
                }
                Ok(n) => {
                    if let Some(done) = self.feed(&bytes[..n], secret, known)? {
                        return Ok(done);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Progress::Waiting);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn wanted(&self) -> io::Result<usize> {
        match &self.phase {
            Phase::Magic(have) => Ok(NODE_MAGIC.len() - have.len()),
            Phase::Token(have) => Ok(TOKEN_LEN - have.len()),
            Phase::Handshake(handshake) => Ok(handshake.wanted()),
            Phase::Opening { input, .. } => input.lacking(),
        }
    }

    fn feed(&mut self, bytes: &[u8], secret: &[u8], known: bool) -> io::Result<Option<Progress>> {
        match &mut self.phase {
            Phase::Magic(have) => {
                have.extend_from_slice(bytes);
                if have.len() == NODE_MAGIC.len() {
                    self.phase = begin(have, secret, known)?;
                }
            }
            Phase::Token(have) => {
                have.extend_from_slice(bytes);
                if let Ok(token) = Token::try_from(&have[..]) {
                    return Ok(Some(Progress::Channel(token)));
                }
            }
            Phase::Handshake(handshake) => {
                let (out, result) = handshake.feed(bytes);
                // A few bytes on a fresh connection: there is room for them, or it is no honest peer.
                self.stream.write_all(&out)?;
                result?;
                if handshake.done() {
                    self.phase = Phase::Opening {
                        input: FrameBuffer::new(LIMIT_BEFORE_AUTH),
                        uid: handshake.uid(),
                    };
                }
            }
            Phase::Opening { input, uid } => {
                input.feed(bytes);
                if let Some(opening) = input.next()? {
                    return Ok(Some(Progress::Opened { opening, uid: *uid }));
                }
            }
        }
        Ok(None)
    }
}

/// The phase that follows the first bytes.
fn begin(magic: &[u8], secret: &[u8], known: bool) -> io::Result<Phase> {
    if magic == CHANNEL_MAGIC {
        return Ok(Phase::Token(Vec::new()));
    }
    if magic != NODE_MAGIC {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it speaks something else than mos",
        ));
    }
    if !known {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "not in map",
        ));
    }
    let mut handshake = Handshake::responder(secret);
    let (_, result) = handshake.feed(magic);
    result?;
    Ok(Phase::Handshake(Box::new(handshake)))
}
