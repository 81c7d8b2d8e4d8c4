//! What `/proc` tells of this machine's load and memory.

use std::fs;
use std::io;

/// Memory and swap space in megabytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub total: u32,
    /// What programs can have without swapping.
    pub available: u32,
    pub swap_total: u32,
    pub swap_free: u32,
}

/// The memory of this machine.
///
/// # Errors
///
/// Where `/proc` is not mounted.
pub fn memory() -> io::Result<Memory> {
    Ok(parse_memory(&fs::read_to_string("/proc/meminfo")?))
}

fn parse_memory(text: &str) -> Memory {
    let mut memory = Memory::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let kilobytes = value.split_whitespace().next().unwrap_or("");
        let megabytes =
            (kilobytes.parse::<u64>().unwrap_or(0) / 1024).min(u64::from(u32::MAX)) as u32;
        match key {
            "MemTotal" => memory.total = megabytes,
            "MemAvailable" => memory.available = megabytes,
            "SwapTotal" => memory.swap_total = megabytes,
            "SwapFree" => memory.swap_free = megabytes,
            _ => {}
        }
    }
    memory
}

/// Threads of this machine that run or want to run at this moment, the caller included.
///
/// # Errors
///
/// Where `/proc` is not mounted.
pub fn running() -> io::Result<u32> {
    parse_running(&fs::read_to_string("/proc/stat")?).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "/proc/stat has no procs_running",
        )
    })
}

fn parse_running(text: &str) -> Option<u32> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("procs_running "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_seen() {
        let memory = memory().unwrap();
        assert!(memory.total > 0 && memory.available <= memory.total);
        assert!(memory.swap_free <= memory.swap_total);
        assert!(running().unwrap() >= 1);
    }

    #[test]
    fn files_are_parsed() {
        let text = "MemTotal:       24684084 kB\nMemFree: 1 kB\nMemAvailable:   23440992 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n";
        let memory = Memory {
            total: 24105,
            available: 22891,
            swap_total: 2,
            swap_free: 1,
        };
        assert_eq!(parse_memory(text), memory);
        assert_eq!(
            parse_running("cpu 1\nprocs_running 9\nprocs_blocked 0\n"),
            Some(9)
        );
        assert_eq!(parse_running("cpu 1\n"), None);
    }
}
