use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};

use super::deputy::{Deputy, Dir, at, nowhere, text};
use crate::sys::trial;
use crate::syscall::PIECE;

const EFAULT: i64 = -14;

#[test]
fn stat_family_equals_the_native_one() {
    let deputy = Deputy::new();
    for (nr, head) in [
        (4, vec![text("/etc/passwd")]),
        (6, vec![text("/proc/self/exe")]),
        // Of a file system whose figures do not change.
        (137, vec![text("/proc")]),
    ] {
        let (mut ours, mut native) = (vec![0xaau8; 300], vec![0xaau8; 300]);
        let mut args = head.clone();
        args.push(at(&mut ours));
        assert_eq!(deputy.call(nr, &args), 0);
        assert_eq!(trial::call(nr, [head[0], at(&mut native), 0, 0, 0, 0]), 0);
        assert_eq!(ours, native, "call {nr}");
    }
    let (mut ours, mut native) = (vec![0u8; 256], vec![0u8; 256]);
    let args = |buf: u64| [-100i64 as u64, text("/etc"), 0, 0xfff, buf, 0];
    assert_eq!(deputy.call(332, &args(at(&mut ours))), 0);
    assert_eq!(trial::call(332, args(at(&mut native))), 0);
    assert_eq!(ours, native);
}

#[test]
fn errors_come_as_natively() {
    let deputy = Deputy::new();
    let bad = nowhere();
    let long = text(&"x".repeat(5000));
    let (name, good) = (text("user.x"), text("/tmp"));
    let cases: [(u64, [u64; 6]); 22] = [
        (2, [0; 6]),
        (2, [bad, 0, 0, 0, 0, 0]),
        (2, [long, 0, 0, 0, 0, 0]),
        (2, [u64::MAX - 5, 0, 0, 0, 0, 0]),
        (0, [77777, bad, 10, 0, 0, 0]),
        (1, [77777, bad, 10, 0, 0, 0]),
        (1, [1, bad, 10, 0, 0, 0]),
        (1, [1, good, u64::MAX, 0, 0, 0]),
        (20, [1, bad, 1, 0, 0, 0]),
        (20, [77777, bad, 1, 0, 0, 0]),
        (19, [0, good, 5000, 0, 0, 0]),
        (5, [77777, bad, 0, 0, 0, 0]),
        (4, [good, bad, 0, 0, 0, 0]),
        (22, [bad, 0, 0, 0, 0, 0]),
        (53, [1, 1, 0, bad, 0, 0]),
        (191, [good, name, bad, 1 << 20, 0, 0]),
        (191, [good, long, bad, 10, 0, 0]),
        (7, [bad, 1, 0, 0, 0, 0]),
        (23, [10, bad, 0, 0, 0, 0]),
        (232, [77777, bad, 0, 0, 0, 0]),
        (72, [77777, 5, bad, 0, 0, 0]),
        (16, [0x7000_0000, 0x5401, bad, 0, 0, 0]),
    ];
    for (nr, args) in cases {
        assert_eq!(
            deputy.call(nr, &args),
            trial::call(nr, args),
            "call {nr} {args:x?}"
        );
    }
}

#[test]
fn reads_and_writes_of_all_kinds() {
    let deputy = Deputy::new();
    let dir = Dir::new("rw");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(dir.path("f"))
        .unwrap();
    let fd = file.as_raw_fd() as u64;
    let mut data: Vec<u8> = (0..=255).collect();
    assert_eq!(deputy.call(1, &[fd, at(&mut data), 256]), 256);
    assert_eq!(deputy.call(18, &[fd, at(&mut data[65..]), 3, 1]), 3);
    let mut back = vec![0u8; 400];
    assert_eq!(deputy.call(17, &[fd, at(&mut back), 400, 0]), 256);
    assert_eq!((&back[..6], back[256]), (&[0, 65, 66, 67, 4, 5][..], 0));
    assert_eq!(deputy.call(0, &[fd, at(&mut back), 400]), 0);
    assert_eq!(deputy.call(8, &[fd, 10, 0]), 10);
    assert_eq!(deputy.call(0, &[fd, at(&mut back), 5]), 5);
    assert_eq!(back[..6], [10, 11, 12, 13, 14, 5]);
    assert_eq!(deputy.call(0, &[fd, at(&mut back), 0]), 0);
    assert_eq!(deputy.call(0, &[fd, nowhere(), 4]), EFAULT);
}

