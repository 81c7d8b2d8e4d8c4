use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use super::deputy::{Deputy, at, nowhere};
use crate::sys::trial;

fn pair(deputy: &Deputy, kind: u64) -> [OwnedFd; 2] {
    let mut ends = [0i32; 2];
    assert_eq!(deputy.call(53, &[1, kind, 0, at(&mut ends)]), 0);
    ends.map(trial::own)
}

fn fd(end: &impl AsRawFd) -> u64 {
    end.as_raw_fd() as u64
}

/// A `struct msghdr`.
fn header(name: (u64, u32), iov: &mut [u64], control: (u64, u64)) -> [u64; 7] {
    [
        name.0,
        u64::from(name.1),
        at(iov),
        iov.len() as u64 / 2,
        control.0,
        control.1,
        0,
    ]
}

#[test]
fn messages_carry_data_and_descriptors() {
    let deputy = Deputy::new();
    let [a, b] = pair(&deputy, 1);
    let passed = std::fs::File::open("/etc/passwd").unwrap();
    let (mut one, mut two) = (b"hello ".to_vec(), b"world".to_vec());
    let mut iov = [at(&mut one), 6, at(&mut two), 5];
    let mut control = vec![0u8; 24];
    control[..8].copy_from_slice(&20u64.to_le_bytes());
    control[8..16].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0]);
    control[16..20].copy_from_slice(&passed.as_raw_fd().to_le_bytes());
    let mut message = header((0, 0), &mut iov, (at(&mut control), 24));
    assert_eq!(deputy.call(46, &[fd(&a), at(&mut message), 0]), 11);

    let (mut first, mut second) = (vec![b'.'; 4], vec![b'.'; 20]);
    let mut iov = [at(&mut first), 4, at(&mut second), 20];
    let mut control = vec![0u8; 64];
    let before = at(&mut control);
    let mut message = header((0, 0), &mut iov, (before, 64));
    let iov_at = message[2];
    assert_eq!(deputy.call(47, &[fd(&b), at(&mut message), 0]), 11);
    assert_eq!((&first[..], &second[..8]), (&b"hell"[..], &b"o world."[..]));
    // Pointers are the guest's own still; lengths and flags are the answer's.
    assert_eq!(message, [0, 0, iov_at, 2, before, 24, 0]);
    let got = trial::own(i32::from_le_bytes(control[16..20].try_into().unwrap()));
    let name = std::fs::read_link(format!("/proc/self/fd/{}", got.as_raw_fd())).unwrap();
    assert_eq!(name.to_str(), Some("/etc/passwd"));
}

#[test]
fn the_channel_cannot_be_passed() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let deputy = Deputy::hiding(file.as_raw_fd());
    let [a, _b] = pair(&deputy, 1);
    let mut data = vec![1u8];
    let mut iov = [at(&mut data), 1];
    let mut control = vec![0u8; 24];
    control[..8].copy_from_slice(&20u64.to_le_bytes());
    control[8..16].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0]);
    control[16..20].copy_from_slice(&file.as_raw_fd().to_le_bytes());
    let mut message = header((0, 0), &mut iov, (at(&mut control), 24));
    assert_eq!(deputy.call(46, &[fd(&a), at(&mut message), 0]), -9);
}

