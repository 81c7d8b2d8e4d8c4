//! Mutual authentication of nodes by the shared secret, before anything else is read.
//!
//! ```text
//! both      "MOSNODE1", version u32, nonce of 32 bytes            (whoever connects speaks first)
//! initiator uid u32, HMAC-SHA256(secret, "mos initiator" + hellos + uid)
//! responder status u8, HMAC-SHA256(secret, "mos responder" + hellos + uid)
//! ```
//!
//! `hellos` is the initiator's hello followed by the responder's, so that a proof is good for this connection and this role
//! only. The hello's layout never changes: nodes of different versions can always tell each other so. `uid` is the user for whom
//! the initiator's mosd opened the connection, which the responder holds against what the connection is then used for.

use std::fmt;
use std::io::{self, Read, Write};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::node::VERSION;
use crate::sys::unix;

type HmacSha256 = Hmac<Sha256>;

/// First bytes of a node connection.
pub const NODE_MAGIC: &[u8; 8] = b"MOSNODE1";
const NONCE_LEN: usize = 32;
const MAC_LEN: usize = 32;
/// Bytes of a hello.
pub const HELLO_LEN: usize = 8 + 4 + NONCE_LEN;
const PROOF_LEN: usize = 4 + MAC_LEN;
const RESULT_LEN: usize = 1 + MAC_LEN;

const STATUS_OK: u8 = 0;
const STATUS_WRONG_SECRET: u8 = 1;

/// Why a connection was not authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// The peer speaks something else.
    NotMos,
    /// The peer is of another version.
    Version { ours: u32, theirs: u32 },
    /// The peer does not know our secret (or we do not know its).
    Secret,
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthError::NotMos => write!(f, "what answers on its mos port is not mos"),
            AuthError::Version { ours, theirs } => write!(
                f,
                "it speaks version {theirs} of the node protocol, this node version {ours}: install the same version of mos on both"
            ),
            AuthError::Secret => {
                write!(
                    f,
                    "authentication violation: /etc/mosix/secret differs between this node and the other"
                )
            }
        }
    }
}

impl std::error::Error for AuthError {}

impl From<AuthError> for io::Error {
    fn from(error: AuthError) -> Self {
        io::Error::new(io::ErrorKind::PermissionDenied, error)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waiting for the peer's hello.
    Hello,
    /// Responder: waiting for the initiator's proof.
    Proof,
    /// Initiator: waiting for the responder's result.
    Result,
    Done,
}

/// One side of the exchange, as a machine: bytes in, bytes out. It asks for just the bytes that it needs ([`Handshake::wanted`]), so
/// that nothing that follows is lost.
pub struct Handshake {
    secret: Vec<u8>,
    initiator: bool,
    state: State,
    ours: [u8; HELLO_LEN],
    theirs: [u8; HELLO_LEN],
    uid: u32,
    input: Vec<u8>,
}

impl Handshake {
    /// The side that connected, on behalf of `uid`; the bytes are to be sent at once.
    pub fn initiator(secret: &[u8], uid: u32) -> (Handshake, Vec<u8>) {
        let handshake = Handshake::new(secret, true, uid, VERSION);
        let hello = handshake.ours.to_vec();
        (handshake, hello)
    }

    /// The side that was connected to.
    pub fn responder(secret: &[u8]) -> Handshake {
        Handshake::new(secret, false, 0, VERSION)
    }

    fn new(secret: &[u8], initiator: bool, uid: u32, version: u32) -> Handshake {
        let mut ours = [0; HELLO_LEN];
        ours[..8].copy_from_slice(NODE_MAGIC);
        ours[8..12].copy_from_slice(&version.to_le_bytes());
        unix::random(&mut ours[12..]);
        Handshake {
            secret: secret.to_vec(),
            initiator,
            state: State::Hello,
            ours,
            theirs: [0; HELLO_LEN],
            uid,
            input: Vec::new(),
        }
    }

    /// How many bytes it needs before it can go on; 0 when authentication is complete.
    pub fn wanted(&self) -> usize {
        let whole = match self.state {
            State::Hello => HELLO_LEN,
            State::Proof => PROOF_LEN,
            State::Result => RESULT_LEN,
            State::Done => 0,
        };
        whole - self.input.len()
    }

    /// The peer is authenticated.
    pub fn done(&self) -> bool {
        self.state == State::Done
    }

