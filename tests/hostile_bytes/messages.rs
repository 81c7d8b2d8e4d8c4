//! Each type of message, decoded from 100,000 spoilt frames: no panic, and no memory that the bytes do not account for.

use std::net::Ipv4Addr;

use mos::home::mover::{FromMover, Job, OutJob};
use mos::image::{Area, FileArea, HomeId, Kind, Meta, Resume, Thread, layout, pages};
use mos::wire::auth::Handshake;
use mos::wire::channel::{ANSWER_LEN, Answer};
use mos::wire::codec;
use mos::wire::control::{Figures, FromMosd, Frozen, Outcome, Place, ProcInfo, Target, ToMosd};
use mos::wire::cpu::Cpu;
use mos::wire::ctl::{FromHost, ToHost};
use mos::wire::frame::{FrameBuffer, LIMIT, to_frame};
use mos::wire::node::{Built, Offer, Opening, Started, Switching, Verdict};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::random::{self, Random};

const FRAMES: usize = 100_000;

pub fn spoil(random: &mut Random, good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..random.below(5) {
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(4) {
            0 => bytes[at] = random.next() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5) as usize],
            _ => bytes.insert(at, random.next() as u8),
        }
    }
    if random.below(3) == 0 {
        bytes.truncate(random.below(bytes.len() as u64) as usize);
    }
    bytes
}

fn noise(random: &mut Random, most: u64) -> Vec<u8> {
    (0..random.below(most))
        .map(|_| random.next() as u8)
        .collect()
}

/// As a receiver does it: in pieces, through a buffer.
fn decodes<T: Serialize + DeserializeOwned>(random: &mut Random, examples: &[T]) {
    let good: Vec<Vec<u8>> = examples.iter().map(to_frame).collect();
    for _ in 0..FRAMES / 10 / good.len() {
        for good in &good {
            let bytes = match random.below(8) {
                0 => noise(random, 300),
                _ => spoil(random, good),
            };
            let mut buffer = FrameBuffer::new(LIMIT);
            for piece in bytes.chunks(1 + random.below(200) as usize) {
                buffer.feed(piece);
            }
            while let Ok(Some(value)) = buffer.next::<T>() {
                // What was understood can be said again.
                drop(codec::encode(&value));
            }
        }
    }
    for good in good {
        let mut buffer = FrameBuffer::new(LIMIT);
        buffer.feed(&good);
        assert!(buffer.next::<T>().unwrap().is_some());
    }
}

pub fn offer() -> Offer {
    Offer {
        home: Ipv4Addr::LOCALHOST,
        home_pid: 4711,
        tree: 12345,
        uid: 0,
        gid: 0,
        bytes: 1 << 30,
        needs: Cpu::here(),
        begins: true,
        nmigs: 3,
    }
}

pub fn meta() -> Meta {
    let area = |start: u64, len: u64, kind| Area {
        start,
        end: start + len,
        prot: 3,
        kind,
        shared: false,
        file: Some(FileArea {
            path: "/bin/true".into(),
            offset: 4096,
            dev: 1,
            inode: 2,
        }),
    };
    Meta {
        home: HomeId {
            node: Ipv4Addr::LOCALHOST,
            pid: 4711,
            tree: 12345,
            uid: 0,
            gid: 0,
        },
        stub: 0x2f00_0000_0000,
        threads: vec![Thread {
            tid: 4711,
            stub: 0x2f00_0000_0000,
            channel_fd: 1023,
            regs: vec![0; 27],
            xsave: vec![0; 2696],
            pending: vec![{
                let mut info = vec![0; 128];
                info[0] = 10;
                info
            }],
            resume: Resume::TimeLeft { nr: 35, until: 7 },
            ..Thread::default()
        }],
        areas: vec![
            area(0x40_0000, 0x1000, Kind::Normal),
            area(0x60_0000, 0x20_0000, Kind::Heap),
            area(0x7ffc_0000_0000, 0x2_1000, Kind::Stack),
        ],
        actions: vec![[0; 4]; 64],
        vdso_hash: "0".repeat(64),
        comm: "true".into(),
        ..Meta::default()
    }
}

const NODE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn procs() -> Vec<ProcInfo> {
    vec![ProcInfo {
        pid: 1,
        uid: 2,
        place: Place::Away(NODE),
        from: Some(NODE),
        origpid: Some(3),
        frozen: Frozen::No,
        nmigs: 4,
        stays: Some("because".into()),
        locked: false,
        cpu_away_ns: 5,
    }]
}

#[test]
fn between_nodes() {
    let random = &mut Random::new(random::seed("MOS_SEED"));
    decodes(
        random,
        &[
            Opening::Migrate(offer()),
            Opening::Ctl { tree: 1, pid: 2 },
            Opening::Return {
                tree: 1,
                pid: 2,
                offer: offer(),
            },
            Opening::Evacuated {
                tree: 1,
                pid: 2,
                offer: offer(),
            },
        ],
    );
    decodes(random, &[Verdict::Accept, Verdict::Refuse("no".into())]);
    decodes(
        random,
        &[
            Built::Ready {
                port: 1,
                tokens: vec!["ab".repeat(24)],
            },
            Built::Failed("no".into()),
        ],
    );
    decodes(random, &[Started::Yes, Started::No("no".into())]);
    decodes(
        random,
        &[Switching {
            fds: vec![5],
            spares: vec![6],
            figures: Figures::default(),
        }],
    );
}

