//! What sockets can do beyond reading and writing: who is at the other end, descriptors as cargo, keeping alive.

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

pub use super::receive::{limit_receive, receive, receive_up_to};
use super::unix::check;

/// Who is at the other end of a Unix socket, when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// Asks the kernel who connected to a Unix socket.
///
/// # Errors
///
/// When it is no connected Unix socket.
pub fn peer(socket: &impl AsRawFd) -> io::Result<Peer> {
    // SAFETY: a `ucred` is plain numbers; all pointers are to live variables and the length is that of the variable.
    let credentials = unsafe {
        let mut credentials: libc::ucred = zeroed();
        let mut len = size_of::<libc::ucred>() as libc::socklen_t;
        check(libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut len,
        ))?;
        credentials
    };
    Ok(Peer {
        pid: credentials.pid,
        uid: credentials.uid,
        gid: credentials.gid,
    })
}

/// Room for the control message of one descriptor; aligned as `cmsghdr` must be.
#[repr(C, align(8))]
struct FdRoom([u8; 64]);

/// Sends `bytes` on a Unix socket with a descriptor attached to the first of them; how many were taken.
///
/// # Errors
///
/// Those of `sendmsg`; a broken connection is an error, not a signal.
pub fn send_with_fd(
    socket: &impl AsRawFd,
    bytes: &[u8],
    fd: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut room = FdRoom([0; 64]);
    // SAFETY: `part` and `room` outlive the call; the control message is laid out by the CMSG macros within `room`, which has
    // place for one descriptor.
    let sent = unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if let Some(fd) = fd {
            message.msg_control = room.0.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as usize;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as usize;
            libc::CMSG_DATA(header)
                .cast::<RawFd>()
                .write_unaligned(fd.as_raw_fd());
        }
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// The most descriptors that the kernel takes with one message.
pub const MOST_FDS: usize = 253;

/// Sends `bytes` on a Unix socket with these descriptors, at most [`MOST_FDS`], attached to the first of them; how many were taken.
///
/// # Errors
///
/// Those of `sendmsg`.
pub fn send_with_fds(
    socket: &impl AsRawFd,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let len = size_of_val(&numbers[..]) as u32;
    // SAFETY: `part`, `numbers` and `room` outlive the call; the control message is laid out by the CMSG macros within `room`, which
    // has place for all of it and is aligned as `cmsghdr` must be.
    let sent = unsafe {
        let space = libc::CMSG_SPACE(len) as usize;
        let mut room = vec![0u64; space.div_ceil(8)];
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = space;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(len) as usize;
        let data = libc::CMSG_DATA(header);
        numbers
            .as_ptr()
            .cast::<u8>()
            .copy_to_nonoverlapping(data, len as usize);
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives bytes from a Unix socket, and the descriptor that came with them (close-on-exec), if any. 0 bytes: the end.
///
/// # Errors
///
/// Those of `recvmsg`.
pub fn recv_with_fd(
    socket: &impl AsRawFd,
    bytes: &mut [u8],
) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut room = FdRoom([0; 64]);
    // SAFETY: `part` and `room` outlive the call and carry their lengths.
    let (received, message) = unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = room.0.as_mut_ptr().cast();
        message.msg_controllen = room.0.len();
        (
            libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC),
            message,
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    Ok((received, attached(&message)))
}

/// The first descriptor in a received control message; more of them are closed.
fn attached(message: &libc::msghdr) -> Option<OwnedFd> {
    let mut found = None;
    // SAFETY: the kernel has laid out the control messages that the CMSG macros walk over; each descriptor in them is new
    // and owned by nobody else.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*header).cmsg_len - libc::CMSG_LEN(0) as usize;
                for index in 0..bytes / size_of::<RawFd>() {
                    let fd = libc::CMSG_DATA(header)
                        .cast::<RawFd>()
                        .add(index)
                        .read_unaligned();
                    let fd = OwnedFd::from_raw_fd(fd);
                    found.get_or_insert(fd);
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    found
}

fn set_option(socket: RawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer is to a live `c_int` and the length is its own.
    check(unsafe {
        libc::setsockopt(
            socket,
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    })
    .map(|_| ())
}

/// What every connection between nodes has: no delay for small messages, and an end within about a minute when the other
/// machine is gone.
///
/// # Errors
///
/// When it is no TCP socket.
pub fn tune_tcp(socket: &impl AsRawFd) -> io::Result<()> {
    for (level, name, value) in TCP_OPTIONS {
        set_option(socket.as_raw_fd(), level, name, value)?;
    }
    Ok(())
}

/// Has writes wait when so much is not under way yet, however large the kernel's buffer is: so it shows how fast the link is.
///
/// # Errors
///
/// When it is no TCP socket.
pub fn keep_little(socket: &impl AsRawFd) -> io::Result<()> {
    const LITTLE: i32 = 256 << 10;
    let fd = socket.as_raw_fd();
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, LITTLE)
}

/// What [`tune_tcp`] sets, for those who have another process set it: level, option, value (an `int`).
pub const TCP_OPTIONS: [(i32, i32, i32); 6] = [
    (libc::IPPROTO_TCP, libc::TCP_NODELAY, 1),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 15),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 5),
    // A connection attempt is given up after 15 seconds, and silence on a connection in use after 45.
    (libc::IPPROTO_TCP, libc::TCP_SYNCNT, 3),
    (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 45_000),
];

fn inet(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*address.ip()).to_be(),
        },
        sin_zero: [0; 8],
    }
}

