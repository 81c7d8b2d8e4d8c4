//! Which nodes are alive: each tells each other once a second.
//!
//! ```text
//! "MOSBEAT1"   from 4   to 4   session 8   echo 8   sequence 8   HMAC-SHA256 of all before 32
//! ```
//!
//! `session` is a random number of the sender's mosd; `echo` is the receiver's, as the sender knows it. Only a datagram that echoes
//! the receiver's own session and has a higher sequence number than the one before says that its sender is alive: old datagrams,
//! sent again, say nothing, and no clocks are compared.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use hmac::Mac;

use crate::wire::auth::keyed;

const MAGIC: &[u8; 8] = b"MOSBEAT1";
/// Bytes before the HMAC.
const BODY_LEN: usize = 40;
/// Bytes of a datagram.
pub const BEAT_LEN: usize = BODY_LEN + 32;
/// A node that was not heard for so long is taken for dead.
const ALIVE_FOR: Duration = Duration::from_secs(5);
/// Least time between two answers to a node that does not know our session.
const ANSWER_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
struct PeerState {
    session: u64,
    sequence: u64,
    alive_until: Option<Instant>,
    answered: Option<Instant>,
}

/// What this node knows of the others' being alive.
pub struct Beats {
    me: Ipv4Addr,
    secret: Vec<u8>,
    session: u64,
    sequence: u64,
    peers: HashMap<Ipv4Addr, PeerState>,
}

impl Beats {
    /// `session` must be random, and not 0.
    pub fn new(me: Ipv4Addr, secret: &[u8], session: u64) -> Beats {
        Beats {
            me,
            secret: secret.to_vec(),
            session,
            sequence: 0,
            peers: HashMap::new(),
        }
    }

    /// What to send to `node` now.
    pub fn beat_for(&mut self, node: Ipv4Addr) -> [u8; BEAT_LEN] {
        self.sequence += 1;
        let echo = self.peers.get(&node).map_or(0, |peer| peer.session);
        let mut bytes = [0; BEAT_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&self.me.octets());
        bytes[12..16].copy_from_slice(&node.octets());
        for (at, word) in [(16, self.session), (24, echo), (32, self.sequence)] {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        let mac = keyed(&self.secret)
            .chain_update(&bytes[..BODY_LEN])
            .finalize()
            .into_bytes();
        bytes[BODY_LEN..].copy_from_slice(&mac);
        bytes
    }

    /// Takes a datagram. The node to be sent a beat at once, if any: it does not know our session yet, or has just appeared.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) -> Option<Ipv4Addr> {
        let bytes: &[u8; BEAT_LEN] = bytes.try_into().ok()?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        if &bytes[..8] != MAGIC || bytes[12..16] != self.me.octets() {
            return None;
        }
        keyed(&self.secret)
            .chain_update(&bytes[..BODY_LEN])
            .verify_slice(&bytes[BODY_LEN..])
            .ok()?;
        let from = Ipv4Addr::new(bytes[8], bytes[9], bytes[10], bytes[11]);
        let (session, echo, sequence) = (word(16), word(24), word(32));
        let unknown = PeerState {
            session: 0,
            sequence: 0,
            alive_until: None,
            answered: None,
        };
        let peer = self.peers.entry(from).or_insert(unknown);
        let alive = peer.alive_until.is_some_and(|until| until > now);
        if echo == self.session {
            if peer.session == session && peer.sequence >= sequence && alive {
                return None;
            }
            let appeared = !alive || peer.session != session;
            *peer = PeerState {
                session,
                sequence,
                alive_until: Some(now + ALIVE_FOR),
                ..*peer
            };
            return appeared.then_some(from);
        }
        // It does not know us (or this is an old datagram): tell it, without believing anything, and not too often.
        if peer.answered.is_some_and(|at| now < at + ANSWER_EVERY) {
            return None;
        }
        peer.answered = Some(now);
        if !alive {
            peer.session = session;
            peer.sequence = 0;
        }
        Some(from)
    }

    /// `node` was heard lately; this node always is alive.
    pub fn alive(&self, node: Ipv4Addr, now: Instant) -> bool {
        node == self.me
            || self
                .peers
                .get(&node)
                .and_then(|peer| peer.alive_until)
                .is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn meet(a: &mut Beats, b: &mut Beats, now: Instant) {
        let mut to_b = true;
        let mut bytes = a.beat_for(b.me);
        for _ in 0..10 {
            let (receiver, sender) = if to_b {
                (&mut *b, a.me)
            } else {
                (&mut *a, b.me)
            };
            match receiver.receive(&bytes, now) {
                Some(node) => {
                    assert_eq!(node, sender);
                    bytes = receiver.beat_for(node);
                    to_b = !to_b;
                }
                None => return,
            }
        }
        panic!("they never stop");
    }

    #[test]
    fn two_nodes_find_each_other_at_once() {
        let now = Instant::now();
        let (mut a, mut b) = (Beats::new(A, b"s", 1), Beats::new(B, b"s", 2));
        meet(&mut a, &mut b, now);
        assert!(a.alive(B, now) && b.alive(A, now));
        assert!(!a.alive(B, now + ALIVE_FOR));
    }

    #[test]
    fn a_restarted_node_is_found_again() {
        let now = Instant::now();
        let (mut a, mut b) = (Beats::new(A, b"s", 1), Beats::new(B, b"s", 2));
        meet(&mut a, &mut b, now);
        let mut b = Beats::new(B, b"s", 3);
        let now = now + Duration::from_secs(1);
        meet(&mut b, &mut a, now);
        let later = now + ALIVE_FOR - Duration::from_millis(1);
        assert!(a.alive(B, later) && b.alive(A, later));
    }

    #[test]
    fn old_datagrams_say_nothing() {
        let now = Instant::now();
        let (mut a, mut b) = (Beats::new(A, b"s", 1), Beats::new(B, b"s", 2));
        meet(&mut a, &mut b, now);
        let old = a.beat_for(B);
        b.receive(&old, now);
        let later = now + Duration::from_secs(4);
        b.receive(&old, later);
        assert!(!b.alive(A, now + ALIVE_FOR));
        // Nor to a mosd that was started anew.
        let mut b = Beats::new(B, b"s", 3);
        b.receive(&old, later);
        assert!(!b.alive(A, later));
    }

    #[test]
    fn strangers_are_not_heard() {
        let now = Instant::now();
        let (mut a, mut b) = (Beats::new(A, b"s", 1), Beats::new(B, b"other", 2));
        assert_eq!(b.receive(&a.beat_for(B), now), None);
        assert_eq!(b.receive(b"short", now), None);
        let mut changed = a.beat_for(B);
        changed[20] ^= 1;
        assert_eq!(Beats::new(B, b"s", 2).receive(&changed, now), None);
    }
}
