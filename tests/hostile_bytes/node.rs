//! A node that knows the secret and misbehaves: as the receiver of a process, as its sender, and as its host.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use mos::image::Meta;
use mos::image::pages::read_head;
use mos::migrate::live::Stage;
use mos::wire::auth;
use mos::wire::codec;
use mos::wire::control::{Figures, FromMosd, Place, ToMosd};
use mos::wire::ctl::FromHost;
use mos::wire::frame::{LIMIT, read_frame, to_frame, write_frame};
use mos::wire::node::{Built, Offer, Opening, Switching, Verdict};

use super::messages::spoil;
use crate::cluster::{Cluster, wait_until};
use crate::counter::{Counter, Ended};
use crate::parts;
use crate::random::{self, Random};

/// What a mover sent before it was disappointed.
struct Sent {
    offer: Offer,
    meta: Meta,
    pages: Vec<u8>,
}

/// Takes what a mover sends, up to the end of the pages.
fn receive(conn: &mut TcpStream) -> std::io::Result<Sent> {
    let opening: Opening = read_frame(conn, LIMIT)?;
    let Opening::Migrate(offer) = opening else {
        panic!("{opening:?}")
    };
    write_frame(conn, &Verdict::Accept)?;
    let Stage::Last(meta) = read_frame(conn, LIMIT)? else {
        panic!("a small process is moved at once")
    };
    let mut noted = Noted {
        conn,
        pages: Vec::new(),
    };
    while let Some(head) = read_head(&mut noted)? {
        head.read_contents(&mut noted, 0, &mut Vec::new())?;
    }
    Ok(Sent {
        offer,
        meta: *meta,
        pages: noted.pages,
    })
}

/// Keeps what is read.
struct Noted<'a> {
    conn: &'a mut TcpStream,
    pages: Vec<u8>,
}

impl Read for Noted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.conn.read(buffer)?;
        self.pages.extend(&buffer[..got]);
        Ok(got)
    }
}

