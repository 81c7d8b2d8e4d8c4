//! A process arrives: verdict, build, take over the deputy, run. The entry of `mos-host`.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::guest::ctl::Ctl;
use crate::guest::filter;
use crate::guest::host::{Ending, Host, Thread, Weight};
use crate::guest::maps::FileMaps;
use crate::image::clocks::Moment;
use crate::image::restore::{Built, GuestBuilder};
use crate::image::{HomeId, Meta, layout};
use crate::migrate::live::{Outgoing, Stage};
use crate::migrate::rounds::MOST_STAGES;
use crate::migrate::source::FRAME_LIMIT;
use crate::migrate::tracee;
use crate::migrate::{fault, limit_silence, target};
use crate::sys::poll::{Source, Watch};
use crate::sys::tracked::CpuClock;
use crate::sys::unix::{SIGCHLD, SignalFd};
use crate::sys::{namespace, process};
use crate::syscall::Fds;
use crate::wire::client::{Client, Welcome};
use crate::wire::control::ToMosd;
use crate::wire::ctl::FromHost;
use crate::wire::frame::{read_frame, write_frame};
use crate::wire::node::{Built as BuiltWord, Offer, Started, Verdict};

/// The group that has no rights.
const NOBODY: u32 = 65534;

/// Serves one arriving process to its end. `conn` is the connection on which `offer` came.
pub fn run(mut conn: TcpStream, offer: Offer, mut client: Client) -> io::Result<Ending> {
    limit_silence(&conn)?;
    let children = SignalFd::new(&[SIGCHLD])?;
    let welcome = client.register(&ToMosd::Host { home: offer.home })?;
    fault::point("target.verdict")?;
    if let Some(why) = unfit(&offer, &welcome) {
        write_frame(&mut conn, &Verdict::Refuse(why.clone()))?;
        return Err(io::Error::other(why));
    }
    write_frame(&mut conn, &Verdict::Accept)?;
    let built = build(&mut conn, &offer);
    let (meta, built) = match built {
        Ok(both) => both,
        Err(error) => {
            write_frame(
                &mut conn,
                &BuiltWord::Failed(format!("the process could not be built there: {error}")),
            )?;
            return Err(error);
        }
    };
    let mut host = assemble(
        &mut conn,
        client,
        (welcome.address, welcome.port),
        meta,
        built,
        children,
    )?;
    if let Err(error) = start(&mut host) {
        // The process may have ended on its way.
        host.tell_left();
        write_frame(&mut conn, &Started::No(error.to_string()))?;
        return Err(error);
    }
    // The sender needs no word once the deputy is ours; it may be gone.
    let _ = write_frame(&mut conn, &Started::Yes);
    drop(conn);
    finish(host)
}

/// A host of root's mosd is the user's who sent the process: whatever that user makes it do, mosd and other nodes know whom they
/// deal with. The group is nobody's, since groups are not vouched for.
///
/// # Errors
///
/// When the kernel does not allow it.
pub fn become_user(uid: u32) -> io::Result<()> {
    if namespace::is_root() && uid != 0 {
        process::set_user(uid, NOBODY)?;
    }
    Ok(())
}

/// Why the process cannot run here, or would not be able to go home.
fn unfit(offer: &Offer, here: &Welcome) -> Option<String> {
    if let Some(lacking) = here.cpu.lacks(&offer.needs) {
        return Some(format!(
            "node {} {lacking}, on which it may depend",
            here.address
        ));
    }
    let more = here.cpu.shows_more(&offer.needs).filter(|_| offer.begins)?;
    Some(format!(
        "it would come to depend on {more} of node {}, which its home lacks",
        here.address
    ))
}

/// Receives the process, stage by stage.
fn build(conn: &mut TcpStream, offer: &Offer) -> io::Result<(Meta, Built)> {
    let mut begun = None;
    for _ in 0..MOST_STAGES {
        match read_frame(conn, FRAME_LIMIT)? {
            Stage::Early(meta) => {
                fault::point("target.round")?;
                meta.check_sketch()?;
                let builder = continued(begun, conn, offer, &meta, false)?;
                begun = Some((builder, meta));
            }
            Stage::Last(meta) => {
                fault::point("target.meta")?;
                meta.check()?;
                let builder = continued(begun, conn, offer, &meta, true)?;
                return Ok((*meta, builder.finish(&filter::program())?));
            }
        }
    }
    Err(invalid("the image comes in too many parts"))
}

