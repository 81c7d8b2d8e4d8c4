use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::*;
use crate::image::{Area, Meta, Resume, Thread};
use crate::wire::control::{FromMosd, Frozen, Outcome, Place, ProcInfo, Target, ToMosd};
use crate::wire::cpu::Cpu;
use crate::wire::node::{Offer, Opening};

fn proc_info() -> ProcInfo {
    ProcInfo {
        pid: 4711,
        uid: 1000,
        place: Place::Away(Ipv4Addr::new(10, 0, 0, 7)),
        from: None,
        origpid: Some(-1),
        frozen: Frozen::NotApplicable,
        nmigs: 3,
        stays: Some("threads".into()),
        locked: true,
        cpu_away_ns: 1 << 40,
    }
}

fn offer() -> Offer {
    Offer {
        home: Ipv4Addr::new(127, 1, 2, 3),
        home_pid: 99,
        tree: 7,
        uid: 1000,
        gid: 100,
        bytes: 4096,
        needs: Cpu::default(),
        begins: false,
        nmigs: 1,
    }
}

fn meta() -> Meta {
    Meta {
        threads: vec![Thread {
            regs: (0..27).collect(),
            xsave: vec![1; 100],
            pending: vec![vec![9; 128]],
            resume: Resume::TimeLeft { nr: 35, until: 5 },
            ..Thread::default()
        }],
        areas: vec![Area::default(); 3],
        actions: vec![[1, 2, 3, 4]; 64],
        comm: "a name".into(),
        ..Meta::default()
    }
}

fn same<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(value: T) {
    let bytes = encode(&value);
    assert_eq!(decode::<T>(&bytes).unwrap(), value);
    for cut in 0..bytes.len() {
        assert!(
            decode::<T>(&bytes[..cut]).is_err(),
            "cut at {cut} of {}",
            bytes.len()
        );
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(decode::<T>(&longer), Err(CodecError::Trailing(1)));
}

#[test]
fn values_come_back_whole_and_only_whole() {
    same(ToMosd::Warden {
        tree: u64::MAX,
        log: true,
    });
    same(ToMosd::Mine {
        id: 1,
        procs: vec![proc_info(), proc_info()],
    });
    same(ToMosd::Move {
        pid: 5,
        to: Target::Node(Ipv4Addr::LOCALHOST),
        wait: false,
    });
    same(ToMosd::Shake);
    same(FromMosd::Arrived {
        opening: Opening::Migrate(offer()),
    });
    same(FromMosd::Result(Outcome::Stayed("no room".into())));
    same(meta());
    same((1u8, -2i16, 3.5f32, -4.25f64, 'ß', "text".to_string()));
    same(BTreeMap::from([(1u16, vec![true, false]), (2, vec![])]));
}

/// These bytes are what other nodes send: change them only together with `wire::node::VERSION`.
#[test]
fn golden_bytes() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(
        hex(encode(&ToMosd::Warden {
            tree: 0x0102,
            log: true
        })),
        "00000000020100000000000001"
    );
    assert_eq!(hex(encode(&ToMosd::Mover)), "02000000");
    assert_eq!(
        hex(encode(&ToMosd::Move {
            pid: -2,
            to: Target::Node(Ipv4Addr::new(10, 1, 2, 3)),
            wait: false
        })),
        "08000000feffffff010000000a01020300"
    );
    assert_eq!(
        hex(encode(&FromMosd::Result(Outcome::Stayed("ab".into())))),
        "0800000001000000020000006162"
    );
    assert_eq!(
        hex(encode(&Opening::Ctl { tree: 3, pid: 4 })),
        "01000000030000000000000004000000"
    );
    assert_eq!(
        hex(encode(&offer())),
        format!(
            "7f010203630000000700000000000000e8030000640000000010000000000000{}0001000000",
            "00".repeat(62)
        )
    );
    assert_eq!(
        hex(encode(&Some(vec![1u16, 2]))),
        "01020000000100 0200".replace(' ', "")
    );
}

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn any_bytes_are_decoded_or_refused() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let seeds = [
        encode(&ToMosd::Mine {
            id: 1,
            procs: vec![proc_info()],
        }),
        encode(&meta()),
        encode(&Opening::Migrate(offer())),
    ];
    for round in 0..30_000 {
        let mut bytes = if round % 3 == 0 {
            (0..random.next() % 64)
                .map(|_| random.next() as u8)
                .collect()
        } else {
            seeds[random.next() as usize % seeds.len()].clone()
        };
        for _ in 0..random.next() % 4 {
            if !bytes.is_empty() {
                let at = random.next() as usize % bytes.len();
                bytes[at] = random.next() as u8;
            }
        }
        bytes.truncate(random.next() as usize % (bytes.len() * 2 + 1));
        let _ = decode::<ToMosd>(&bytes);
        let _ = decode::<FromMosd>(&bytes);
        let _ = decode::<Meta>(&bytes);
        let _ = decode::<Opening>(&bytes);
    }
}

#[test]
fn a_length_beyond_the_input_takes_no_memory() {
    let mut bytes = encode(&vec![1u64, 2]);
    bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(decode::<Vec<u64>>(&bytes), Err(CodecError::Short));
    assert_eq!(decode::<String>(&bytes), Err(CodecError::Short));
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
enum Chain {
    End,
    Link(Box<Chain>),
}

#[test]
fn depth_is_bounded() {
    let mut bytes = vec![];
    for _ in 0..10_000 {
        bytes.extend_from_slice(&1u32.to_le_bytes());
    }
    bytes.extend_from_slice(&0u32.to_le_bytes());
    assert_eq!(decode::<Chain>(&bytes), Err(CodecError::TooDeep));
    same(Chain::Link(Box::new(Chain::Link(Box::new(Chain::End)))));
}

#[test]
fn wrong_values_are_named() {
    assert_eq!(decode::<bool>(&[2]), Err(CodecError::BadFlag(2)));
    assert_eq!(
        decode::<String>(&[1, 0, 0, 0, 0xff]),
        Err(CodecError::BadText)
    );
    assert!(matches!(
        decode::<Target>(&[9, 0, 0, 0]),
        Err(CodecError::Type(_))
    ));
}
