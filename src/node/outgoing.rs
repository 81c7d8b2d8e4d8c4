//! Connections to other nodes that local processes have asked for.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use crate::sys::socket;
use crate::wire::auth::{AuthError, Handshake};

/// How long connecting and authentication may take together.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection under way.
pub struct Outgoing {
    pub stream: TcpStream,
    /// Who asked, and under which number.
    pub client: usize,
    pub id: u64,
    pub node: Ipv4Addr,
    pub until: Instant,
    uid: u32,
    handshake: Option<Handshake>,
}

impl Outgoing {
    /// Begins to connect from `own` to `to`, on behalf of user `uid`.
    ///
    /// # Errors
    ///
    /// When it is clear at once that it cannot be.
    pub fn begin(
        own: Ipv4Addr,
        to: SocketAddrV4,
        (client, id): (usize, u64),
        uid: u32,
    ) -> io::Result<Outgoing> {
        let stream = socket::connect_from(SocketAddrV4::new(own, 0), to)?;
        socket::tune_tcp(&stream)?;
        Ok(Outgoing {
            stream: TcpStream::from_std(stream),
            client,
            id,
            node: *to.ip(),
            until: Instant::now() + PATIENCE,
            uid,
            handshake: None,
        })
    }

    /// Goes on as far as it can; true when the connection is authenticated.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn advance(&mut self, secret: &[u8]) -> io::Result<bool> {
        if self.handshake.is_none() && !self.connected(secret)? {
            return Ok(false);
        }
        let Some(handshake) = &mut self.handshake else {
            return Ok(false);
        };
        let mut bytes = [0; 64];
        while !handshake.done() {
            let wanted = handshake.wanted().min(bytes.len());
            match self.stream.read(&mut bytes[..wanted]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    let (out, result) = handshake.feed(&bytes[..n]);
                    self.stream.write_all(&out)?;
                    result?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Once the TCP connection stands, our hello goes out.
    fn connected(&mut self, secret: &[u8]) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(error),
        }
        let (handshake, hello) = Handshake::initiator(secret, self.uid);
        self.stream.write_all(&hello)?;
        self.handshake = Some(handshake);
        Ok(true)
    }
}

/// Why a node could not be reached, in words for users.
pub fn reason(node: Ipv4Addr, port: u16, error: &io::Error) -> String {
    if let Some(auth) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<AuthError>())
    {
        return format!("{node}: other node refused: {auth}");
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => {
            format!(
                "{node}: other node refused: it closed the connection (is this node in its map?)"
            )
        }
        io::ErrorKind::ConnectionRefused => {
            format!(
                "{node}: no response: nothing listens on TCP port {port} there (does mosd run?)"
            )
        }
        io::ErrorKind::TimedOut
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => {
            format!("{node}: no response: it is down, or a fire-wall blocks TCP port {port}")
        }
        _ => format!("{node}: no response: {error}"),
    }
}
