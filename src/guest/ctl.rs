//! The host's connection to the warden at home. The guest does not need it to live: it is made again when it is lost.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::image::HomeId;
use crate::migrate::source::FRAME_LIMIT;
use crate::sys::poll::Source;
use crate::wire::client::Client;
use crate::wire::ctl::{FromHost, ToHost};
use crate::wire::frame::{FrameBuffer, write_frame};
use crate::wire::node::Opening;

/// How long after a loss, or a failed attempt, the next one is made.
const RETRY: Duration = Duration::from_millis(500);

/// The connection, or the time of the next attempt.
pub struct Ctl {
    link: Option<(TcpStream, FrameBuffer, Source)>,
    retry_at: Instant,
}

impl Ctl {
    pub fn new() -> Ctl {
        Ctl {
            link: None,
            retry_at: Instant::now(),
        }
    }

    /// Tries once; failure is only noted.
    pub fn connect(&mut self, client: &Client, home: &HomeId) {
        self.retry_at = Instant::now() + RETRY;
        let connected = client.connect_node(home.node).and_then(|mut stream| {
            write_frame(
                &mut stream,
                &Opening::Ctl {
                    tree: home.tree,
                    pid: home.pid,
                },
            )?;
            // The guest does not wait for a warden that does not read: the connection is made anew.
            stream.set_nonblocking(true)?;
            let source = Source::new(&stream);
            Ok((stream, FrameBuffer::new(FRAME_LIMIT), source))
        });
        match connected {
            Ok(link) => self.link = Some(link),
            Err(error) => log::debug!("the warden of {} cannot be reached: {error}", home.pid),
        }
    }

    pub fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// What is to be watched.
    pub fn source(&self) -> Source {
        self.link.as_ref().map_or(Source::NONE, |link| link.2)
    }

    /// Time until the next attempt, when there is no connection.
    pub fn retry_in(&self) -> Option<Duration> {
        self.link
            .is_none()
            .then(|| self.retry_at.saturating_duration_since(Instant::now()))
    }

    pub fn send(&mut self, message: &FromHost) {
        if let Some((stream, ..)) = &mut self.link
            && let Err(error) = write_frame(stream, message)
        {
            self.lose(&error);
        }
    }

    /// What has come; to be called when there is something to read.
    pub fn receive(&mut self) -> Vec<ToHost> {
        let mut messages = Vec::new();
        match self.read(&mut messages) {
            Ok(true) => {}
            Ok(false) => self.lose(&io::ErrorKind::UnexpectedEof.into()),
            Err(error) => self.lose(&error),
        }
        messages
    }

    fn read(&mut self, messages: &mut Vec<ToHost>) -> io::Result<bool> {
        let Some((stream, buffer, _)) = &mut self.link else {
            return Ok(true);
        };
        let open = buffer.fill(stream)?;
        while let Some(message) = buffer.next()? {
            messages.push(message);
        }
        Ok(open)
    }

    fn lose(&mut self, error: &io::Error) {
        log::debug!("the control connection is lost: {error}");
        self.link = None;
        self.retry_at = Instant::now() + RETRY;
    }
}

impl Default for Ctl {
    fn default() -> Ctl {
        Ctl::new()
    }
}