#[test]
fn vectors_keep_their_segments() {
    let deputy = Deputy::new();
    let dir = Dir::new("vec");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(dir.path("f"))
        .unwrap();
    let fd = file.as_raw_fd() as u64;
    let (mut a, mut b, mut c) = (b"abc".to_vec(), b"defgh".to_vec(), b"ij".to_vec());
    let mut iov = [at(&mut a), 3, 0, 0, at(&mut b), 5, at(&mut c), 2];
    assert_eq!(deputy.call(20, &[fd, at(&mut iov), 4]), 10);
    assert_eq!(deputy.call(296, &[fd, at(&mut iov), 4, 20]), 10);
    assert_eq!(
        fs::read(dir.path("f")).unwrap()[..22],
        *b"abcdefghij\0\0\0\0\0\0\0\0\0\0ab"
    );
    let (mut x, mut y) = (vec![b'.'; 4], vec![b'.'; 9]);
    let mut iov = [at(&mut x), 4, at(&mut y), 9];
    assert_eq!(deputy.call(295, &[fd, at(&mut iov), 2, 22]), 8);
    assert_eq!((&x[..], &y[..]), (&b"cdef"[..], &b"ghij....."[..]));
    // So short that later segments get nothing; the end of the file.
    let (mut x, mut y, mut z) = (vec![b'.'; 4], vec![b'.'; 40], vec![b'.'; 9]);
    let mut short = [at(&mut x), 4, at(&mut y), 40, at(&mut z), 9];
    assert_eq!(deputy.call(295, &[fd, at(&mut short), 3, 28]), 2);
    assert_eq!((&x[..], y[0], z[0]), (&b"ij.."[..], b'.', b'.'));
    assert_eq!(deputy.call(295, &[fd, at(&mut short), 3, 30]), 0);
    let (mut x, mut y) = (vec![b'.'; 4], vec![b'.'; 9]);
    let mut iov = [at(&mut x), 4, at(&mut y), 9];
    assert_eq!(deputy.call(327, &[fd, at(&mut iov), 2, 0, 0, 0]), 13);
    // A segment that cannot be read ends the transfer; a first one fails it.
    let mut iov = [at(&mut a), 3, nowhere(), 5];
    assert_eq!(deputy.call(296, &[fd, at(&mut iov), 2, 0]), 3);
    let mut iov = [nowhere(), 5, at(&mut a), 3];
    assert_eq!(deputy.call(296, &[fd, at(&mut iov), 2, 0]), EFAULT);
    let mut iov = [at(&mut a), u64::MAX, at(&mut a), 3];
    assert_eq!(deputy.call(20, &[fd, at(&mut iov), 2]), -22);
}

#[test]
fn long_transfers_are_whole() {
    let deputy = Deputy::new();
    let dir = Dir::new("long");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(dir.path("f"))
        .unwrap();
    let fd = file.as_raw_fd() as u64;
    let len = 2 * PIECE as usize + 12345;
    let mut data: Vec<u8> = (0..len).map(|index| (index / 7) as u8).collect();
    assert_eq!(deputy.call(1, &[fd, at(&mut data), len as u64]), len as i64);
    assert_eq!(deputy.requests.get(), 3);
    let mut back = vec![0u8; len + 10];
    assert_eq!(
        deputy.call(17, &[fd, at(&mut back), len as u64 + 10, 0]),
        len as i64
    );
    assert!(back[..len] == data[..]);
    let half = len / 2;
    let mut iov = [
        at(&mut data[half..]),
        (len - half) as u64,
        at(&mut data),
        half as u64,
    ];
    assert_eq!(deputy.call(296, &[fd, at(&mut iov), 2, 0]), len as i64);
    let mut iov = [at(&mut back), 5, at(&mut back[5..]), len as u64];
    assert_eq!(deputy.call(295, &[fd, at(&mut iov), 2, 0]), len as i64);
    assert!(back[..len - half] == data[half..] && back[len - half..len] == data[..half]);
}

#[test]
fn paths_links_directories_attributes() {
    let deputy = Deputy::new();
    let dir = Dir::new("paths");
    let path = |name: &str| text(&dir.path(name));
    assert_eq!(deputy.call(83, &[path("d"), 0o755]), 0);
    assert_eq!(deputy.call(88, &[text("target"), path("l")]), 0);
    let mut buf = vec![b'#'; 64];
    assert_eq!(deputy.call(89, &[path("l"), at(&mut buf), 64]), 6);
    assert_eq!(&buf[..8], b"target##");
    assert_eq!(deputy.call(89, &[path("l"), at(&mut buf), 3]), 3);
    assert_eq!(deputy.call(82, &[path("d"), path("e")]), 0);
    for index in 0..100 {
        File::create(dir.path(&format!("e/{index}"))).unwrap();
    }
    let open = File::open(dir.path("e")).unwrap();
    let mut names = 0;
    loop {
        let mut entries = vec![0u8; 700];
        let got = deputy.call(217, &[open.as_raw_fd() as u64, at(&mut entries), 700]) as usize;
        let mut position = 0;
        while position < got {
            position += usize::from(u16::from_le_bytes([
                entries[position + 16],
                entries[position + 17],
            ]));
            names += 1;
        }
        if got == 0 {
            break;
        }
    }
    assert_eq!(names, 102);
    let (file, name) = (path("e/1"), text("user.colour"));
    let mut value = b"blue".to_vec();
    let set = deputy.call(188, &[file, name, at(&mut value), 4, 0]);
    if set == 0 {
        let mut back = vec![0u8; 20];
        assert_eq!(deputy.call(191, &[file, name, at(&mut back), 20]), 4);
        assert_eq!(&back[..5], b"blue\0");
        assert_eq!(deputy.call(191, &[file, name, 0, 0]), 4);
        assert_eq!(deputy.call(191, &[file, name, at(&mut back), 2]), -34);
        assert_eq!(deputy.call(194, &[file, at(&mut back), 20]), 12);
        let mut args = [at(&mut back), 20];
        assert_eq!(
            deputy.call(464, &[-100i64 as u64, file, 0, name, at(&mut args), 16]),
            4
        );
        assert_eq!(deputy.call(197, &[file, name]), 0);
    }
}

