//! The compact binary form of every message: serde without names.
//!
//! Integers are little endian and of fixed width, `bool` and the tag of an `Option` are one byte, a variant is its index as `u32`,
//! strings, byte strings, sequences and maps begin with their length as `u32`. Nothing describes itself, so both sides must
//! agree on the type; what may change is agreed by version (see `wire::auth`).
//!
//! Decoding checks every length against what is left of the input before it takes memory, bounds the depth of nesting, and
//! refuses bytes that remain at the end: no input makes it panic or take memory out of proportion to the input.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

mod de;
mod ser;

/// How deep values may be nested.
const MAX_DEPTH: u32 = 64;

/// Why bytes are not a value of the wanted type (or, never for the messages of `wire`, why a value has no encoding).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// The input ends inside a value, or a length says more than there is.
    Short,
    /// Bytes are left after the value; how many.
    Trailing(usize),
    /// A byte that is neither 0 nor 1 where a `bool` or an `Option` begins.
    BadFlag(u8),
    /// A string that is not UTF-8, or a number that is no character.
    BadText,
    /// Values are nested too deep.
    TooDeep,
    /// The type asks for something that this format cannot give (it does not describe itself).
    Unsupported(&'static str),
    /// The type's own word, such as an unknown variant.
    Type(String),
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Short => write!(f, "message is cut short"),
            CodecError::Trailing(n) => write!(f, "{n} bytes too many in message"),
            CodecError::BadFlag(b) => write!(f, "byte {b} where 0 or 1 must be"),
            CodecError::BadText => write!(f, "text in message is not UTF-8"),
            CodecError::TooDeep => write!(f, "message is nested too deep"),
            CodecError::Unsupported(what) => write!(f, "{what} has no encoding"),
            CodecError::Type(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for CodecError {}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// The bytes of `value`.
///
/// # Panics
///
/// For types that this format cannot encode (128-bit integers, lengths over 4 GiB): a mistake in a message type, which the
/// first test of that message shows.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(value, &mut out);
    out
}

/// As [`encode`], behind what `out` has already.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    if let Err(error) = value.serialize(&mut ser::Encoder { out }) {
        panic!("message type without encoding: {error}");
    }
}

/// The value whose bytes are exactly `bytes`.
///
/// # Errors
///
/// When the bytes are not the encoding of a `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let mut decoder = de::Decoder::new(bytes);
    let value = T::deserialize(&mut decoder)?;
    match decoder.remaining() {
        0 => Ok(value),
        n => Err(CodecError::Trailing(n)),
    }
}

#[cfg(test)]
mod tests;