#[test]
fn between_hosts_and_wardens() {
    let random = &mut Random::new(random::seed("MOS_SEED"));
    decodes(
        random,
        &[
            FromHost::Running {
                pid: 1,
                node: NODE,
                nmigs: 2,
            },
            FromHost::Moved {
                pid: 1,
                id: 2,
                outcome: Outcome::Stayed("no".into()),
            },
            FromHost::Cpu { pid: 1, ns: 2 },
            FromHost::View {
                pid: 1,
                tid: 2,
                fd: 3,
            },
        ],
    );
    decodes(
        random,
        &[
            ToHost::Move {
                pid: 1,
                id: 2,
                to: Target::Node(NODE),
            },
            ToHost::Stop { pid: 1 },
            ToHost::View {
                pid: 1,
                tid: 2,
                lent: true,
            },
        ],
    );
}

#[test]
fn with_the_daemon() {
    let random = &mut Random::new(random::seed("MOS_SEED"));
    decodes(
        random,
        &[
            ToMosd::Mine {
                id: 1,
                procs: procs(),
            },
            ToMosd::Expect {
                token: "ab".repeat(24),
            },
            ToMosd::Move {
                pid: 1,
                to: Target::Node(NODE),
                wait: true,
            },
            ToMosd::Move {
                pid: 1,
                to: Target::Freeze {
                    why: Frozen::Manual,
                    kill: Some(1),
                },
                wait: true,
            },
            ToMosd::FreezeFile {
                tried: vec!["/freeze".into()],
            },
        ],
    );
    decodes(
        random,
        &[
            FromMosd::Procs(procs()),
            FromMosd::Arrived {
                opening: Opening::Ctl { tree: 1, pid: 2 },
            },
            FromMosd::Shake {
                nodes: vec![NODE; 3],
            },
        ],
    );
}

#[test]
fn of_movers_and_images() {
    let random = &mut Random::new(random::seed("MOS_SEED"));
    decodes(
        random,
        &[FromMover::Seized, FromMover::Result(Outcome::Gone)],
    );
    let out = OutJob {
        pid: 1,
        node: NODE,
        tree: 2,
        nmigs: 3,
        cpu_away_ns: 4,
        unsupported: 5,
        filters: 6,
        start: Some(false),
        portable: Some(Cpu::here()),
        saw_more: true,
    };
    decodes(random, &[Job::Out(out), Job::Back { pid: 1, tree: 2 }]);
    decodes(random, &[meta()]);
}

#[test]
fn images_are_checked_before_anything_is_done() {
    let mut random = Random::new(random::seed("MOS_SEED"));
    let good = codec::encode(&meta());
    assert!(layout::places(&meta()).is_ok() && meta().check().is_ok());
    for _ in 0..FRAMES / 5 {
        let Ok(meta) = codec::decode::<Meta>(&spoil(&mut random, &good)) else {
            continue;
        };
        if let (Ok(()), Ok(places)) = (meta.check(), layout::places(&meta)) {
            // Whatever was accepted lies in order, in the program's part, and not on what is the host's.
            let mut end = 0;
            for place in places {
                assert!(
                    place.start >= end && place.end > place.start && place.end <= layout::TASK_END
                );
                assert!(place.end <= meta.stub || place.start >= meta.stub + 0x8_0000);
                end = place.end;
            }
        }
    }
}

#[test]
fn contents_handshakes_and_answers() {
    let mut random = Random::new(random::seed("MOS_SEED"));
    let mut stream = Vec::new();
    stream.extend(3u32.to_le_bytes());
    stream.extend(4096u32.to_le_bytes());
    for (addr, len, what) in [
        (0x40_0000u64, 4096u32, 0u32),
        (0x60_0000, 8192, 1),
        (0x80_0000, 4096, 4),
    ] {
        stream.extend(addr.to_le_bytes());
        stream.extend(len.to_le_bytes());
        stream.extend(what.to_le_bytes());
    }
    stream.extend([7; 4096]);
    stream.extend([0; 8]);
    for _ in 0..FRAMES / 5 {
        let bytes = spoil(&mut random, &stream);
        let mut given = 0;
        let _ = pages::receive(&mut &bytes[..], &mut |_, got| {
            given += match got {
                pages::Got::Contents(data) => data.len(),
                pages::Got::Kept(len) => len as usize,
            };
            // A receiver has areas of a certain size; a piece of zeros may claim 4 GiB.
            if given > 1 << 20 {
                Err(std::io::ErrorKind::InvalidData.into())
            } else {
                Ok(())
            }
        });
    }
    let (_, hello) = Handshake::initiator(b"secret", 5);
    for _ in 0..FRAMES / 5 {
        let mut responder = Handshake::responder(b"secret");
        let mut bytes = &spoil(&mut random, &hello)[..];
        bytes = &bytes[..bytes.len().min(responder.wanted())];
        let _ = responder.feed(bytes);
        assert!(!responder.done(), "nobody is let in without a proof");
    }
    for _ in 0..FRAMES / 5 {
        let mut bytes = [0; ANSWER_LEN];
        bytes.fill_with(|| random.next() as u8);
        assert_eq!(Answer::decode(&bytes).len.to_le_bytes(), bytes[4..8]);
    }
}
