//! Channels on their way: connections that carry a one-time token, and those who wait for them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::wire::channel::{TOKEN_LEN, Token};

/// How long an announced token is good.
const EXPECTED_FOR: Duration = Duration::from_secs(60);
/// How long a channel that came before its announcement is kept.
const HELD_FOR: Duration = Duration::from_secs(5);
/// Most channels that are kept without announcement: anyone can open one.
const MAX_HELD: usize = 128;
/// Most tokens that one client can announce.
const MAX_EXPECTED: usize = 4096;

struct Expected {
    owner: usize,
    /// The token as the owner wrote it.
    name: String,
    until: Instant,
}

/// Announced tokens and early channels; `C` is a connection.
pub struct Channels<C> {
    expected: HashMap<Token, Expected>,
    held: HashMap<Token, (C, Instant)>,
}

/// Reads a token: 48 hexadecimal digits, or its 24 bytes themselves.
pub fn parse_token(text: &str) -> Option<Token> {
    let bytes = text.as_bytes();
    if let Ok(token) = <Token>::try_from(bytes) {
        return Some(token);
    }
    if bytes.len() != 2 * TOKEN_LEN {
        return None;
    }
    let mut token = [0; TOKEN_LEN];
    for (byte, digits) in token.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(token)
}

impl<C> Channels<C> {
    pub fn new() -> Channels<C> {
        Channels {
            expected: HashMap::new(),
            held: HashMap::new(),
        }
    }

    /// `owner` waits for this token. The channel, if it is here already.
    ///
    /// # Errors
    ///
    /// In words, when it is no token or the client has announced too many.
    pub fn expect(
        &mut self,
        owner: usize,
        name: String,
        now: Instant,
    ) -> Result<Option<C>, String> {
        let token = parse_token(&name)
            .ok_or_else(|| format!("\"{name}\" is no token of {TOKEN_LEN} bytes"))?;
        if let Some((channel, _)) = self.held.remove(&token) {
            return Ok(Some(channel));
        }
        if self
            .expected
            .values()
            .filter(|entry| entry.owner == owner)
            .count()
            >= MAX_EXPECTED
        {
            return Err(format!(
                "more than {MAX_EXPECTED} channels are expected at once"
            ));
        }
        self.expected.insert(
            token,
            Expected {
                owner,
                name,
                until: now + EXPECTED_FOR,
            },
        );
        Ok(None)
    }

    /// A channel came. Whom to give it to and under which name; or it is kept for a while.
    pub fn arrive(&mut self, token: Token, channel: C, now: Instant) -> Option<(usize, String, C)> {
        if let Some(entry) = self.expected.remove(&token) {
            return Some((entry.owner, entry.name, channel));
        }
        if self.held.len() >= MAX_HELD {
            let oldest = self
                .held
                .iter()
                .min_by_key(|(_, (_, until))| *until)
                .map(|(token, _)| *token);
            oldest.and_then(|token| self.held.remove(&token));
        }
        self.held.insert(token, (channel, now + HELD_FOR));
        None
    }

    /// `owner` does not wait for this token any more.
    pub fn forget(&mut self, owner: usize, name: &str) {
        if let Some(token) = parse_token(name)
            && self
                .expected
                .get(&token)
                .is_some_and(|entry| entry.owner == owner)
        {
            self.expected.remove(&token);
        }
    }

    /// `owner` is gone.
    pub fn owner_gone(&mut self, owner: usize) {
        self.expected.retain(|_, entry| entry.owner != owner);
    }

    /// Drops what has waited too long.
    pub fn expire(&mut self, now: Instant) {
        self.expected.retain(|_, entry| entry.until > now);
        self.held.retain(|_, (_, until)| *until > now);
    }

    /// When there is something to expire.
    pub fn next_deadline(&self) -> Option<Instant> {
        let expected = self.expected.values().map(|entry| entry.until);
        expected
            .chain(self.held.values().map(|(_, until)| *until))
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(byte: u8) -> String {
        format!("{byte:02x}").repeat(TOKEN_LEN)
    }

    #[test]
    fn a_token_is_good_once() {
        let now = Instant::now();
        let mut channels = Channels::new();
        assert_eq!(channels.expect(7, name(1), now), Ok(None));
        assert_eq!(
            channels.arrive([1; TOKEN_LEN], 'c', now),
            Some((7, name(1), 'c'))
        );
        assert_eq!(channels.arrive([1; TOKEN_LEN], 'd', now), None);
    }

    #[test]
    fn an_early_channel_waits_a_little() {
        let now = Instant::now();
        let mut channels = Channels::new();
        assert_eq!(channels.arrive([1; TOKEN_LEN], 'c', now), None);
        assert_eq!(channels.arrive([2; TOKEN_LEN], 'd', now), None);
        assert_eq!(channels.expect(7, name(1), now), Ok(Some('c')));
        channels.expire(now + HELD_FOR);
        assert_eq!(channels.expect(7, name(2), now), Ok(None));
        channels.expire(now + EXPECTED_FOR);
        assert_eq!(channels.next_deadline(), None);
    }

    #[test]
    fn only_the_owner_forgets() {
        let now = Instant::now();
        let mut channels = Channels::new();
        channels.expect(7, name(1), now).unwrap();
        channels.forget(8, &name(1));
        channels.owner_gone(8);
        assert!(channels.arrive([1; TOKEN_LEN], 'c', now).is_some());
        channels.expect(7, name(2), now).unwrap();
        channels.owner_gone(7);
        assert!(channels.arrive([2; TOKEN_LEN], 'c', now).is_none());
    }

    #[test]
    fn strangers_take_bounded_room() {
        let now = Instant::now();
        let mut channels = Channels::new();
        for n in 0..1000u32 {
            let mut token = [0; TOKEN_LEN];
            token[..4].copy_from_slice(&n.to_le_bytes());
            channels.arrive(token, n, now);
        }
        assert_eq!(channels.held.len(), MAX_HELD);
        assert!(channels.expect(1, "short".into(), now).is_err());
    }

    #[test]
    fn tokens_have_two_notations() {
        assert_eq!(
            parse_token(&"ab".repeat(TOKEN_LEN)),
            Some([0xab; TOKEN_LEN])
        );
        assert_eq!(parse_token(&"x".repeat(TOKEN_LEN)), Some([b'x'; TOKEN_LEN]));
        assert_eq!(parse_token(&"xy".repeat(TOKEN_LEN)), None);
    }
}
