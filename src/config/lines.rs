//! What all files have in common: lines, comments, fields.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use super::ConfigError;

/// Reads a file; `None` when there is none.
pub(super) fn read_optional(file: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(ConfigError::new(file, 0, "is not a text file"))
        }
        Err(error) => Err(ConfigError::new(
            file,
            0,
            format!("cannot be read: {error}"),
        )),
    }
}

/// Lines that say something: their number from 1 and their text without comment and surrounding blanks.
pub(super) fn data_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let strip = |line: &str| line.split('#').next().unwrap_or("").trim().len();
    text.lines()
        .enumerate()
        .filter(move |(_, line)| strip(line) > 0)
        .map(|(index, line)| {
            let data = line.split('#').next().unwrap_or("").trim();
            (index + 1, data)
        })
}

/// An address that a node may have, from its usual notation.
pub(super) fn node_address(text: &str) -> Result<Ipv4Addr, String> {
    let address: Ipv4Addr = text
        .parse()
        .map_err(|_| format!("\"{text}\" is no address of the form a.b.c.d"))?;
    check_address(address)?;
    Ok(address)
}

/// Refuses addresses that no node may have.
pub(super) fn check_address(address: Ipv4Addr) -> Result<(), String> {
    match address.octets() {
        [0, 0, _, _] | [255, 255, 255, _] => Err(format!(
            "{address}: addresses 0.0.x.x and 255.255.255.x cannot be nodes"
        )),
        _ => Ok(()),
    }
}

/// A number between two bounds, with a name for messages.
pub(super) fn number(text: &str, name: &str, least: u32, most: u32) -> Result<u32, String> {
    match text.parse() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => Err(format!(
            "{name} \"{text}\" is not a number from {least} to {most}"
        )),
    }
}
