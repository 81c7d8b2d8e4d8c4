//! The gossip of this node: the socket, the clock and the secret that `gossip` itself does without.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::UdpSocket;

use crate::config::Config;
use crate::gossip::{Gossip, Known, Load, MAX_DATAGRAM, Message, Note, Standing, Time};
use crate::sys::unix::random_u64;

/// More nodes than this in a map are left out.
const MAX_NODES: usize = 65_536;
/// Datagrams that are read before others have their turn.
const AT_ONCE: usize = 256;

/// What this node knows of the others.
pub struct Neighbours {
    gossip: Gossip<Load>,
    socket: UdpSocket,
    secret: Vec<u8>,
    port: u16,
    started: Instant,
    me: Ipv4Addr,
    nodes: Arc<[Ipv4Addr]>,
    /// This node is turned off: it neither tells nor answers.
    pub quiet: bool,
}

/// All nodes that there may be, as gossip wants them.
fn nodes_of(config: &Config) -> Arc<[Ipv4Addr]> {
    let mut nodes: Vec<Ipv4Addr> = config.world().take(MAX_NODES + 1).collect();
    if nodes.len() > MAX_NODES {
        log::warn!("the maps have more than {MAX_NODES} nodes: the last ones are left out");
        nodes.truncate(MAX_NODES);
    }
    nodes.push(config.address);
    nodes.sort_unstable();
    nodes.dedup();
    nodes.into()
}

/// Higher in every later mosd, but for a clock that went back, which gossip overcomes.
fn new_life() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |since| since.as_nanos() as u64)
}

impl Neighbours {
    /// # Errors
    ///
    /// When the port cannot be had.
    pub fn new(config: &Config, now: Instant) -> io::Result<Neighbours> {
        let socket = UdpSocket::bind(SocketAddr::from((config.address, config.ports.udp)))?;
        let nodes = nodes_of(config);
        Ok(Neighbours {
            gossip: Gossip::new(config.address, Arc::clone(&nodes), new_life(), 0),
            socket,
            secret: config.secret.0.clone(),
            port: config.ports.udp,
            started: now,
            me: config.address,
            nodes,
            quiet: false,
        })
    }

    /// Goes on with another configuration; true when the socket is another one, which nobody waits on yet.
    ///
    /// # Errors
    ///
    /// When the port cannot be had; then nothing has changed.
    pub fn follow(&mut self, config: &Config, now: Instant) -> io::Result<bool> {
        let moved = config.address != self.me || config.ports.udp != self.port;
        if moved {
            self.socket = UdpSocket::bind(SocketAddr::from((config.address, config.ports.udp)))?;
            self.port = config.ports.udp;
        }
        let nodes = nodes_of(config);
        if moved || nodes != self.nodes {
            self.me = config.address;
            self.nodes = nodes;
            let life = new_life();
            self.gossip = Gossip::new(self.me, Arc::clone(&self.nodes), life, self.time(now));
        }
        self.secret.clone_from(&config.secret.0);
        Ok(moved)
    }

    pub fn socket(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    fn time(&self, now: Instant) -> Time {
        now.saturating_duration_since(self.started).as_millis() as Time
    }

    /// When [`Neighbours::tick`] is due.
    pub fn next(&self) -> Instant {
        self.started + Duration::from_millis(self.gossip.next_tick())
    }

    /// Tells others, when it is time; `load` is what this node tells of itself.
    pub fn tick(&mut self, load: Load, now: Instant) {
        self.gossip.set_info(load);
        let messages = self.gossip.tick(self.time(now), &mut random_u64);
        for message in messages {
            if !self.quiet {
                self.send(&message);
            }
        }
    }

    /// Reads what others tell; what came for the policy.
    pub fn hear(&mut self, now: Instant) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut bytes = [0; MAX_DATAGRAM + 1];
        for _ in 0..AT_ONCE {
            match self.socket.recv_from(&mut bytes) {
                Ok((n, _)) => notes.extend(self.heard(&bytes[..n], now)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Such as "connection refused", which tells of an earlier datagram.
                Err(_) => {}
            }
        }
        notes
    }

    fn heard(&mut self, bytes: &[u8], now: Instant) -> Option<Note> {
        if self.quiet {
            return None;
        }
        let message = Message::open(bytes, &self.secret)?;
        let (answer, note) = self.gossip.receive(&message, self.time(now));
        if let Some(answer) = answer {
            self.send(&answer);
        }
        note
    }

    fn send(&self, message: &Message<Load>) {
        let to = SocketAddr::V4(SocketAddrV4::new(message.to, self.port));
        // A node that is down, or a full queue: another message is sent soon.
        let _ = self.socket.send_to(&message.seal(&self.secret), to);
    }

    /// Sends something to the policy of another node, which may get lost.
    pub fn send_note(&mut self, node: Ipv4Addr, note: Vec<u8>, now: Instant) {
        let time = self.time(now);
        if let Some(message) = self.gossip.message_with_note(node, note, time) {
            self.send(&message);
        }
    }

    /// It answers.
    pub fn alive(&self, node: Ipv4Addr) -> bool {
        self.gossip.standing(node) == Standing::Up
    }

    pub fn known(&self, node: Ipv4Addr, now: Instant) -> Option<Known<Load>> {
        self.gossip.known(node, self.time(now))
    }

    /// Nodes that are up, with what they told not longer than `age` ago.
    pub fn view(&self, age: Duration, now: Instant) -> impl Iterator<Item = Known<Load>> + '_ {
        self.gossip.view(age.as_millis() as Time, self.time(now))
    }
}
