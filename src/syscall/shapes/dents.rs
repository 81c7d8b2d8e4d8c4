//! Directory entries, without the channel's descriptor in /proc/PID/fd.

use crate::syscall::pack::{PIECE, Pack};
use crate::syscall::{Fds, Plan, nr};

/// getdents, getdents64.
pub fn getdents(mut pack: Pack) -> Plan {
    pack.fd(0);
    let len = u64::from(pack.args[2] as u32).min(PIECE);
    pack.args[2] = len;
    pack.arg_stream(1, len);
    if pack.nr != nr::GETDENTS {
        pack.hide = Some(Box::new(pack.home.channels));
    }
    pack.finish()
}

/// Offset of the length of an entry, of its type, of its name.
const LEN: usize = 16;
const NAME: usize = 19;

/// The entries of a getdents64 without those of descriptors `fds`, if all of them are names of descriptors.
pub fn without(entries: &[u8], fds: &Fds) -> Vec<u8> {
    let hidden = |name: &[u8]| {
        let number = std::str::from_utf8(name)
            .ok()
            .and_then(|name| name.parse().ok());
        number.is_some_and(|fd| fds.contains(fd))
    };
    let parts = split(entries);
    let names = || parts.iter().map(|entry| entry_name(entry));
    let numbers =
        names().all(|name| matches!(name, b"." | b"..") || name.iter().all(u8::is_ascii_digit));
    if !numbers || !names().any(hidden) {
        return entries.to_vec();
    }
    parts
        .into_iter()
        .filter(|entry| !hidden(entry_name(entry)) || !is_of_proc(entry))
        .flatten()
        .copied()
        .collect()
}

/// Links or plain files, as /proc/PID/fd and /proc/PID/fdinfo have them: directories with numbers are processes.
fn is_of_proc(entry: &[u8]) -> bool {
    const LINK: u8 = 10;
    const FILE: u8 = 8;
    matches!(entry[18], LINK | FILE)
}

fn entry_name(entry: &[u8]) -> &[u8] {
    let name = &entry[NAME..];
    let end = name
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(name.len());
    &name[..end]
}

/// The entries one by one; what is not whole at the end stays with the last.
fn split(mut entries: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while entries.len() > NAME {
        let len = usize::from(u16::from_le_bytes([entries[LEN], entries[LEN + 1]]));
        let len = if len > NAME && len <= entries.len() {
            len
        } else {
            entries.len()
        };
        let (entry, rest) = entries.split_at(len);
        parts.push(entry);
        entries = rest;
    }
    parts
}