#[test]
fn the_channel_is_left_out_of_proc() {
    let file = File::open("/dev/null").unwrap();
    let deputy = Deputy::hiding(file.as_raw_fd());
    let list = |deputy: &Deputy| {
        let dir = File::open("/proc/self/fd").unwrap();
        let mut buf = vec![0u8; 1 << 16];
        deputy.call(217, &[dir.as_raw_fd() as u64, at(&mut buf), 1 << 16])
    };
    assert!(list(&deputy) < list(&Deputy::new()));
    assert_eq!(deputy.call(72, &[file.as_raw_fd() as u64, 1, 0]), -9);
    assert_eq!(deputy.call(5, &[file.as_raw_fd() as u64, 0]), -9);
}

#[test]
fn transfers_between_descriptors_advance_their_offsets() {
    let deputy = Deputy::new();
    let dir = Dir::new("xfer");
    fs::write(dir.path("from"), b"0123456789").unwrap();
    let from = File::open(dir.path("from")).unwrap();
    let to = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(dir.path("to"))
        .unwrap();
    let (from, to) = (from.as_raw_fd() as u64, to.as_raw_fd() as u64);
    let mut offset = [3u64];
    assert_eq!(deputy.call(40, &[to, from, at(&mut offset), 4]), 4);
    assert_eq!(offset[0], 7);
    let (mut source, mut target) = ([1u64], [10u64]);
    assert_eq!(
        deputy.call(326, &[from, at(&mut source), to, at(&mut target), 5, 0]),
        5
    );
    assert_eq!((source[0], target[0]), (6, 15));
    assert_eq!(
        fs::read(dir.path("to")).unwrap(),
        b"3456\0\0\0\0\0\x0012345"
    );
    let mut ends = [0i32; 2];
    assert_eq!(deputy.call(293, &[at(&mut ends), 0]), 0);
    let mut source = [2u64];
    assert_eq!(
        deputy.call(275, &[from, at(&mut source), ends[1] as u64, 0, 3, 0]),
        3
    );
    assert_eq!(source[0], 5);
    let mut data = b"xyz".to_vec();
    let mut iov = [at(&mut data), 3];
    assert_eq!(deputy.call(278, &[ends[1] as u64, at(&mut iov), 1, 0]), 3);
    let mut back = vec![b'.'; 8];
    let mut iov = [at(&mut back), 8];
    assert_eq!(deputy.call(278, &[ends[0] as u64, at(&mut iov), 1, 0]), 6);
    assert_eq!(back, b"234xyz..");
    drop(ends.map(own));
}

/// Takes a descriptor over, to close it.
fn own(fd: i32) -> OwnedFd {
    crate::sys::trial::own(fd)
}

#[test]
fn handles_and_mounts() {
    let deputy = Deputy::new();
    let (cwd, path) = (-100i64 as u64, text("/tmp"));
    for room in [0u32, 8, 128] {
        let (mut ours, mut native) = (vec![0u8; 136], vec![0u8; 136]);
        let (mut mount, mut native_mount) = ([0u64], [0u64]);
        ours[..4].copy_from_slice(&room.to_le_bytes());
        native[..4].copy_from_slice(&room.to_le_bytes());
        let value = deputy.call(303, &[cwd, path, at(&mut ours), at(&mut mount), 0]);
        let expected = trial::call(
            303,
            [cwd, path, at(&mut native), at(&mut native_mount), 0, 0],
        );
        assert_eq!(
            (value, ours, mount),
            (expected, native, native_mount),
            "room {room}"
        );
    }
    let mut request = [24u64, u64::MAX, 0];
    let (mut ours, mut native) = (vec![0u64; 64], vec![0u64; 64]);
    let value = deputy.call(458, &[at(&mut request), at(&mut ours), 64, 0]);
    assert_eq!(
        value,
        trial::call(458, [at(&mut request), at(&mut native), 64, 0, 0, 0])
    );
    assert_eq!(ours, native);
}