    /// The user for whom the connection was opened (of the responder: once done).
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Takes at most [`Handshake::wanted`] bytes from the peer and gives what is to be sent: also with an error, so that the peer
    /// learns the reason.
    pub fn feed(&mut self, bytes: &[u8]) -> (Vec<u8>, Result<(), AuthError>) {
        debug_assert!(bytes.len() <= self.wanted());
        self.input.extend_from_slice(bytes);
        if self.wanted() > 0 || self.done() {
            return (Vec::new(), Ok(()));
        }
        let input = std::mem::take(&mut self.input);
        match self.state {
            State::Hello => self.hello(&input),
            State::Proof => self.proof(&input),
            State::Result => (Vec::new(), self.result(&input)),
            State::Done => (Vec::new(), Ok(())),
        }
    }

    fn hello(&mut self, input: &[u8]) -> (Vec<u8>, Result<(), AuthError>) {
        self.theirs.copy_from_slice(input);
        if input[..8] != *NODE_MAGIC {
            return (Vec::new(), Err(AuthError::NotMos));
        }
        let version = |hello: &[u8; HELLO_LEN]| {
            u32::from_le_bytes([hello[8], hello[9], hello[10], hello[11]])
        };
        let (ours, theirs) = (version(&self.ours), version(&self.theirs));
        let error = if ours == theirs {
            Ok(())
        } else {
            Err(AuthError::Version { ours, theirs })
        };
        if !self.initiator {
            self.state = State::Proof;
            return (self.ours.to_vec(), error);
        }
        self.state = State::Result;
        let mut proof = self.uid.to_le_bytes().to_vec();
        proof.extend_from_slice(&self.mac(true).finalize().into_bytes());
        (if error.is_ok() { proof } else { Vec::new() }, error)
    }

    fn proof(&mut self, input: &[u8]) -> (Vec<u8>, Result<(), AuthError>) {
        self.uid = u32::from_le_bytes([input[0], input[1], input[2], input[3]]);
        if self.mac(true).verify_slice(&input[4..]).is_err() {
            let mut refusal = vec![0; RESULT_LEN];
            refusal[0] = STATUS_WRONG_SECRET;
            return (refusal, Err(AuthError::Secret));
        }
        self.state = State::Done;
        let mut result = vec![STATUS_OK];
        result.extend_from_slice(&self.mac(false).finalize().into_bytes());
        (result, Ok(()))
    }

    fn result(&mut self, input: &[u8]) -> Result<(), AuthError> {
        if input[0] != STATUS_OK || self.mac(false).verify_slice(&input[1..]).is_err() {
            return Err(AuthError::Secret);
        }
        self.state = State::Done;
        Ok(())
    }

