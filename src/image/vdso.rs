//! The kernel's code in every process: recognising it, and a copy of another kernel's that makes plain system calls.

use std::io;

use sha2::{Digest, Sha256};

use crate::image::{Area, Kind};
use crate::sys::mem;

/// No vDSO is larger.
const MAX_LEN: u64 = 1 << 20;
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// Functions that a vDSO exports and the calls that they stand for.
const FUNCTIONS: [(&str, u32); 6] = [
    ("clock_gettime", 228),
    ("gettimeofday", 96),
    ("clock_getres", 229),
    ("getcpu", 309),
    ("time", 201),
    ("getrandom", GETRANDOM),
];

/// The bytes of a process's vDSO and where they are.
pub fn read(pid: i32, areas: &[Area]) -> io::Result<(u64, Vec<u8>)> {
    let area = areas
        .iter()
        .find(|area| area.kind == Kind::Vdso && area.len() <= MAX_LEN)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it has no vDSO"))?;
    let mut code = vec![0; area.len() as usize];
    mem::read_exact(pid, area.start, &mut code)?;
    Ok((area.start, code))
}

/// SHA-256 of a process's vDSO, as hexadecimal text. Equal ones are of the same kernel.
pub fn hash(pid: i32, areas: &[Area]) -> io::Result<String> {
    Ok(hash_of(&read(pid, areas)?.1))
}

/// SHA-256 of the bytes of a vDSO.
pub fn hash_of(code: &[u8]) -> String {
    Sha256::digest(code)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The address of a `syscall` instruction in a process's vDSO.
pub fn find_syscall(pid: i32, areas: &[Area]) -> Option<u64> {
    let (start, code) = read(pid, areas).ok()?;
    let at = code
        .windows(SYSCALL.len())
        .position(|bytes| bytes == SYSCALL)?;
    Some(start + at as u64)
}

/// Makes every exported function of a vDSO a plain system call, so that it runs with any kernel.
pub fn patch(code: &mut [u8]) -> io::Result<()> {
    let symbols = symbols(code)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the vDSO is damaged"))?;
    for (name, offset) in symbols {
        let plain = name.strip_prefix("__vdso_").unwrap_or(&name);
        let Some((_, nr)) = FUNCTIONS.iter().find(|(known, _)| *known == plain) else {
            continue;
        };
        let mut entry = entry(*nr).to_vec();
        if *nr == GETRANDOM {
            // Asked about the state that it wants to be given, it says that it wants none.
            entry = [&NO_STATE[..], &entry].concat();
        }
        if let Some(place) = code.get_mut(offset..offset + entry.len()) {
            place.copy_from_slice(&entry);
        }
    }
    Ok(())
}

const GETRANDOM: u32 = 318;
/// `cmp r8, -1; jne +8; mov rax, -ENOSYS; ret`: a fifth argument of -1 is a question.
const NO_STATE: [u8; 14] = [
    0x49, 0x83, 0xf8, 0xff, 0x75, 0x08, 0x48, 0xc7, 0xc0, 0xda, 0xff, 0xff, 0xff, 0xc3,
];

/// `mov eax, nr; syscall; ret`
fn entry(nr: u32) -> [u8; 8] {
    let [a, b, c, d] = nr.to_le_bytes();
    [0xb8, a, b, c, d, SYSCALL[0], SYSCALL[1], 0xc3]
}

const PT_DYNAMIC: u32 = 2;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const SYMBOL_LEN: usize = 24;
const STT_FUNC: u8 = 2;

/// Names and offsets of the functions in an ELF image that is laid out as in memory. `None` when it is not one.
fn symbols(image: &[u8]) -> Option<Vec<(String, usize)>> {
    let half = |at: usize| Some(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_le_bytes(image.get(at..at + 8)?.try_into().ok()?));
    if image.get(..4)? != b"\x7fELF" {
        return None;
    }
    let (headers, size, count) = (long(32)? as usize, half(54)? as usize, half(56)? as usize);
    let mut dynamic = (0..count)
        .map(|index| headers + index * size)
        .find(|at| word(*at) == Some(PT_DYNAMIC))
        .and_then(|at| long(at + 8))? as usize;
    let (mut strings, mut table) = (None, None);
    loop {
        match (long(dynamic)?, long(dynamic + 8)? as usize) {
            (0, _) => break,
            (DT_STRTAB, at) => strings = Some(at),
            (DT_SYMTAB, at) => table = Some(at),
            _ => {}
        }
        dynamic += 16;
    }
    let (strings, table) = (strings?, table?);
    // The string table follows the symbol table in every vDSO.
    let entries = strings.checked_sub(table)? / SYMBOL_LEN;
    let mut found = Vec::new();
    for at in (0..entries).map(|index| table + index * SYMBOL_LEN) {
        if image.get(at + 4)? & 0xf != STT_FUNC {
            continue;
        }
        let name = image.get(strings + word(at)? as usize..)?;
        let end = name.iter().position(|byte| *byte == 0)?;
        found.push((
            String::from_utf8_lossy(&name[..end]).into_owned(),
            long(at + 8)? as usize,
        ));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::areas;

    #[test]
    fn this_kernels_functions_are_found_and_patched() {
        let pid = std::process::id() as i32;
        let areas = areas::areas(pid).unwrap();
        let (start, mut code) = read(pid, &areas).unwrap();
        assert!(find_syscall(pid, &areas).unwrap() > start);
        let symbols = symbols(&code).unwrap();
        let (_, at) = symbols
            .iter()
            .find(|(name, _)| name == "__vdso_clock_gettime")
            .unwrap();
        let before = hash_of(&code);
        patch(&mut code).unwrap();
        assert_eq!(code[*at..*at + 8], entry(228));
        assert_ne!(hash_of(&code), before);
        assert!(patch(&mut code[..100].to_vec()).is_err());
    }
}
