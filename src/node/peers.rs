//! Connections of and to other nodes, handed on as soon as it is known what they are for.

use std::io::{self, Seek, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::admission::Origin;
use super::incoming::{Incoming, Progress};
use super::outgoing::{self, Outgoing};
use super::report::Asker;
use super::server::Server;
use crate::config::journal;
use crate::sys::{socket, spawn, unix};
use crate::wire::control::FromMosd;
use crate::wire::node::{Offer, Opening, Verdict};
use crate::wire::{codec, frame};

/// Most connections that have not said yet what they are for.
const MAX_INCOMING: usize = 256;

impl Server {
    pub(super) fn accept_nodes(&mut self) {
        loop {
            match self.accept_node() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    log::warn!("cannot accept a connection: {error}");
                    return;
                }
            }
        }
    }

    fn accept_node(&mut self) -> io::Result<bool> {
        let (mut stream, from) = match self.accept_tcp() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            // The other side was faster to give up.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => return Ok(true),
            Err(error) => return Err(error),
        };
        let SocketAddr::V4(from) = from else {
            return Ok(true);
        };
        if socket::tune_tcp(&stream).is_err() {
            return Ok(true);
        }
        if self.incoming.len() >= MAX_INCOMING {
            let oldest = self
                .incoming
                .iter()
                .min_by_key(|(_, other)| other.until)
                .map(|(token, _)| *token);
            oldest.and_then(|token| self.incoming.remove(&token));
        }
        let token = self.new_token();
        self.poll
            .registry()
            .register(&mut stream, Token(token), Interest::READABLE)?;
        self.incoming
            .insert(token, Incoming::new(stream, *from.ip(), Instant::now()));
        self.incoming_ready(token);
        Ok(true)
    }

    pub(super) fn incoming_ready(&mut self, token: usize) {
        let Some(mut connection) = self.incoming.remove(&token) else {
            return;
        };
        let known = self.known(connection.from).is_some() || self.awaits_map();
        match connection.advance(&self.config.secret.0, known) {
            Ok(Progress::Waiting) => {
                self.incoming.insert(token, connection);
            }
            Ok(Progress::Channel(channel)) => {
                if let Some(stream) = self.released(connection.stream)
                    && let Some((owner, token, stream)) =
                        self.channels.arrive(channel, stream, Instant::now())
                {
                    self.give_channel(owner, token, stream);
                }
            }
            Ok(Progress::Opened { opening, uid }) => {
                if let Some(stream) = self.released(connection.stream) {
                    self.opened(stream, connection.from, opening, uid);
                }
            }
            Err(error) if known => {
                log::info!("connection from {} closed: {error}", connection.from)
            }
            // Anyone can do this, as often as they like: it must not fill the log.
            Err(error) => log::debug!("connection from {} closed: {error}", connection.from),
        }
    }

    /// Takes a connection out of the loop.
    fn released(&mut self, mut stream: TcpStream) -> Option<TcpStream> {
        self.poll
            .registry()
            .deregister(&mut stream)
            .ok()
            .map(|()| stream)
    }

    pub(super) fn give_channel(&mut self, owner: usize, token: String, stream: TcpStream) {
        match blocking(stream) {
            Ok(fd) => self.send(owner, &FromMosd::Channel { token }, Some(fd)),
            Err(error) => log::warn!("a channel is lost: {error}"),
        }
    }

    fn opened(&mut self, mut stream: TcpStream, from: Ipv4Addr, opening: Opening, uid: u32) {
        let about_us = matches!(opening, Opening::Ask | Opening::Configure { .. });
        if self.known(from).is_none() && !about_us {
            log::info!("connection from {from} closed: not in map");
            return;
        }
        let handed = match &opening {
            Opening::Configure { map, view } => {
                let taken = self.configured_by(from, uid, (map, view.as_deref()));
                let verdict = taken.map_or_else(Verdict::Refuse, |()| Verdict::Accept);
                stream.write_all(&frame::to_frame(&verdict))
            }
            Opening::Migrate(offer) => match self.admit(offer, from, uid) {
                Ok(()) => blocking(stream)
                    .and_then(|fd| start_host(fd, &opening, uid))
                    .map(|pid| {
                        self.policy.arriving.insert(pid, offer.home);
                        self.policy.hurry();
                        let (pid, home) = (offer.home_pid, offer.home);
                        self.journal(&format!("process {pid} of {home} arrives from {from}"));
                    }),
                Err(why) => {
                    log::info!("guest from {} refused: {why}", offer.home);
                    stream.write_all(&frame::to_frame(&Verdict::Refuse(why)))
                }
            },
            Opening::Ask => {
                self.asks_report(Asker::Node(stream, from));
                Ok(())
            }
            Opening::Ctl { tree, .. }
            | Opening::Return { tree, .. }
            | Opening::Evacuated { tree, .. } => {
                if let Opening::Return { pid, .. } | Opening::Evacuated { pid, .. } = opening {
                    self.journal(&format!("process {pid} comes home from {from}"));
                }
                match self.warden_for(*tree, uid) {
                    Some(warden) => blocking(stream).map(|fd| {
                        let arrived = FromMosd::Arrived {
                            opening: opening.clone(),
                        };
                        self.send(warden, &arrived, Some(fd));
                        if let Opening::Evacuated { pid, .. } = opening {
                            self.evacuated(warden, pid, from);
                        }
                    }),
                    None => {
                        log::info!(
                            "connection from {from} for tree {tree:x}, which has no warden here"
                        );
                        Ok(())
                    }
                }
            }
        };
        if let Err(error) = handed {
            log::warn!("connection from {from} could not be handed on: {error}");
        }
    }

    /// Whether this node takes the process. Every node of the map may send; what a user sends must be the user's.
    fn admit(&self, offer: &Offer, from: Ipv4Addr, uid: u32) -> Result<(), String> {
        if !self.trusts(uid) && uid != offer.uid {
            return Err(format!(
                "user {uid} of {from} cannot send a process of user {}",
                offer.uid
            ));
        }
        if self.origin(offer.home) == Origin::Unknown {
            return Err(format!("its home {} is not in map", offer.home));
        }
        match self.refusal(offer.home) {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }

    /// As [`Server::connect`], to send a process of `home` there.
    pub(super) fn connect_to_send(
        &mut self,
        client: usize,
        id: u64,
        (node, home): (Ipv4Addr, Ipv4Addr),
        uid: u32,
    ) {
        let node = self.config.canonical(node).unwrap_or(node);
        match self.forbidden(node).filter(|_| home == self.config.address) {
            Some(why) => self.connected(client, id, Err(format!("{node}: {why}"))),
            None => {
                self.journal(&format!(
                    "a process of {home} (user {uid}) leaves for {node}"
                ));
                self.connect(client, id, node, uid);
            }
        }
    }

    fn journal(&self, text: &str) {
        if self.config.log_mosrun {
            journal::note(&self.config.paths, text);
        }
    }

    /// Opens a connection to a node for a client.
    pub(super) fn connect(&mut self, client: usize, id: u64, node: Ipv4Addr, uid: u32) {
        let Some(node) = self.known(node) else {
            self.connected(client, id, Err(format!("{node}: not in map")));
            return;
        };
        let port = self.config.ports.tcp;
        let to = SocketAddrV4::new(node, port);
        let begun = Outgoing::begin(self.config.address, to, (client, id), uid).and_then(
            |mut connection| {
                let token = self.new_token();
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll
                    .registry()
                    .register(&mut connection.stream, Token(token), interest)?;
                self.outgoing.insert(token, connection);
                Ok(())
            },
        );
        if let Err(error) = begun {
            self.connected(client, id, Err(outgoing::reason(node, port, &error)));
        }
    }

    pub(super) fn outgoing_ready(&mut self, token: usize) {
        let Some(mut connection) = self.outgoing.remove(&token) else {
            return;
        };
        let (client, id, node) = (connection.client, connection.id, connection.node);
        let result = match connection.advance(&self.config.secret.0) {
            Ok(false) => {
                self.outgoing.insert(token, connection);
                return;
            }
            Ok(true) => self
                .released(connection.stream)
                .ok_or_else(|| io::Error::other("lost"))
                .and_then(blocking),
            Err(error) => Err(error),
        };
        let port = self.config.ports.tcp;
        let distant = !self.config.proximate(node);
        self.connected(
            client,
            id,
            result
                .map(|fd| (fd, distant))
                .map_err(|error| outgoing::reason(node, port, &error)),
        );
    }

    fn connected(&mut self, client: usize, id: u64, result: Result<(OwnedFd, bool), String>) {
        match result {
            Ok((fd, distant)) => {
                let there = FromMosd::Connected {
                    id,
                    error: None,
                    distant,
                };
                self.send(client, &there, Some(fd))
            }
            Err(why) => self.send(
                client,
                &FromMosd::Connected {
                    id,
                    error: Some(why),
                    distant: false,
                },
                None,
            ),
        }
    }

    /// Gives up connections that take too long.
    pub(super) fn expire_connections(&mut self, now: Instant) {
        self.incoming.retain(|_, connection| connection.until > now);
        let late: Vec<usize> = self
            .outgoing
            .iter()
            .filter(|(_, other)| other.until <= now)
            .map(|(token, _)| *token)
            .collect();
        for token in late {
            if let Some(connection) = self.outgoing.remove(&token) {
                let error = io::ErrorKind::TimedOut.into();
                let why = outgoing::reason(connection.node, self.config.ports.tcp, &error);
                self.connected(connection.client, connection.id, Err(why));
            }
        }
    }
}

/// A descriptor as other processes expect it.
fn blocking(stream: TcpStream) -> io::Result<OwnedFd> {
    let stream = std::net::TcpStream::from(stream);
    stream.set_nonblocking(false)?;
    Ok(stream.into())
}

/// Starts a host and gives its pid: the connection is its descriptor 3, a file with the encoded opening and the user for whom it
/// was opened its descriptor 4.
fn start_host(connection: OwnedFd, opening: &Opening, uid: u32) -> io::Result<i32> {
    let mut file = unix::memfd(c"mos-opening")?;
    file.write_all(&codec::encode(&(opening, uid)))?;
    file.rewind()?;
    // mosd reaps all its children when SIGCHLD says so.
    let host = spawn::same_binary("mos-host", &[], vec![connection, file.into()])?;
    Ok(host.id() as i32)
}
