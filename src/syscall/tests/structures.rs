use std::fs::File;
use std::os::fd::AsRawFd;

use super::deputy::{Deputy, Dir, at, text};
use crate::sys::trial;

/// Calls that fill structures with what does not change between two calls: equal to the byte, also around.
#[test]
fn what_is_filled_is_filled_as_natively() {
    let deputy = Deputy::new();
    let buffer = u64::MAX - 1;
    let cases: [(u64, &[u64]); 22] = [
        (63, &[buffer]),
        (97, &[7, buffer]),
        (302, &[0, 7, 0, buffer]),
        (115, &[0, buffer]),
        (115, &[64, buffer]),
        (118, &[buffer, buffer, buffer]),
        (79, &[buffer, 200]),
        (79, &[buffer, 2]),
        (143, &[0, buffer]),
        (148, &[0, buffer]),
        (204, &[0, 128, buffer]),
        (204, &[0, 3, buffer]),
        (315, &[0, buffer, 48, 0]),
        (315, &[0, buffer, 200, 0]),
        (36, &[0, buffer]),
        (157, &[16, buffer]),
        (157, &[2, buffer]),
        (157, &[37, buffer]),
        (139, &[2, 0, buffer]),
        (459, &[100, buffer, 0, 0]),
        (229, &[0x7fff, buffer]),
        (317, &[3, 0, buffer]),
    ];
    for (nr, args) in cases {
        let run = |call: &dyn Fn(&[u64; 6]) -> i64| {
            let mut memory = vec![0xb7u8; 1024];
            let mut six = [0; 6];
            for (index, &arg) in args.iter().enumerate() {
                six[index] = if arg == buffer {
                    at(&mut memory[index * 256..])
                } else {
                    arg
                };
            }
            (call(&six), memory)
        };
        let ours = run(&|six| deputy.call(nr, six));
        let native = run(&|six| trial::call(nr, *six));
        assert!(
            ours == native,
            "call {nr} {args:?}: {} {}",
            ours.0,
            native.0
        );
    }
}

#[test]
fn capabilities() {
    let deputy = Deputy::new();
    for version in [0x1998_0330u32, 0x2008_0522, 5] {
        let (mut head, mut data) = ([version, 0], [0xeeu32; 8]);
        let (mut native_head, mut native_data) = ([version, 0], [0xeeu32; 8]);
        let value = deputy.call(125, &[at(&mut head), at(&mut data)]);
        let expected = trial::call(
            125,
            [at(&mut native_head), at(&mut native_data), 0, 0, 0, 0],
        );
        assert_eq!((value, head, data), (expected, native_head, native_data));
    }
}

#[test]
fn requests_to_devices() {
    let deputy = Deputy::new();
    let master = File::options()
        .read(true)
        .write(true)
        .open("/dev/ptmx")
        .unwrap();
    let fd = master.as_raw_fd() as u64;
    let mut zero = [0u32];
    assert_eq!(deputy.call(16, &[fd, 0x4004_5431, at(&mut zero)]), 0);
    for request in [
        0x5401u64,
        0x5413,
        0x802c_542a,
        0x541b,
        0x5411,
        0x8004_5430,
        0x5424,
        0x5405,
    ] {
        let (mut ours, mut native) = (vec![0x3cu8; 64], vec![0x3cu8; 64]);
        let value = deputy.call(16, &[fd, request, at(&mut ours)]);
        let expected = trial::call(16, [fd, request, at(&mut native), 0, 0, 0]);
        assert_eq!((value, ours), (expected, native), "{request:#x}");
    }
    let mut size = [24u16, 80, 0, 0];
    assert_eq!(deputy.call(16, &[fd, 0x5414, at(&mut size)]), 0);
    let mut back = [1u16; 4];
    assert_eq!(deputy.call(16, &[fd, 0x5413, at(&mut back)]), 0);
    assert_eq!(back, size);
    let slave = trial::own(deputy.call(16, &[fd, 0x5441, 0o402]) as i32);
    assert_eq!(deputy.call(16, &[slave.as_raw_fd() as u64, 0x540b, 2]), 0);
    assert_eq!(deputy.call(16, &[fd, 0x5451, 0]), 0);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = socket.as_raw_fd() as u64;
    for request in [0x8913u64, 0x8915, 0x8921, 0x8933] {
        let prepare = || {
            let mut ifreq = vec![0u8; 40];
            ifreq[..2].copy_from_slice(b"lo");
            ifreq
        };
        let (mut ours, mut native) = (prepare(), prepare());
        let value = deputy.call(16, &[socket, request, at(&mut ours)]);
        assert_eq!(
            value,
            trial::call(16, [socket, request, at(&mut native), 0, 0, 0])
        );
        assert_eq!(ours, native, "{request:#x}");
    }
    let (mut room, mut native_room) = (vec![7u8; 400], vec![7u8; 400]);
    let (mut conf, mut native_conf) = ([400, at(&mut room)], [400, at(&mut native_room)]);
    assert_eq!(deputy.call(16, &[socket, 0x8912, at(&mut conf)]), 0);
    assert_eq!(
        trial::call(16, [socket, 0x8912, at(&mut native_conf), 0, 0, 0]),
        0
    );
    assert_eq!((conf[0], room), (native_conf[0], native_room));
}