/// The guest as one more stage makes it.
fn continued(
    begun: Option<(GuestBuilder, Box<Meta>)>,
    conn: &mut TcpStream,
    offer: &Offer,
    meta: &Meta,
    last: bool,
) -> io::Result<GuestBuilder> {
    let offered = HomeId {
        node: offer.home,
        pid: offer.home_pid,
        tree: offer.tree,
        uid: offer.uid,
        gid: offer.gid,
    };
    if meta.home != offered {
        // What was admitted is the offer.
        return Err(invalid(
            "the image is of another process than the one offered",
        ));
    }
    let mut builder = match begun {
        Some((mut builder, before)) if layout::continues(&before, meta) => {
            builder.adopt(meta, last)?;
            builder
        }
        other => {
            drop(other);
            fault::point("target.build")?;
            match last {
                true => GuestBuilder::create(meta, Some(conn.as_fd()))?,
                false => GuestBuilder::sketch(meta, Some(conn.as_fd()))?,
            }
        }
    };
    fault::point("target.pages")?;
    builder.receive(conn)?;
    Ok(builder)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn assemble(
    conn: &mut TcpStream,
    mut client: Client,
    (me, port): (Ipv4Addr, u16),
    mut meta: Meta,
    built: Built,
    children: SignalFd,
) -> io::Result<Host> {
    // Its sender still has it: better late than back in time.
    std::thread::sleep(meta.arrived(Moment::now(built.ahead.0)));
    fault::point("target.ctl")?;
    let mut ctl = Ctl::new();
    ctl.connect(&client, &meta.home);
    let (deputies, _) = target::take_deputies(conn, &mut client, port, &meta.threads)?;
    let mut channels = Fds::default();
    meta.threads
        .iter()
        .for_each(|thread| channels.insert(thread.channel_fd));
    let tids = std::iter::once(built.pid).chain(built.others);
    let threads = meta.threads.iter().zip(tids).zip(deputies);
    let threads = threads
        .map(|((image, tid), deputy)| Thread::arrived(image, tid, deputy))
        .collect();
    meta.nmigs += 1;
    let written = built.watch.map(Arc::new);
    let outgoing = Outgoing::of_guest(built.pid, &meta, written.clone());
    Ok(Host {
        watch: Watch::new()?,
        sources: Vec::new(),
        ready: Vec::new(),
        client_source: Source::new(&client),
        listener_source: Source::new(&built.listener),
        children_source: Source::new(&children),
        client,
        mosd_at: None,
        ctl,
        evacuated: false,
        listener: built.listener,
        early: Vec::new(),
        children,
        me,
        port,
        actions: meta.actions.clone(),
        group: built.pid,
        threads,
        departed: Vec::new(),
        retired: Vec::new(),
        channels,
        numbers: built.numbers,
        numbered: built.numbered,
        ahead: built.ahead,
        files: FileMaps::new(built.files),
        outgoing: Arc::new(Mutex::new(outgoing)),
        written,
        live: None,
        begun: None,
        order: None,
        leaving: false,
        stopped_at: Instant::now(),
        halted: false,
        cpu: CpuClock::new(built.pid),
        cpu_told: 0,
        weight: Weight::default(),
        cpu_at: Instant::now(),
        ending: None,
        meta,
    })
}

fn start(host: &mut Host) -> io::Result<()> {
    fault::point("target.start")?;
    if host.threads.len() > 1 {
        // Until now the sender would have gone on, had this host ended.
        host.threads[0].deputy.settle_all()?;
        // A part of the threads must never go back alone: from here on none does.
        host.threads[0].deputy.commit()?;
    }
    for t in 0..host.threads.len() {
        // Final: until now the sender would have gone on, had this host ended.
        host.threads[t].deputy.settle()?;
        host.give_time_left(t)?;
        host.sync_mask(t)?;
        for info in std::mem::take(&mut host.meta.threads[t].pending) {
            let info = Box::new(
                info.try_into()
                    .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?,
            );
            host.signal_from_home(t, info)?;
        }
        host.take_queued_signals(t)?;
    }
    fault::point("target.running")?;
    let (pid, node, nmigs) = (host.home_pid(), host.me, host.meta.nmigs);
    host.tell(&FromHost::Running { pid, node, nmigs });
    (0..host.threads.len()).try_for_each(|t| host.go_on(t, 0))
}

fn finish(mut host: Host) -> io::Result<Ending> {
    let ended = host.run();
    if !matches!(ended, Ok(Ending::Moved)) {
        host.tell_left();
    }
    let _ = tracee::kill(host.group);
    ended
}