/// Begins to connect from one address to another, non-blocking: writable when it is decided.
///
/// # Errors
///
/// When the own address cannot be used, or the kernel knows at once that there is no way.
pub fn connect_from(own: SocketAddrV4, to: SocketAddrV4) -> io::Result<TcpStream> {
    let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointers; the descriptor is new and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, flags, 0))?) };
    // The port is chosen when connecting: many connections may share one, as long as they differ in the other end.
    set_option(
        socket.as_raw_fd(),
        libc::IPPROTO_IP,
        libc::IP_BIND_ADDRESS_NO_PORT,
        1,
    )?;
    let len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let (own, to) = (inet(own), inet(to));
    // SAFETY: both addresses are live `sockaddr_in`s of the given length.
    unsafe {
        check(libc::bind(socket.as_raw_fd(), (&raw const own).cast(), len))?;
        if let Err(error) = check(libc::connect(
            socket.as_raw_fd(),
            (&raw const to).cast(),
            len,
        )) && error.raw_os_error() != Some(libc::EINPROGRESS)
        {
            return Err(error);
        }
    }
    Ok(TcpStream::from(socket))
}

/// Waits until `socket` takes bytes (or is broken); false when it does not within `timeout`.
///
/// # Errors
///
/// Those of `poll`, except interruption.
pub fn wait_writable(socket: &impl AsRawFd, timeout: Duration) -> io::Result<bool> {
    wait(socket.as_raw_fd(), libc::POLLOUT, timeout)
}

/// Waits until `socket` has bytes or connections (or is broken, or at its end); false when nothing comes within `timeout`.
///
/// # Errors
///
/// Those of `poll`, except interruption.
pub fn wait_readable(socket: &impl AsRawFd, timeout: Duration) -> io::Result<bool> {
    wait(socket.as_raw_fd(), libc::POLLIN, timeout)
}

fn wait(fd: RawFd, events: i16, timeout: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    let mut entry = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the last wait is not a busy one.
        let ms = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        // SAFETY: one live entry, as its count says.
        match check(unsafe { libc::poll(&raw mut entry, 1, ms) }) {
            Ok(n) => return Ok(n > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Unix sockets with a name that is no file: gone with their last descriptor, seen in this network namespace only.
pub struct AbstractListener(UnixListener);

impl AbstractListener {
    /// Takes the name.
    ///
    /// # Errors
    ///
    /// `AddrInUse` when it is taken.
    pub fn bind(name: &str) -> io::Result<AbstractListener> {
        let address = SocketAddr::from_abstract_name(name)?;
        Ok(AbstractListener(UnixListener::bind_addr(&address)?))
    }

    /// The next connection.
    ///
    /// # Errors
    ///
    /// `TimedOut` when nobody connects within `timeout`.
    pub fn accept(&self, timeout: Duration) -> io::Result<OwnedFd> {
        if !wait_readable(&self.0, timeout)? {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody connected"));
        }
        Ok(self.0.accept()?.0.into())
    }
}

/// The process that connected to a Unix socket.
///
/// # Errors
///
/// As [`peer`].
pub fn peer_pid(socket: &impl AsRawFd) -> io::Result<i32> {
    peer(socket).map(|peer| peer.pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_descriptor_travels_with_its_bytes() {
        let (a, b) = UnixStream::pair().unwrap();
        let (mut kept, sent) = UnixStream::pair().unwrap();
        assert_eq!(send_with_fd(&a, b"plain", None).unwrap(), 5);
        assert_eq!(send_with_fd(&a, b"with", Some(sent.as_fd())).unwrap(), 4);
        drop(sent);
        let mut bytes = [0; 64];
        let mut text = Vec::new();
        let mut fd = None;
        while text.len() < 9 {
            let (n, got) = recv_with_fd(&b, &mut bytes).unwrap();
            text.extend_from_slice(&bytes[..n]);
            fd = fd.or(got);
        }
        assert_eq!(text, b"plainwith");
        let mut received = UnixStream::from(fd.unwrap());
        received.write_all(b"hello").unwrap();
        let mut hello = [0; 5];
        kept.read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
    }

    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (a, _b) = UnixStream::pair().unwrap();
        assert_eq!(peer(&a).unwrap().pid, std::process::id() as i32);
    }

    #[test]
    fn connecting_from_an_address_shows_it() {
        let listener = std::net::TcpListener::bind("127.9.8.7:0").unwrap();
        let std::net::SocketAddr::V4(to) = listener.local_addr().unwrap() else {
            panic!("IPv4")
        };
        let stream = connect_from("127.9.8.6:0".parse().unwrap(), to).unwrap();
        let (accepted, from) = listener.accept().unwrap();
        assert_eq!(from.ip().to_string(), "127.9.8.6");
        tune_tcp(&stream).unwrap();
        drop(accepted);
    }
}
