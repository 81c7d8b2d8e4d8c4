//! The mappings of a process, as `/proc/PID/maps` tells of them.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use super::errno::check;
use super::procfs::{bad, text};

/// One line of `/proc/PID/maps`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    pub start: u64,
    pub end: u64,
    pub read: bool,
    pub write: bool,
    pub exec: bool,
    pub shared: bool,
    pub offset: u64,
    /// As `stat` encodes it.
    pub dev: u64,
    pub inode: u64,
    /// Path of the file, `[heap]` and the like, or empty.
    pub name: String,
}

/// The mappings of a process in the order of their addresses.
pub fn maps(pid: i32) -> io::Result<Vec<Mapping>> {
    text(pid, "maps")?
        .lines()
        .map(|line| parse_mapping(line).ok_or_else(|| bad("maps")))
        .collect()
}

/// `struct procmap_query`.
#[repr(C)]
#[derive(Default)]
struct MapQuery {
    size: u64,
    flags: u64,
    addr: u64,
    start: u64,
    end: u64,
    vma_flags: u64,
    page_size: u64,
    offset: u64,
    inode: u64,
    dev: [u32; 2],
    lengths: [u32; 2],
    name: u64,
    build_id: u64,
}

const PROCMAP_QUERY: u64 = 0xc068_6611;
const COVERING_OR_NEXT: u64 = 0x10;
const FILE_BACKED: u64 = 0x20;

/// Where the first mapping of a file begins that ends after `addr`.
pub fn file_mapping(pid: i32, addr: u64) -> io::Result<Option<u64>> {
    let maps = fs::File::open(format!("/proc/{pid}/maps"))?;
    let mut query = MapQuery {
        size: size_of::<MapQuery>() as u64,
        flags: COVERING_OR_NEXT | FILE_BACKED,
        addr,
        ..MapQuery::default()
    };
    // SAFETY: the request reads and writes one `MapQuery`, which asks for no text.
    let result = unsafe { libc::ioctl(maps.as_raw_fd(), PROCMAP_QUERY, &raw mut query) };
    match check(i64::from(result)) {
        Ok(_) => Ok(Some(query.start)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        // Kernels before 6.11 do not know the request.
        Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => {
            let mut all = self::maps(pid)?.into_iter();
            let after = |map: &Mapping| map.end > addr && map.inode != 0;
            Ok(all.find(after).map(|map| map.start))
        }
        Err(error) => Err(error),
    }
}

fn parse_mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let perms = fields.next()?.as_bytes();
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let offset = hex(fields.next()?)?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let inode = fields.next()?.parse().ok()?;
    Some(Mapping {
        start: hex(start)?,
        end: hex(end)?,
        read: perms.first() == Some(&b'r'),
        write: perms.get(1) == Some(&b'w'),
        exec: perms.get(2) == Some(&b'x'),
        shared: perms.get(3) == Some(&b's'),
        offset,
        dev: libc::makedev(
            u32::from_str_radix(major, 16).ok()?,
            u32::from_str_radix(minor, 16).ok()?,
        ),
        inode,
        name: fields.next().unwrap_or("").trim_start().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_parsed() {
        let map = parse_mapping("7f00-8000 r-xp 00001000 08:01 12345                     /a b/c d")
            .unwrap();
        assert_eq!(
            (map.start, map.end, map.offset, map.inode),
            (0x7f00, 0x8000, 0x1000, 12345)
        );
        assert_eq!(
            (map.read, map.write, map.exec, map.shared),
            (true, false, true, false)
        );
        assert_eq!(
            (map.dev, map.name.as_str()),
            (libc::makedev(8, 1), "/a b/c d")
        );
        assert_eq!(
            parse_mapping("1000-2000 ---s 00000000 00:00 0")
                .unwrap()
                .name,
            ""
        );
        assert!(parse_mapping("junk").is_none());
    }

    #[test]
    fn this_process_maps_files_and_a_vdso() {
        let pid = std::process::id() as i32;
        assert!(maps(pid).unwrap().iter().any(|map| map.name == "[vdso]"));
        assert!(file_mapping(pid, 0).unwrap().is_some());
        assert_eq!(file_mapping(pid, 1 << 62).unwrap(), None);
    }
}