    /// What the initiator (or the responder) must present.
    fn mac(&self, of_initiator: bool) -> HmacSha256 {
        let mut mac = keyed(&self.secret);
        mac.update(if of_initiator {
            b"mos initiator"
        } else {
            b"mos responder"
        });
        let (first, second) = if self.initiator {
            (&self.ours, &self.theirs)
        } else {
            (&self.theirs, &self.ours)
        };
        mac.update(first);
        mac.update(second);
        mac.update(&self.uid.to_le_bytes());
        mac
    }
}

/// HMAC-SHA256 with the cluster's secret.
pub fn keyed(secret: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(secret).expect("HMAC takes keys of any length")
}

/// Runs the initiator's side over a blocking stream.
///
/// # Errors
///
/// Those of the stream (end of stream: the other node refused), or [`AuthError`] inside `PermissionDenied`.
pub fn connect(stream: &mut (impl Read + Write), secret: &[u8], uid: u32) -> io::Result<()> {
    let (handshake, hello) = Handshake::initiator(secret, uid);
    stream.write_all(&hello)?;
    run(handshake, stream).map(|_| ())
}

/// Runs the responder's side over a blocking stream; the user for whom the peer connected.
///
/// # Errors
///
/// As [`connect`].
pub fn accept(stream: &mut (impl Read + Write), secret: &[u8]) -> io::Result<u32> {
    run(Handshake::responder(secret), stream)
}

fn run(mut handshake: Handshake, stream: &mut (impl Read + Write)) -> io::Result<u32> {
    let mut buffer = [0; HELLO_LEN];
    while !handshake.done() {
        let wanted = handshake.wanted();
        stream.read_exact(&mut buffer[..wanted])?;
        let (out, result) = handshake.feed(&buffer[..wanted]);
        stream.write_all(&out)?;
        result?;
    }
    Ok(handshake.uid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    /// Carries bytes between two machines until nobody speaks; the results of both.
    fn converse(
        a: &mut Handshake,
        first: Vec<u8>,
        b: &mut Handshake,
        piece: usize,
    ) -> [Result<(), AuthError>; 2] {
        let mut results = [Ok(()), Ok(())];
        let mut to_b = first;
        loop {
            let mut to_a = Vec::new();
            for bytes in to_b.chunks(piece) {
                let (out, result) = b.feed(bytes);
                to_a.extend(out);
                results[1] = results[1].clone().and(result);
            }
            to_b = Vec::new();
            for bytes in to_a.chunks(piece) {
                let (out, result) = a.feed(bytes);
                to_b.extend(out);
                results[0] = results[0].clone().and(result);
            }
            if to_b.is_empty() {
                return results;
            }
        }
    }

    #[test]
    fn those_who_know_the_secret_agree() {
        for piece in [1, 7, 1000] {
            let (mut a, hello) = Handshake::initiator(b"secret", 1000);
            let mut b = Handshake::responder(b"secret");
            assert_eq!(converse(&mut a, hello, &mut b, piece), [Ok(()), Ok(())]);
            assert!(a.done() && b.done());
            assert_eq!(b.uid(), 1000);
        }
    }

    #[test]
    fn another_secret_is_noticed_on_both_sides() {
        let (mut a, hello) = Handshake::initiator(b"secret", 0);
        let mut b = Handshake::responder(b"other");
        assert_eq!(
            converse(&mut a, hello, &mut b, 1000),
            [Err(AuthError::Secret), Err(AuthError::Secret)]
        );
        assert!(!a.done() && !b.done());
    }

    #[test]
    fn another_version_is_named_on_both_sides() {
        let mut a = Handshake::new(b"secret", true, 0, VERSION + 1);
        let hello = a.ours.to_vec();
        let mut b = Handshake::responder(b"secret");
        let results = converse(&mut a, hello, &mut b, 1000);
        assert_eq!(
            results[0],
            Err(AuthError::Version {
                ours: VERSION + 1,
                theirs: VERSION
            })
        );
        assert_eq!(
            results[1],
            Err(AuthError::Version {
                ours: VERSION,
                theirs: VERSION + 1
            })
        );
    }

    #[test]
    fn a_proof_sent_back_is_no_proof() {
        // Two initiators that are joined: each gets the other's proof where a result must be.
        let (mut a, _) = Handshake::initiator(b"secret", 0);
        let (b, _) = Handshake::initiator(b"secret", 0);
        let (proof, result) = a.feed(&b.ours);
        assert_eq!((proof.len(), result), (PROOF_LEN, Ok(())));
        let mut mirrored = vec![STATUS_OK];
        mirrored.extend_from_slice(&proof[4..]);
        assert_eq!(a.feed(&mirrored).1, Err(AuthError::Secret));
    }

    #[test]
    fn a_changed_uid_is_noticed() {
        let (mut a, hello) = Handshake::initiator(b"secret", 1000);
        let mut b = Handshake::responder(b"secret");
        let (hello, _) = b.feed(&hello);
        let (mut proof, _) = a.feed(&hello);
        proof[..4].copy_from_slice(&0u32.to_le_bytes());
        assert_eq!(b.feed(&proof).1, Err(AuthError::Secret));
    }

    #[test]
    fn blocking_sides_meet_and_leave_what_follows() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let peer = std::thread::spawn(move || {
            let uid = accept(&mut theirs, b"secret").unwrap();
            theirs.write_all(b"next").unwrap();
            uid
        });
        connect(&mut ours, b"secret", 12).unwrap();
        let mut next = [0; 4];
        ours.read_exact(&mut next).unwrap();
        assert_eq!((&next, peer.join().unwrap()), (b"next", 12));
    }

    #[test]
    fn something_else_is_not_mos() {
        let mut b = Handshake::responder(b"secret");
        assert_eq!(b.feed(&[b'G'; HELLO_LEN]).1, Err(AuthError::NotMos));
    }
}
