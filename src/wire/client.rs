//! A local process's connection to mosd: the control socket, blocking or not.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::codec;
use super::control::{FromMosd, NodeInfo, ToMosd};
use super::cpu::Cpu;
use super::frame::{self, FrameBuffer};
use crate::config::{Hosts, Named, Paths};
use crate::sys::socket;

/// How long mosd may take to connect to another node, its own time-outs included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// What mosd tells those who register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// This node.
    pub address: Ipv4Addr,
    /// The TCP port of all nodes.
    pub port: u16,
    /// What it is taken to offer.
    pub cpu: Cpu,
}

/// A connection to the mosd of this node.
pub struct Client {
    paths: Paths,
    stream: UnixStream,
    buffer: FrameBuffer,
    /// Descriptors that came, for the frames that say that one is attached, in order.
    fds: VecDeque<OwnedFd>,
}

impl Client {
    /// Connects to the mosd of `paths`.
    ///
    /// # Errors
    ///
    /// Names the socket and says what to do when no mosd runs there.
    pub fn connect(paths: &Paths) -> io::Result<Client> {
        let path = paths.socket();
        let stream = connect_unix(&path).map_err(|error| {
            let what = match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("mos does not run on this node (there is no {}): start it with \"mosd\"", path.display())
                }
                io::ErrorKind::ConnectionRefused => format!(
                    "mos does not run on this node any more ({} was left by a mosd that has ended): start it again with \"mosd\"",
                    path.display()
                ),
                _ => format!("cannot reach mosd at {}: {error}", path.display()),
            };
            io::Error::new(error.kind(), what)
        })?;
        Ok(Client::from_stream(stream, paths.clone()))
    }

    /// Uses a stream that is connected to the mosd of `paths` already.
    fn from_stream(stream: UnixStream, paths: Paths) -> Client {
        Client {
            paths,
            stream,
            buffer: FrameBuffer::new(frame::LIMIT),
            fds: VecDeque::new(),
        }
    }

    /// Says who this process is (`ToMosd::Warden`, `Host` or `Mover`).
    ///
    /// # Errors
    ///
    /// mosd's words when it does not want us, or those of `ask`.
    pub fn register(&mut self, who: &ToMosd) -> io::Result<Welcome> {
        match self.ask(who)? {
            FromMosd::Welcome { address, port, cpu } => Ok(Welcome { address, port, cpu }),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "mosd gave no welcome",
            )),
        }
    }

    /// Connects anew to the same node's mosd, which was restarted, and registers there. Blocking, whatever it was before.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`] and [`Client::register`]; then the old connection stays.
    pub fn reconnect(&mut self, who: &ToMosd) -> io::Result<()> {
        let mut client = Client::connect(&self.paths)?;
        client.register(who)?;
        *self = client;
        Ok(())
    }

    /// The node that a user names: number, address or host name.
    ///
    /// # Errors
    ///
    /// In words, when there is no such host or it is not in the map.
    pub fn resolve(&mut self, name: &str) -> io::Result<NodeInfo> {
        let node = Named::find(name, &Hosts::of(&self.paths)).map_err(io::Error::other)?;
        match self.ask(&ToMosd::Resolve { node })? {
            FromMosd::Node(Some(node)) => Ok(node),
            _ => Err(io::Error::other(format!("{name}: not in map"))),
        }
    }

    /// An authenticated connection to another node, opened by mosd: the caller's `node::Opening` comes next. Uses a control
    /// connection of its own, so that no message for this one is passed over.
    ///
    /// # Errors
    ///
    /// mosd's words why that node cannot be reached, or `TimedOut`.
    pub fn connect_node(&self, node: Ipv4Addr) -> io::Result<TcpStream> {
        Ok(self.connect_to_return(node)?.0)
    }

    /// As [`Client::connect_node`], to send a process home; and whether that is distant.
    ///
    /// # Errors
    ///
    /// As [`Client::connect_node`].
    pub fn connect_to_return(&self, node: Ipv4Addr) -> io::Result<(TcpStream, bool)> {
        self.connected(&ToMosd::Connect { id: 0, node })
    }

    /// As [`Client::connect_to_return`], to send a process of `home` there.
    ///
    /// # Errors
    ///
    /// As [`Client::connect_node`], and when such processes must not go there.
    pub fn connect_to_send(&self, node: Ipv4Addr, home: Ipv4Addr) -> io::Result<(TcpStream, bool)> {
        self.connected(&ToMosd::ConnectToSend { id: 0, node, home })
    }

    fn connected(&self, question: &ToMosd) -> io::Result<(TcpStream, bool)> {
        let mut client = Client::connect(&self.paths)?;
        client.send(question)?;
        client.wait_readable(CONNECT_TIMEOUT)?;
        match client.recv()? {
            (
                FromMosd::Connected {
                    error: None,
                    distant,
                    ..
                },
                Some(fd),
            ) => Ok((TcpStream::from(fd), distant)),
            (
                FromMosd::Connected {
                    error: Some(why), ..
                }
                | FromMosd::Error(why),
                _,
            ) => Err(io::Error::other(why)),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "mosd did not connect",
            )),
        }
    }

    /// Waits until there is something to receive (or the end of the connection).
    ///
    /// # Errors
    ///
    /// `TimedOut` when there is nothing within `timeout`.
    pub fn wait_readable(&self, timeout: Duration) -> io::Result<()> {
        if self.buffer.lacking()? == 0 || socket::wait_readable(&self.stream, timeout)? {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "mosd does not answer",
        ))
    }

    /// Makes [`Client::try_recv`] useful (and `recv` fail with `WouldBlock`).
    ///
    /// # Errors
    ///
    /// Those of the socket.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.stream.set_nonblocking(nonblocking)
    }

    /// Limits how long `recv` waits; `WouldBlock` afterwards.
    ///
    /// # Errors
    ///
    /// When the time is zero.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)
    }

    /// Sends a message; waits for room also when the connection is non-blocking, at most 10 seconds.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` when mosd has gone, `TimedOut` when it does not read.
    pub fn send(&mut self, message: &ToMosd) -> io::Result<()> {
        let bytes = frame::to_frame(message);
        let mut left = &bytes[..];
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(n) => left = &left[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !socket::wait_writable(&self.stream, Duration::from_secs(10))? {
                        return Err(io::Error::new(
                            io::ErrorKind::TimedOut,
                            "mosd does not answer",
                        ));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for the next message and the descriptor attached to it.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` when mosd has gone, `WouldBlock` after the time-out, `InvalidData` when it says what we do not know.
    pub fn recv(&mut self) -> io::Result<(FromMosd, Option<OwnedFd>)> {
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(message);
            }
            self.fill()?;
        }
    }

    /// Whether a whole message has been read already, of which no poll tells any more.
    pub fn has_message(&self) -> bool {
        // A bad length is an error of the next `recv`.
        self.buffer.lacking().map_or(true, |lacking| lacking == 0)
    }

    /// The next message, if it has come; for non-blocking use.
    ///
    /// # Errors
    ///
    /// As [`Client::recv`], without `WouldBlock`.
    pub fn try_recv(&mut self) -> io::Result<Option<(FromMosd, Option<OwnedFd>)>> {
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(Some(message));
            }
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a question and waits for the next message, which is its answer on a connection that asks one thing at a time.
    ///
    /// # Errors
    ///
    /// As `send` and `recv`; `FromMosd::Error` becomes an error with mosd's words.
    pub fn ask(&mut self, question: &ToMosd) -> io::Result<FromMosd> {
        self.send(question)?;
        match self.recv()?.0 {
            FromMosd::Error(what) => Err(io::Error::other(what)),
            answer => Ok(answer),
        }
    }

    fn buffered(&mut self) -> io::Result<Option<(FromMosd, Option<OwnedFd>)>> {
        let Some(frame) = self.buffer.take()? else {
            return Ok(None);
        };
        let fd = if frame.with_fd {
            self.fds.pop_front()
        } else {
            None
        };
        if frame.with_fd && fd.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a descriptor from mosd was lost: too many open files?",
            ));
        }
        Ok(Some((codec::decode(&frame.payload)?, fd)))
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 << 10];
        loop {
            match socket::recv_with_fd(&self.stream, &mut bytes) {
                Ok((n, fd)) => {
                    self.fds.extend(fd);
                    self.buffer.feed(&bytes[..n]);
                    return if n == 0 {
                        Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "mosd has closed the connection",
                        ))
                    } else {
                        Ok(())
                    };
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRawFd for Client {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Connects to a Unix socket, also where its path is longer than a socket's address can hold.
///
/// # Errors
///
/// As `UnixStream::connect`.
pub fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    with_short_path(path, |short| UnixStream::connect(short))
}

/// Calls `action` with a path of the same socket that fits in an address: through the directory's descriptor if need be.
///
/// # Errors
///
/// Those of `action`, or of opening the directory.
pub fn with_short_path<T>(
    path: &Path,
    action: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    if path.as_os_str().len() <= 100 {
        return action(path);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return action(path);
    };
    let directory = std::fs::File::open(parent)?;
    action(&Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::Outcome;

    #[test]
    fn messages_and_descriptors_keep_together() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut client = Client::from_stream(ours, Paths::under("/nonexistent"));
        let (kept, sent) = UnixStream::pair().unwrap();
        let plain = frame::to_frame(&FromMosd::Result(Outcome::Done));
        let mut with = frame::to_frame(&FromMosd::Channel { token: "t".into() });
        with[3] |= 0x80;
        for _ in 0..3 {
            socket::send_with_fd(&theirs, &plain, None).unwrap();
            socket::send_with_fd(&theirs, &with[..3], Some(sent.as_fd())).unwrap();
            socket::send_with_fd(&theirs, &with[3..], None).unwrap();
        }
        for _ in 0..3 {
            assert!(matches!(
                client.recv().unwrap(),
                (FromMosd::Result(_), None)
            ));
            assert!(matches!(
                client.recv().unwrap(),
                (FromMosd::Channel { .. }, Some(_))
            ));
        }
        client.set_nonblocking(true).unwrap();
        assert!(client.try_recv().unwrap().is_none());
        drop((theirs, kept));
        assert_eq!(
            client.try_recv().unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
    }

    #[test]
    fn a_missing_mosd_is_named() {
        let error = Client::connect(&Paths::under("/nonexistent"))
            .err()
            .unwrap();
        assert!(
            error
                .to_string()
                .contains("/nonexistent/etc/mosix/var/mosd.sock"),
            "{error}"
        );
    }
}
