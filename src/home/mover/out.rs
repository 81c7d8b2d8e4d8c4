//! From home to another node.

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use crate::home::bound;
use crate::home::mover::seize::{self, Held, HeldThread};
use crate::home::mover::{FromMover, Leases, OutJob, View, live, register, start, times};
use crate::image::capture::Calls;
use crate::image::clocks::{Clocks, Moment};
use crate::image::{Area, HomeId, Meta, MmLayout, Thread, areas, capture, check, vdso};
use crate::migrate::deputy::Deputy;
use crate::migrate::live::{Outgoing, worthwhile};
use crate::migrate::mirror::mirrored_all;
use crate::migrate::source::{self, FRAME_LIMIT, Stayed};
use crate::migrate::{fault, limit_silence};
use crate::sys::process::{self, RLIMIT_AS, RLIMIT_DATA};
use crate::sys::writes::WriteWatch;
use crate::sys::{abi, procfs, tracked};
use crate::wire::client::Client;
use crate::wire::control::Outcome;
use crate::wire::cpu::Cpu;
use crate::wire::frame::{read_frame, write_frame};
use crate::wire::node::{Offer, Opening};

/// Does the job; whatever goes wrong, the process runs on at home.
pub fn out(job: &OutJob, warden: &mut UnixStream, client: &mut Client) -> Outcome {
    let mut attached = false;
    match try_out(job, warden, client, &mut attached) {
        Ok(outcome) => outcome,
        Err(why) if attached && job.start == Some(false) => {
            start::refuse(job.pid, job.node, &why.0);
            Outcome::Gone
        }
        Err(why) if !tracked::alive(job.pid) => {
            log::info!("process {} ended on its way out: {why}", job.pid);
            Outcome::Gone
        }
        Err(why) => Outcome::Stayed(why.0),
    }
}

/// `attached`: a program that starts elsewhere is stopped before its first instruction.
fn try_out(
    job: &OutJob,
    warden: &mut UnixStream,
    client: &mut Client,
    attached: &mut bool,
) -> Result<Outcome, Stayed> {
    let welcome = register(client)?;
    let home = welcome.address;
    let (needs, begins) = needs(job, &welcome.cpu);
    let asks = |bytes| offer_of(job, home, needs, begins, bytes);
    let ((mut conn, distant), lent) = if job.start.is_some() {
        // What is not there is found while mosrun can still say so.
        let conn = offer(job, asks(0)?, client)?;
        start::wait_for_program(job.pid, warden)?;
        *attached = true;
        (conn, Vec::new())
    } else {
        if seize::is_deputy(job.pid)? {
            return Err(Stayed(seize::AWAY.to_owned()));
        }
        let areas = areas::areas(job.pid)?;
        if let Some(why) = check::why_not(job.pid, &areas, job.filters) {
            return Err(Stayed(why));
        }
        let views = views(&areas);
        borrow(&views, warden)?;
        let bytes = areas.iter().map(|area| area.end - area.start).sum();
        (offer(job, asks(bytes)?, client)?, views)
    };
    let mut outgoing = Outgoing::from_home(job.pid, watch(job, warden, *attached)?.map(Arc::new));
    outgoing.set_distant(&conn, distant)?;
    outgoing.rounds(&mut conn, || live::sketch(job, identity(job, home)?, needs))?;
    let lost = format!("\nmosrun: Lost communication with {}\n", job.node);
    let stopped = if *attached { vec![job.pid] } else { Vec::new() };
    let since = Instant::now();
    let Held { mut threads, areas } = seize::seize(job.pid, stopped, job.filters, warden, &lost)?;
    let now = views(&areas);
    if now.iter().any(|view| !lent.contains(view)) {
        // It has just mapped another.
        borrow(&now, warden)?;
    }
    if !*attached && self::needs(job, &welcome.cpu).0 != needs {
        return Err(Stayed("it has begun another program meanwhile".to_owned()));
    }
    let id = identity(job, home)?;
    let mut meta = complete(job, (id, needs), &mut threads, areas)?;
    meta.fit_frames(job.pid, true)?;
    meta.fit_state()?;
    let meta = outgoing.last(&mut conn, meta)?;
    threads[0]
        .deputy
        .set_actions(&mirrored_all(&meta.actions, meta.stub))?;
    let mut deputies: Vec<&mut Deputy> = threads.iter_mut().map(|held| &mut held.deputy).collect();
    let toll = outgoing.toll(since);
    let figures = source::hand_over(&mut conn, &mut deputies, meta.stub, job.node, toll)?;
    Ok(Outcome::Moved(figures))
}

/// The process is large enough to be moved while it runs, and its kernel notes what it writes meanwhile. One that is about to start is not.
fn watch(
    job: &OutJob,
    warden: &mut UnixStream,
    starts: bool,
) -> Result<Option<WriteWatch>, Stayed> {
    match !starts && worthwhile(job.pid)? {
        true => live::watch(job.pid, warden),
        false => Ok(None),
    }
}

