//! What nodes send each other, and its form as a datagram.
//!
//! ```text
//! "MOSGOSP2"   the message (wire::codec)   first 16 bytes of HMAC-SHA256 of all before, keyed with the cluster's secret
//! ```

use std::net::Ipv4Addr;

use hmac::Mac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::wire::auth::keyed;
use crate::wire::codec;

const MAGIC: &[u8; 8] = b"MOSGOSP2";
const MAC_LEN: usize = 16;
/// Most nodes that one message tells of.
pub const WINDOW: usize = 24;
/// Longest datagram; it fits into one frame of any Ethernet.
pub const MAX_DATAGRAM: usize = 1440;
/// Longest note.
pub const MAX_NOTE: usize = 96;

/// What is told of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item<I> {
    pub node: Ipv4Addr,
    /// Which of its lives: a restarted mosd has a higher number.
    pub life: u64,
    /// Which of its reports in that life.
    pub count: u32,
    /// Age of the report, or how long it has been taken for down; in sixteenths of a second.
    pub age: u16,
    /// It does not answer.
    pub down: bool,
    pub info: I,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message<I> {
    pub from: Ipv4Addr,
    pub to: Ipv4Addr,
    /// The sender's life.
    pub life: u64,
    /// The receiver's life as the sender knows it: the receiver believes only what names its own.
    pub echo: u64,
    /// Of all messages of the sender's life, in order.
    pub sequence: u64,
    /// An answer is wanted.
    pub answer: bool,
    /// Something for the policy, which gossip does not look into.
    pub note: Option<Vec<u8>>,
    pub items: Vec<Item<I>>,
}

impl<I: Serialize + DeserializeOwned> Message<I> {
    /// The datagram.
    pub fn seal(&self, secret: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        codec::encode_into(self, &mut bytes);
        let mac = keyed(secret).chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac[..MAC_LEN]);
        bytes
    }

    /// The message that a datagram of somebody who knows the secret is.
    pub fn open(bytes: &[u8], secret: &[u8]) -> Option<Message<I>> {
        let (body, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_LEN)?)?;
        let coded = body.strip_prefix(MAGIC)?;
        if bytes.len() > MAX_DATAGRAM {
            return None;
        }
        keyed(secret)
            .chain_update(body)
            .verify_truncated_left(mac)
            .ok()?;
        codec::decode(coded).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::Load;

    fn message(items: usize, note: usize) -> Message<Load> {
        let item = Item {
            node: Ipv4Addr::new(10, 0, 0, 1),
            life: 1,
            count: 2,
            age: 3,
            down: false,
            info: Load::default(),
        };
        Message {
            from: Ipv4Addr::new(10, 0, 0, 1),
            to: Ipv4Addr::new(10, 0, 0, 2),
            life: 1,
            echo: 2,
            sequence: 3,
            answer: true,
            note: Some(vec![7; note]),
            items: vec![item; items],
        }
    }

    #[test]
    fn the_longest_message_fits() {
        let bytes = message(WINDOW, MAX_NOTE).seal(b"s");
        assert!(bytes.len() <= MAX_DATAGRAM, "{} bytes", bytes.len());
        assert!(bytes.len() > MAX_DATAGRAM - 60, "{} bytes", bytes.len());
    }

    #[test]
    fn only_those_with_the_secret_are_understood() {
        let message = message(3, 5);
        let bytes = message.seal(b"secret");
        assert_eq!(Message::open(&bytes, b"secret"), Some(message));
        assert_eq!(Message::<Load>::open(&bytes, b"other"), None);
        for at in [0, 8, 12, bytes.len() / 2, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(
                Message::<Load>::open(&changed, b"secret"),
                None,
                "byte {at}"
            );
        }
        for length in 0..bytes.len() {
            assert_eq!(Message::<Load>::open(&bytes[..length], b"secret"), None);
        }
    }

    #[test]
    fn sealed_nonsense_is_refused() {
        let seal = |body: &[u8]| {
            let mut bytes = MAGIC.to_vec();
            bytes.extend_from_slice(body);
            let mac = keyed(b"s").chain_update(&bytes).finalize().into_bytes();
            bytes.extend_from_slice(&mac[..MAC_LEN]);
            bytes
        };
        let good = message(2, 2).seal(b"s");
        let body = &good[8..good.len() - MAC_LEN];
        assert!(Message::<Load>::open(&seal(body), b"s").is_some());
        // Every byte changed, the seal being right: an error or another message, never a panic.
        for at in 0..body.len() {
            let mut changed = body.to_vec();
            changed[at] ^= 0xff;
            let _ = Message::<Load>::open(&seal(&changed), b"s");
            assert_eq!(Message::<Load>::open(&seal(&body[..at]), b"s"), None);
        }
    }
}