#[test]
fn locks_of_files() {
    let deputy = Deputy::new();
    let dir = Dir::new("locks");
    let open = || {
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(dir.path("f"))
            .unwrap()
    };
    let (one, two) = (open(), open());
    let lock = |kind: u64| [kind, 10, 5, 0];
    // Locks of open files, which conflict within a process.
    let mut mine = lock(1);
    assert_eq!(
        deputy.call(72, &[one.as_raw_fd() as u64, 37, at(&mut mine)]),
        0
    );
    let mut other = lock(0);
    assert_eq!(
        deputy.call(72, &[two.as_raw_fd() as u64, 37, at(&mut other)]),
        -11
    );
    assert_eq!(
        deputy.call(72, &[two.as_raw_fd() as u64, 36, at(&mut other)]),
        0
    );
    assert_eq!((other[0] & 0xffff, other[1], other[2]), (1, 10, 5));
    let mut owner = [0u64];
    assert_eq!(
        deputy.call(72, &[one.as_raw_fd() as u64, 16, at(&mut owner)]),
        0
    );
    assert_eq!(deputy.call(72, &[one.as_raw_fd() as u64, 1, 0]), 1);
    assert_eq!(deputy.call(73, &[one.as_raw_fd() as u64, 2]), 0);
    assert_eq!(deputy.call(73, &[two.as_raw_fd() as u64, 2 | 4]), -11);
}

#[test]
fn system_v_ipc() {
    let deputy = Deputy::new();
    let set = deputy.call(64, &[0, 5, 0o600]) as u64;
    let mut values = [1u16, 2, 3, 4, 5];
    assert_eq!(deputy.call(66, &[set, 0, 17, at(&mut values)]), 0);
    let mut back = [9u16; 6];
    assert_eq!(deputy.call(66, &[set, 0, 13, at(&mut back)]), 0);
    assert_eq!(back, [1, 2, 3, 4, 5, 9]);
    assert_eq!(deputy.call(66, &[set, 2, 12, 0]), 3);
    assert_eq!(deputy.call(66, &[set, 2, 16, 8]), 0);
    let mut operations = [0u16, 0xffff, 0, 1, 3, 0];
    assert_eq!(deputy.call(65, &[set, at(&mut operations), 2]), 0);
    assert_eq!(deputy.call(66, &[set, 1, 12, 0]), 5);
    let mut wait = [0u16, 0, 0];
    let mut time = [0u64, 1000];
    operations = [1, (-9i16) as u16, 0, 0, 0, 0];
    assert_eq!(
        deputy.call(220, &[set, at(&mut operations), 1, at(&mut time)]),
        -11
    );
    assert_eq!(deputy.call(65, &[set, at(&mut wait), 1]), 0);
    assert_eq!(deputy.call(66, &[set, 0, 0, 0]), 0);

    let queue = deputy.call(68, &[0, 0o600]) as u64;
    let mut message = vec![0u8; 20];
    message[0] = 3;
    message[8..13].copy_from_slice(b"hello");
    assert_eq!(deputy.call(69, &[queue, at(&mut message), 5, 0]), 0);
    let mut back = vec![b'.'; 20];
    assert_eq!(deputy.call(70, &[queue, at(&mut back), 12, 0, 0]), 5);
    assert_eq!(
        (&back[..8], &back[8..14]),
        (&3u64.to_le_bytes()[..], &b"hello."[..])
    );
    assert_eq!(deputy.call(70, &[queue, at(&mut back), 12, 0, 0o4000]), -42);
    let mut status = vec![0u8; 120];
    assert_eq!(deputy.call(71, &[queue, 2, at(&mut status)]), 0);
    assert_eq!(deputy.call(71, &[queue, 0, 0]), 0);

    let segment = deputy.call(29, &[0, 4096, 0o600]) as u64;
    let mut status = vec![0u8; 112];
    assert_eq!(deputy.call(31, &[segment, 2, at(&mut status)]), 0);
    assert_eq!(status[48..56], 4096u64.to_le_bytes());
    assert_eq!(deputy.call(31, &[segment, 0, 0]), 0);
}

#[test]
fn message_queues() {
    let deputy = Deputy::new();
    let name = text(&format!("mos-calls-{}", std::process::id()));
    let mut attributes = [0u64, 4, 32, 0, 0, 0, 0, 0];
    let queue = deputy.call(240, &[name, 0o102, 0o600, at(&mut attributes)]);
    if queue < 0 {
        // Kernels may lack them.
        assert_eq!(queue, -38);
        return;
    }
    let queue = trial::own(queue as i32);
    let fd = queue.as_raw_fd() as u64;
    let mut data = b"message".to_vec();
    assert_eq!(deputy.call(242, &[fd, at(&mut data), 7, 5, 0]), 0);
    let (mut back, mut priority) = (vec![b'.'; 40], [0u32; 2]);
    assert_eq!(
        deputy.call(243, &[fd, at(&mut back), 40, at(&mut priority), 0]),
        7
    );
    assert_eq!((&back[..8], priority), (&b"message."[..], [5, 0]));
    let mut old = [0u64; 8];
    assert_eq!(deputy.call(245, &[fd, 0, at(&mut old)]), 0);
    assert_eq!(old[1..3], [4, 32]);
    assert_eq!(deputy.call(241, &[name]), 0);
}