/// Whose process it is.
pub(super) fn identity(job: &OutJob, home: Ipv4Addr) -> Result<HomeId, Stayed> {
    let status = procfs::status(job.pid)?;
    Ok(HomeId {
        node: home,
        pid: job.pid,
        tree: job.tree,
        uid: status.uid,
        gid: status.gid,
    })
}

/// What the process depends on, and whether it will depend on what it sees where it begins. The environment of a program that is about to
/// start is not to be read yet.
pub(super) fn needs(job: &OutJob, here: &Cpu) -> (Cpu, bool) {
    let portable = job.start.and(job.portable);
    let told = || bound::portable(job.pid, here).filter(|_| !job.saw_more);
    let portable = portable.or_else(told);
    let begins = job.start.is_some() && portable.is_none();
    (portable.unwrap_or(*here), begins)
}

fn offer_of(
    job: &OutJob,
    home: Ipv4Addr,
    needs: Cpu,
    begins: bool,
    bytes: u64,
) -> Result<Offer, Stayed> {
    let status = procfs::status(job.pid)?;
    Ok(Offer {
        home,
        home_pid: job.pid,
        tree: job.tree,
        uid: status.uid,
        gid: status.gid,
        bytes,
        needs,
        begins,
        nmigs: job.nmigs,
    })
}

/// Asks the node whether it takes the process; and whether it is distant.
fn offer(job: &OutJob, offer: Offer, client: &mut Client) -> Result<(TcpStream, bool), Stayed> {
    fault::point("source.connect")?;
    let (mut conn, distant) = client.connect_to_send(job.node, offer.home)?;
    limit_silence(&conn)?;
    source::offer(&mut conn, &Opening::Migrate(offer))?;
    Ok((conn, distant))
}

/// The files of which it has shared views.
fn views(areas: &[Area]) -> Vec<View> {
    let shared = areas.iter().filter(|area| area.shared && area.is_program());
    let mut views: Vec<View> = Vec::new();
    for file in shared.filter_map(|area| area.file.as_ref()) {
        let (path, inode) = (file.path.clone(), file.inode);
        let view = View { path, inode };
        if !views.contains(&view) {
            views.push(view);
        }
    }
    views
}

/// What it sees of them elsewhere is as they are now; so they must stay as they are.
fn borrow(views: &[View], warden: &mut UnixStream) -> Result<(), Stayed> {
    if views.is_empty() {
        return Ok(());
    }
    write_frame(warden, &FromMover::Views(views.to_vec()))?;
    match read_frame(warden, FRAME_LIMIT)? {
        Leases::Taken => Ok(()),
        Leases::Refused(why) => Err(Stayed(why)),
    }
}

/// Asks the threads for what only they can tell, and makes the image.
pub(super) fn complete(
    job: &OutJob,
    (home, needs): (HomeId, Cpu),
    held: &mut [HeldThread],
    areas: Vec<crate::image::Area>,
) -> Result<Meta, Stayed> {
    fault::point("source.inner")?;
    let first = &mut held[0].deputy;
    let actions = first.actions()?;
    for which in [1, 2] {
        let (value, timer) = first.call_out(abi::SYS_GETITIMER, [which, 0, 0, 0, 0, 0], 1, 32)?;
        if value == 0 && timer.iter().any(|byte| *byte != 0) {
            return Err(Stayed("it has a timer that counts its CPU time".to_owned()));
        }
    }
    let base = first.base;
    let mut inner = capture::Inner::default();
    let mut threads = Vec::with_capacity(held.len());
    for HeldThread { deputy, thread } in held.iter_mut().rev() {
        inner = capture::inner_state(deputy)?;
        times::of_socket(deputy, thread)?;
        threads.push(Thread {
            altstack: inner.altstack,
            clear_tid: inner.clear_tid,
            ..std::mem::take(thread)
        });
    }
    threads.reverse();
    let soft_limit = |resource| process::limit(job.pid, resource).map(|(soft, _)| soft);
    let stat = procfs::stat(job.pid)?;
    let mm = layout(&stat, inner.brk);
    let clocks = Clocks::here();
    Ok(Meta {
        home,
        stub: base,
        threads,
        vdso_hash: vdso::hash(job.pid, &areas)?,
        areas,
        mm,
        actions,
        stack_limit: inner.stack_limit,
        memory_limits: [soft_limit(RLIMIT_DATA)?, soft_limit(RLIMIT_AS)?],
        monotonic_offset_ns: clocks.monotonic - clocks.real,
        boottime_offset_ns: clocks.boottime - clocks.real,
        sent: Moment::now(0),
        cpu_away_ns: job.cpu_away_ns,
        nmigs: job.nmigs,
        needs,
        comm: procfs::comm(job.pid)?,
        unsupported: job.unsupported as u8,
        home_has: None,
    })
}

fn layout(stat: &procfs::Stat, brk: u64) -> MmLayout {
    MmLayout {
        start_code: stat.start_code,
        end_code: stat.end_code,
        start_data: stat.start_data,
        end_data: stat.end_data,
        start_brk: stat.start_brk,
        brk,
        start_stack: stat.start_stack,
        arg_start: stat.arg_start,
        arg_end: stat.arg_end,
        env_start: stat.env_start,
        env_end: stat.env_end,
    }
}