#[test]
fn datagrams_tell_who_sent_them() {
    let deputy = Deputy::new();
    let dir = super::deputy::Dir::new("dgram");
    let (here, there) = (
        UnixDatagram::bind(dir.path("a")).unwrap(),
        UnixDatagram::bind(dir.path("b")).unwrap(),
    );
    let mut address = vec![1u8, 0];
    address.extend_from_slice(dir.path("b").as_bytes());
    address.push(0);
    let len = address.len() as u64;
    let mut data = b"datagram".to_vec();
    assert_eq!(
        deputy.call(44, &[fd(&here), at(&mut data), 8, 0, at(&mut address), len]),
        8
    );
    let (mut back, mut from, mut room) = (vec![b'.'; 5], vec![0xeeu8; 128], [110u32]);
    // Cut, with MSG_TRUNC telling the whole length.
    assert_eq!(
        deputy.call(
            45,
            &[
                fd(&there),
                at(&mut back),
                5,
                0x20,
                at(&mut from),
                at(&mut room)
            ]
        ),
        8
    );
    assert_eq!(&back, b"datag");
    assert_eq!(room[0] as usize, dir.path("a").len() + 3);
    assert_eq!(&from[2..2 + dir.path("a").len()], dir.path("a").as_bytes());
    assert_eq!(from[room[0] as usize], 0xee);
    // Room for a part of the address only.
    let (mut from, mut room) = (vec![0xeeu8; 128], [6u32]);
    assert_eq!(
        deputy.call(51, &[fd(&there), at(&mut from), at(&mut room)]),
        0
    );
    assert_eq!(room[0] as usize, dir.path("b").len() + 3);
    assert_eq!(
        (from[0], from[5], from[6]),
        (1, dir.path("b").as_bytes()[3], 0xee)
    );
    assert_eq!(
        deputy.call(51, &[fd(&there), at(&mut from), nowhere()]),
        -14
    );
}

#[test]
fn several_messages_at_once() {
    let deputy = Deputy::new();
    let [a, b] = pair(&deputy, 2);
    let mut parts = [b"one".to_vec(), b"three".to_vec(), b"eleven".to_vec()];
    let mut iovs: Vec<[u64; 2]> = parts
        .iter_mut()
        .map(|part| [at(part), part.len() as u64])
        .collect();
    let mut messages: Vec<u64> = Vec::new();
    for iov in &mut iovs {
        messages.extend(header((0, 0), iov, (0, 0)));
        messages.push(0);
    }
    assert_eq!(deputy.call(307, &[fd(&a), at(&mut messages), 3, 0]), 3);
    assert_eq!([messages[7], messages[15], messages[23]], [3, 5, 6]);

    let mut buffers = vec![[b'.'; 6]; 4];
    let mut iovs: Vec<[u64; 4]> = buffers
        .iter_mut()
        .map(|buffer| [at(&mut buffer[..4]), 4, at(&mut buffer[4..]), 2])
        .collect();
    let mut messages: Vec<u64> = Vec::new();
    for iov in &mut iovs {
        messages.extend(header((0, 0), iov, (0, 0)));
        messages.push(99);
    }
    assert_eq!(
        deputy.call(299, &[fd(&b), at(&mut messages), 4, 0x40, 0]),
        3
    );
    assert_eq!(
        [messages[7], messages[15], messages[23], messages[31]],
        [3, 5, 6, 99]
    );
    assert_eq!(buffers, [*b"one...", *b"three.", *b"eleven", *b"......"]);
}

#[test]
fn socket_options() {
    let deputy = Deputy::new();
    let [a, _b] = pair(&deputy, 1);
    let mut on = [1u32];
    assert_eq!(deputy.call(54, &[fd(&a), 1, 16, at(&mut on), 4]), 0);
    for option in [3u64, 7, 8, 16, 17, 20, 59] {
        let (mut ours, mut native) = (vec![9u8; 32], vec![9u8; 32]);
        let (mut room, mut native_room) = ([20u32], [20u32]);
        let value = deputy.call(55, &[fd(&a), 1, option, at(&mut ours), at(&mut room)]);
        let expected = trial::call(
            55,
            [fd(&a), 1, option, at(&mut native), at(&mut native_room), 0],
        );
        assert_eq!(
            (value, &ours, room),
            (expected, &native, native_room),
            "option {option}"
        );
    }
    // A filter that drops everything but its first byte.
    let mut code = [0x0001_0000_0000_0006u64];
    let mut program = [1u64, at(&mut code)];
    assert_eq!(deputy.call(54, &[fd(&a), 1, 26, at(&mut program), 16]), 0);
}
