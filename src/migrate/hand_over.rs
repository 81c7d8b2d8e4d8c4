//! How a deputy gets another owner: it opens a new channel, keeps the old one as a spare until the hand-over is final, and switches.

use std::io;
use std::net::Ipv4Addr;

use crate::migrate::deputy::{Deputy, Frame};
use crate::sys::socket::TCP_OPTIONS;
use crate::sys::{abi, stub};
use crate::wire::channel::{self, Request, Token};

impl Deputy {
    /// Opens a connection from the deputy to `node:port` and announces `token`; gives the descriptor in the deputy.
    pub fn open_channel(&mut self, node: Ipv4Addr, port: u16, token: &Token) -> io::Result<u64> {
        let fd = self.call(
            abi::SYS_SOCKET,
            [
                abi::AF_INET,
                abi::SOCK_STREAM | abi::SOCK_CLOEXEC,
                0,
                0,
                0,
                0,
            ],
        )?;
        let opened = self.connect_and_greet(fd, node, port, token);
        if opened.is_err() {
            self.call(abi::SYS_CLOSE, [fd, 0, 0, 0, 0, 0])?;
        }
        opened.map(|()| fd)
    }

    fn connect_and_greet(
        &mut self,
        fd: u64,
        node: Ipv4Addr,
        port: u16,
        token: &Token,
    ) -> io::Result<()> {
        let mut address = [0; 16];
        address[0] = abi::AF_INET as u8;
        address[2..4].copy_from_slice(&port.to_be_bytes());
        address[4..8].copy_from_slice(&node.octets());
        // A dead link ends the channel at both ends, also while nothing is said.
        for (level, name, value) in TCP_OPTIONS {
            let args = [fd, level as u64, name as u64, 0, 4, 0];
            self.call_with(abi::SYS_SETSOCKOPT, args, 3, &value.to_le_bytes())?;
        }
        self.call_with(abi::SYS_CONNECT, [fd, 0, 16, 0, 0, 0], 1, &address)?;
        let greeting = [channel::CHANNEL_MAGIC.as_slice(), token].concat();
        let sent = self.call_with(
            abi::SYS_SENDTO,
            [fd, 0, greeting.len() as u64, abi::MSG_NOSIGNAL, 0, 0],
            1,
            &greeting,
        )?;
        if sent as usize == greeting.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Makes a second descriptor of this channel in the deputy and tells the stub of it: from now on, when the channel of the
    /// next owner ends, the deputy is this end's again. Gives its number.
    pub fn keep_spare(&mut self) -> io::Result<u64> {
        let args = [self.channel_fd as u64, abi::F_DUPFD_CLOEXEC, 3, 0, 0, 0];
        let spare = self.call(abi::SYS_FCNTL, args)?;
        self.set_spare(spare)?;
        Ok(spare)
    }

    /// Undoes `keep_spare`, by whoever owns the deputy: what happens to the channel from now on is final.
    pub fn drop_spare(&mut self, spare: u64) -> io::Result<()> {
        self.set_spare(0)?;
        self.call(abi::SYS_CLOSE, [spare, 0, 0, 0, 0, 0]).map(drop)
    }

    /// Before the threads of a process are handed over: none of them is final. `first`: base of its first stub.
    pub fn begin_hand_over(&mut self, first: u64) -> io::Result<()> {
        self.write_memory(first + stub::HANDED, &[0; 4])
    }

    /// Makes the hand-over of all threads of the process final at once.
    pub fn settle_all(&mut self) -> io::Result<()> {
        let request = Request {
            flags: channel::SETTLE | channel::NO_CALL,
            ..Request::default()
        };
        self.rpc(&request, &[]).map(drop)
    }

    /// Makes the hand-over of this thread to this end final.
    pub fn settle(&mut self) -> io::Result<()> {
        match self.spare.take() {
            Some(spare) => self.drop_spare(spare),
            None => Ok(()),
        }
    }

    fn set_spare(&mut self, spare: u64) -> io::Result<()> {
        self.write_memory(self.base + stub::SPARE, &(spare as u32).to_le_bytes())
    }

    /// Has the deputy make its descriptor `fd` its channel. The answer goes to the other end of `fd`, who owns the deputy then;
    /// what comes here is said by [`Deputy::handed_over`].
    pub fn switch(&mut self, fd: u64) -> io::Result<()> {
        let request = Request {
            nr: abi::SYS_DUP3,
            args: [fd, self.channel_fd as u64, abi::O_CLOEXEC, 0, 0, 0],
            ..Request::default()
        };
        self.send(&request, &[])
    }

    /// After `switch`: waits until the hand-over is final (true), or this end owns the deputy again (false).
    pub fn handed_over(&mut self, spare: u64) -> io::Result<bool> {
        loop {
            match self.read_frame() {
                // The new owner has the spare channel closed, or the process has ended.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                    ) =>
                {
                    return Ok(true);
                }
                Err(error) => return Err(error),
                Ok(Frame::Signal(info)) => self.signals.push_back(info),
                Ok(Frame::Reply { value, .. }) if value == channel::FELL_BACK => return Ok(false),
                // The switch itself failed.
                Ok(Frame::Reply { .. }) => {
                    self.drop_spare(spare)?;
                    return Ok(false);
                }
            }
        }
    }

    /// The other half of `switch`: on the new owner's side, takes the answer to the `dup3` and closes `fd`.
    pub fn take_over(&mut self, fd: u64) -> io::Result<()> {
        match self.read_frame()? {
            Frame::Reply { value, .. } if value == i64::from(self.channel_fd) => {}
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the deputy's first answer is wrong",
                ));
            }
        }
        self.call(abi::SYS_CLOSE, [fd, 0, 0, 0, 0, 0]).map(drop)
    }
}
