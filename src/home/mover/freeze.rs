//! Freezing: the memory of a process at home goes to a file, and the process waits, holding the file, for somebody to bring it back.

use std::fs::File;
use std::io::{self, Seek};
use std::os::unix::net::UnixStream;

use crate::home::mover::places::Places;
use crate::home::mover::seize::{self, Held, HeldThread};
use crate::home::mover::{Order, OutJob, out, park, register};
use crate::image::copier;
use crate::image::store::{self, Aim};
use crate::image::{Area, Kind, Meta, check};
use crate::migrate::deputy::Deputy;
use crate::migrate::fault;
use crate::migrate::source::Stayed;
use crate::sys::{abi, nameless, procfs, tracked, unix};
use crate::wire::client::Client;
use crate::wire::control::Outcome;
use crate::wire::frame::write_frame;

/// Said when the process dies because nobody can bring it back.
const LOST: &str = "\nmosrun: Un-freeze failed\n";
const NO_SPACE: &str = "No space to freeze";
const PAGE: u64 = 4096;

/// Freezes the process of `job`; whatever goes wrong, it runs on.
pub fn freeze(job: &OutJob, order: Order, warden: &mut UnixStream, client: &mut Client) -> Outcome {
    match try_freeze(job, order, warden, client) {
        Ok(()) => Outcome::Done,
        Err(why) if !tracked::alive(job.pid) => {
            log::info!("process {} ended before it was frozen: {why}", job.pid);
            Outcome::Gone
        }
        Err(why) => Outcome::Stayed(why.0),
    }
}

fn try_freeze(
    job: &OutJob,
    order: Order,
    warden: &mut UnixStream,
    client: &mut Client,
) -> Result<(), Stayed> {
    let welcome = register(client)?;
    let home = welcome.address;
    // The limit of files' sizes is for the program's own files; here it is as good as a full disk.
    unix::ignore_file_limit();
    if let Some(parked) = park::parked(job.pid)? {
        return Ok(park::set_why(job.pid, &parked, order.why)?);
    }
    if seize::is_deputy(job.pid)? {
        return Err(Stayed(seize::AWAY.to_owned()));
    }
    let before = crate::image::areas::areas(job.pid)?;
    if let Some(why) = check::why_not(job.pid, &before, job.filters) {
        return Err(Stayed(why));
    }
    fault::point("freeze.file")?;
    let id = out::identity(job, home)?;
    let mut files = Places::of(job.pid, id.uid, client)?;
    let mut file = files.next()?;
    let Held { mut threads, areas } = seize::seize(job.pid, Vec::new(), job.filters, warden, LOST)?;
    let (needs, _) = out::needs(job, &welcome.cpu);
    let meta = out::complete(job, (id, needs), &mut threads, areas)?;
    fault::point("freeze.image")?;
    let image = loop {
        let Some(at) = file else {
            return Err(no_space(job.pid, order));
        };
        match write(job.pid, &meta, &at) {
            Ok(()) => break at,
            Err(error) if is_full(&error) => file = next(&mut files, job.pid),
            Err(error) => return Err(error.into()),
        }
    };
    still(&mut threads, &meta)?;
    fault::point("freeze.park")?;
    // Until this mover has ended nobody else deals with it.
    nameless::have(&image)?;
    park::park(job.pid, &mut threads, &image, order.why)?;
    // It is frozen, whatever becomes of the rest.
    if let Err(error) = fault::point("freeze.parked").and_then(|()| {
        let deputy = &mut threads[0].deputy;
        // From now on the file is the process: there is no way back to the memory that it had.
        deputy.commit()?;
        fault::point("freeze.drop")?;
        drop_memory(deputy, &meta)
    }) {
        log::info!("process {}: {error}", job.pid);
    }
    Ok(())
}

/// Signals that have a handler wait in the kernel; those that end or stop the process do so.
fn still(threads: &mut [HeldThread], meta: &Meta) -> io::Result<()> {
    let handled = (1..)
        .zip(&meta.actions)
        .filter(|(_, action)| ![abi::SIG_DFL, abi::SIG_IGN].contains(&action[0]))
        .fold(0, |mask, (signo, _)| mask | abi::bit(signo));
    for (held, thread) in threads.iter_mut().zip(&meta.threads) {
        held.deputy.set_mask(handled | thread.mask)?;
    }
    Ok(())
}

/// Another directory, after one was full; what cannot be used is as good as full.
fn next(files: &mut Places<'_>, pid: i32) -> Option<File> {
    files.next().unwrap_or_else(|error| {
        log::info!("process {pid}: {error}");
        None
    })
}

/// Writes the image: as fast as can be, or, where there is no space for that, as small.
fn write(pid: i32, meta: &Meta, file: &File) -> io::Result<()> {
    match write_by(Aim::Speed, pid, meta, file) {
        Err(error) if is_full(&error) => {
            file.set_len(0)?;
            { file }.rewind()?;
            write_by(Aim::Size, pid, meta, file)
        }
        result => result,
    }
}

fn write_by(aim: Aim, pid: i32, meta: &Meta, file: &File) -> io::Result<()> {
    let mut writer = store::Writer::new(file, aim)?;
    write_frame(&mut writer, meta)?;
    copier::send_own(pid, &meta.areas, &mut writer)?;
    writer.finish()
}

fn is_own(area: &Area) -> bool {
    area.is_program() && !area.shared && area.kind != Kind::Common
}

/// Gives back all memory but that of arguments and environment, which others look at.
///
/// # Errors
///
/// Those of the channel; what cannot be given back (because it is locked) stays.
pub fn drop_memory(deputy: &mut Deputy, meta: &Meta) -> io::Result<()> {
    let kept = (
        meta.mm.arg_start / PAGE * PAGE,
        meta.mm.env_end.next_multiple_of(PAGE),
    );
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for area in meta.areas.iter().filter(|area| is_own(area)) {
        let parts = [
            (area.start, area.end.min(kept.0)),
            (area.start.max(kept.1), area.end),
        ];
        for (start, end) in parts.into_iter().filter(|(start, end)| start < end) {
            match ranges.last_mut() {
                Some(last) if last.1 == start => last.1 = end,
                _ => ranges.push((start, end)),
            }
        }
    }
    let common = meta.areas.iter().filter(|area| area.kind == Kind::Common);
    let removed = common.map(|area| ((area.start, area.end), abi::MADV_REMOVE));
    let dropped = ranges.into_iter().map(|range| (range, abi::MADV_DONTNEED));
    for ((start, end), advice) in dropped.chain(removed) {
        let args = [start, end - start, advice, 0, 0, 0];
        match deputy.call(abi::SYS_MADVISE, args) {
            Err(error) if error.raw_os_error() != Some(abi::EINVAL) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// There is no space anywhere: what becomes of the process then.
fn no_space(pid: i32, order: Order) -> Stayed {
    let memory = procfs::stat(pid).map_or(0, |stat| (stat.rss_pages * PAGE) >> 20);
    if order.kill.is_some_and(|least| memory >= u64::from(least)) {
        tracked::say(pid, &format!("\nmosrun: {NO_SPACE}\n"));
        if let Err(error) = unix::kill(pid, unix::SIGKILL) {
            log::warn!("{pid}: {error}");
        }
    }
    Stayed(NO_SPACE.to_owned())
}
