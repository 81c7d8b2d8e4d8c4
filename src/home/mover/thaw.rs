//! The end of a freeze: the memory comes back from the file, and the process goes on at home.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use crate::home::mover::back::Arrival;
use crate::home::mover::freeze::drop_memory;
use crate::home::mover::park::{self, Parked};
use crate::image::{Meta, pages, store};
use crate::migrate::deputy::{Deputy, Frame};
use crate::migrate::fault;
use crate::migrate::source::FRAME_LIMIT;
use crate::sys::process::random;
use crate::sys::{nameless, tracked, unix};
use crate::wire::channel::{INLINE_IN, NO_CALL, Request};
use crate::wire::control::Outcome;
use crate::wire::frame::read_frame;

/// Has frozen process `pid` go on; on failure it stays frozen, unless its image cannot be read at all.
pub fn thaw(pid: i32) -> Outcome {
    let (parked, file) = match have(pid) {
        Ok(Some(had)) => had,
        Ok(None) => return Outcome::Done,
        Err(_) if !tracked::alive(pid) => return Outcome::Gone,
        Err(error) => return Outcome::Stayed(error.to_string()),
    };
    match try_thaw(pid, &parked, file) {
        Ok(()) => Outcome::Done,
        Err(error) if !tracked::alive(pid) => {
            log::info!("process {pid} ended while it was being brought back: {error}");
            Outcome::Gone
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            tracked::say(pid, "\nmosrun: Failed decompressing freeze file\n");
            if let Err(error) = unix::kill(pid, unix::SIGKILL) {
                log::warn!("{pid}: {error}");
            }
            Outcome::Stayed(error.to_string())
        }
        Err(error) => {
            tracked::say(pid, "\nmosrun: Re-freezing because un-freeze failed\n");
            Outcome::Stayed(error.to_string())
        }
    }
}

/// The process and its image, when no other mover deals with it any more: the warden that started one may have been killed.
fn have(pid: i32) -> io::Result<Option<(Parked, File)>> {
    while let Some(parked) = park::parked(pid)? {
        let file = File::from(park::take(pid, parked.fds[0])?);
        nameless::have(&file)?;
        let now = match park::parked(pid)? {
            Some(now) if now.fds == parked.fds => File::from(park::take(pid, now.fds[0])?),
            _ => continue,
        };
        let same = now.metadata()?.ino() == file.metadata()?.ino();
        // To close any descriptor of a file is to let go of it: this one stays.
        std::mem::forget(now);
        if same {
            return Ok(Some((parked, file)));
        }
    }
    Ok(None)
}

fn try_thaw(pid: i32, parked: &Parked, mut file: File) -> io::Result<()> {
    fault::point("thaw.begin")?;
    file.rewind()?;
    let mut reader = store::Reader::new(file)?;
    let meta: Meta = read_frame(&mut reader, FRAME_LIMIT)?;
    let mut deputies = deputies(pid, parked, &meta)?;
    let mut arrival = Arrival::new(pid, meta.clone())?;
    let brought = fault::point("thaw.pages")
        .and_then(|()| pages::receive(&mut reader, &mut |addr, got| arrival.got(addr, got)))
        .and_then(|()| fault::point("thaw.resume"));
    if let Err(error) = brought {
        if let Err(error) = drop_memory(&mut deputies[0], &meta) {
            log::info!("process {pid}: {error}");
        }
        return Err(error);
    }
    let end = park::take(pid, parked.fds[1])?;
    arrival.finish(deputies, None)?;
    has_left(end)
}

/// Waits until the first thread has given up its channel, and with it all that held the process.
fn has_left(end: OwnedFd) -> io::Result<()> {
    let mut end = UnixStream::from(end);
    let mut byte = [0];
    while end.read(&mut byte)? > 0 {}
    Ok(())
}

/// The threads' deputies, by copies of the ends that the process holds.
fn deputies(pid: i32, parked: &Parked, meta: &Meta) -> io::Result<Vec<Deputy>> {
    let ends = &parked.fds[1..];
    if ends.len() != meta.threads.len() || meta.threads.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the image is not of this process's threads",
        ));
    }
    let mut deputies = Vec::with_capacity(ends.len());
    for (thread, end) in meta.threads.iter().zip(ends) {
        let mut deputy = Deputy::new(park::take(pid, *end)?, thread.stub, thread.channel_fd);
        synchronize(&mut deputy)?;
        deputies.push(deputy);
    }
    deputies[0].holding.clone_from(&parked.fds);
    Ok(deputies)
}

/// Makes sure that the next answer is to the next request: who asked before may have ended without waiting for answers.
fn synchronize(deputy: &mut Deputy) -> io::Result<()> {
    let mut mark = [0; 16];
    random(&mut mark)?;
    let request = Request {
        flags: NO_CALL,
        in_len: mark.len() as u64,
        out_ptr: deputy.base + INLINE_IN,
        out_fixed: mark.len() as u64,
        ..Request::default()
    };
    deputy.send(&request, &mark)?;
    loop {
        match deputy.read_frame()? {
            Frame::Reply { out, .. } if out == mark => return Ok(()),
            Frame::Reply { .. } => {}
            Frame::Signal(info) => deputy.signals.push_back(info),
        }
    }
}