/// Answers a mover with what it does not expect.
fn disappoint(random: &mut Random, conn: &mut TcpStream) {
    let token = "ab".repeat(24);
    let good = [
        to_frame(&Built::Ready {
            port: 1,
            tokens: vec![token.clone()],
        }),
        to_frame(&Built::Ready {
            port: 1,
            tokens: vec!["x".repeat(48)],
        }),
        to_frame(&Built::Failed("no reason".into())),
    ];
    let which = random.below(3) as usize;
    let bytes = spoil(random, &good[which]);
    let _ = conn.write_all(&bytes);
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn place(cluster: &Cluster, pid: u32) -> Option<Place> {
    match cluster.client(1).ask(&ToMosd::List {
        local: true,
        guests: false,
    }) {
        Ok(FromMosd::Procs(procs)) => procs
            .iter()
            .find(|info| info.pid == pid as i32)
            .map(|info| info.place),
        _ => None,
    }
}

#[test]
fn a_node_that_knows_the_secret_breaks_nothing_but_its_own() {
    let mut random = Random::new(random::seed("MOS_SEED"));
    let mut cluster = Cluster::start(3);
    let counter = Counter::start(&cluster);
    let sent = as_receiver(&mut random, &mut cluster, &counter);
    as_sender(&mut random, &cluster, &sent);
    as_host(&mut random, &cluster, &counter, &sent);
    counter.wait_to_grow();
    counter.tell_to_stop();
    assert_eq!(counter.wait(), Ended::Well);
    // A host whose image was good waits for its channel a while.
    let begin = Instant::now();
    while !parts::find(&cluster, "mos-host").is_empty() {
        let long = begin.elapsed() > Duration::from_secs(50);
        assert!(!long, "hosts are left");
        std::thread::sleep(Duration::from_millis(50));
    }
    for node in 1..=2 {
        assert!(matches!(
            cluster.client(node).ask(&ToMosd::Status),
            Ok(FromMosd::Status { .. })
        ));
        assert!(resident_kib(cluster.pid(node)) < 32 << 10);
    }
}

/// Node 3 is taken for alive for a while after its mosd was killed; meanwhile this test is node 3.
fn as_receiver(random: &mut Random, cluster: &mut Cluster, counter: &Counter) -> Sent {
    cluster.kill_node(3);
    let listener = TcpListener::bind((cluster.address(3), cluster.port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let until = Instant::now() + Duration::from_secs(4);
    let mut last = None;
    while Instant::now() < until {
        cluster.tool(1, &["mosmigrate", &counter.pid().to_string(), "3"]);
        let Ok((mut conn, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        conn.set_nonblocking(false).unwrap();
        conn.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        auth::accept(&mut conn, b"a secret").unwrap();
        match random.below(4) {
            0 => {
                let refuse = to_frame(&Verdict::Refuse("no".into()));
                let _ = conn.write_all(&spoil(random, &refuse));
            }
            _ => {
                if let Ok(sent) = receive(&mut conn) {
                    last = Some(sent);
                    disappoint(random, &mut conn);
                }
            }
        }
        drop(conn);
        counter.wait_to_grow();
    }
    last.expect("no process was sent")
}

/// Sends spoilt images to node 2.
fn as_sender(random: &mut Random, cluster: &Cluster, sent: &Sent) {
    let whole = || Box::new(sent.meta.clone());
    let stages = [Stage::Early(whole()), Stage::Last(whole())].map(|stage| codec::encode(&stage));
    for _ in 0..150 {
        let mut conn = cluster
            .client(3 - 2)
            .connect_node(cluster.address(2))
            .unwrap();
        conn.set_write_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        write_frame(&mut conn, &Opening::Migrate(sent.offer.clone())).unwrap();
        if read_frame::<Verdict>(&mut conn, LIMIT).is_err() {
            continue;
        }
        let mut bytes = stages[random.below(2) as usize].clone();
        if random.below(2) == 0 {
            bytes = spoil(random, &bytes);
        }
        let mut stream = (bytes.len() as u32).to_le_bytes().to_vec();
        stream.extend(bytes);
        let mut pages = sent.pages.clone();
        if random.below(2) == 0 {
            let head = spoil(random, &pages[..64]);
            pages.splice(..64, head);
            pages.truncate(random.below(pages.len() as u64) as usize);
        }
        stream.extend(pages);
        stream.extend(spoil(
            random,
            &to_frame(&Switching {
                fds: vec![5],
                spares: vec![6],
                figures: Figures::default(),
            }),
        ));
        let _ = conn.write_all(&stream);
    }
}

/// Says things to the warden, and sends a process home that is at home.
fn as_host(random: &mut Random, cluster: &Cluster, counter: &Counter, sent: &Sent) {
    let wardens = parts::find(cluster, "mos-warden");
    let (pid, node) = (counter.pid() as i32, cluster.address(3));
    let (tree, offer) = (sent.offer.tree, sent.offer.clone());
    let good = [
        to_frame(&FromHost::Interrupt { pid }),
        to_frame(&FromHost::Interrupt { pid: 1 }),
        to_frame(&FromHost::Running {
            pid: 1,
            node,
            nmigs: 1,
        }),
        to_frame(&FromHost::Cpu { pid, ns: 1 }),
        to_frame(&FromHost::Left { pid, cpu_ns: 1 }),
        vec![0xff; 3000],
    ];
    for round in 0..400 {
        let mut conn = cluster.client(2).connect_node(cluster.address(1)).unwrap();
        let returns = round % 20 == 0;
        let opening = if returns {
            Opening::Return {
                tree,
                pid,
                offer: offer.clone(),
            }
        } else {
            Opening::Ctl { tree, pid }
        };
        write_frame(&mut conn, &opening).unwrap();
        if returns {
            let mut meta = sent.meta.clone();
            meta.threads[0].regs[16] = 0;
            let _ = write_frame(&mut conn, &Stage::Last(Box::new(meta)));
            let _ = conn.write_all(&sent.pages);
            let _ = write_frame(
                &mut conn,
                &Switching {
                    fds: vec![5],
                    spares: vec![6],
                    figures: Figures::default(),
                },
            );
            continue;
        }
        let which = random.below(good.len() as u64) as usize;
        let _ = conn.write_all(&spoil(random, &good[which]));
    }
    counter.wait_to_grow();
    wait_until("the process is known to be at home", || {
        place(cluster, counter.pid()) == Some(Place::Home)
    });
    assert_eq!(
        parts::find(cluster, "mos-warden"),
        wardens,
        "no warden was lost"
    );
    assert!(wardens.iter().all(|pid| resident_kib(*pid) < 32 << 10));
}
