//! A guest under construction gets the layout of a later image of the same process: what is the same stays, with its contents.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::image::gadget::{Call, DATA, run_list};
use crate::image::layout::{self, Backed, Place};
use crate::image::restore::{GuestBuilder, invalid};
use crate::image::{FileArea, Meta};
use crate::sys::backing::Backing;
use crate::sys::{mem, socket};

const SYS_MPROTECT: u64 = 10;
const SYS_MUNMAP: u64 = 11;
const SYS_RECVMSG: u64 = 47;

/// A pair of sockets: through it the process that is being built is given descriptors.
pub(super) struct Gate {
    outer: UnixStream,
    inner: UnixStream,
}

impl Gate {
    pub(super) fn new() -> io::Result<Gate> {
        let (outer, inner) = UnixStream::pair()?;
        Ok(Gate { outer, inner })
    }

    /// The end that the process inherits.
    pub(super) fn inner(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl GuestBuilder {
    /// Takes the layout of another image, and with `last` all else of it too.
    ///
    /// # Errors
    ///
    /// As for `create`: the guest is of no use any more.
    pub fn adopt(&mut self, meta: &Meta, last: bool) -> io::Result<()> {
        let mut places = layout::places(meta)?;
        let files = layout::files(&meta.areas);
        let mut numbers = Vec::with_capacity(files.len());
        for file in files {
            let number = match self.files.of(&file) {
                Some(number) => number,
                None => self.add_file(file)?,
            };
            numbers.push(number);
        }
        for backed in places.iter_mut().filter_map(|place| place.file.as_mut()) {
            *backed = Backed {
                file: numbers[backed.file],
                ..*backed
            };
        }
        let changes = layout::changes(&self.places, &places);
        let unmap = changes.unmap.iter().map(|(start, end)| {
            Call::must(
                "clear memory",
                SYS_MUNMAP,
                [*start, end - start, 0, 0, 0, 0],
            )
        });
        let mut calls: Vec<Call> = unmap.collect();
        calls.extend(changes.map.iter().map(|place| self.mapping(place)));
        calls.extend(changes.protect.iter().map(accessible));
        let stub = self.stub;
        run_list(self.injector()?, stub, &calls)?;
        self.kept = changes.kept;
        self.places = places;
        match last {
            true => self.set_state(meta),
            false => Ok(()),
        }
    }

    /// Makes a file that the process has mapped since it was begun, and gives it to the guest.
    fn add_file(&mut self, file: FileArea) -> io::Result<usize> {
        const VECTOR: u64 = 56;
        const BYTE: u64 = 72;
        const CONTROL: u64 = 80;
        // Length, level and type, descriptor; and what fills the last word.
        const CONTROL_LEN: usize = 24;
        let backing = Backing::new()?;
        socket::send_with_fd(&self.gate.outer, &[0], Some(backing.as_fd()))?;
        let base = self.stub + DATA;
        let message = [
            0,
            0,
            base + VECTOR,
            1,
            base + CONTROL,
            CONTROL_LEN as u64,
            0,
        ];
        let words = message.into_iter().chain([base + BYTE, 1]);
        let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
        let pid = self.pid();
        mem::write_all(pid, base, &bytes)?;
        let args = [self.gate.inner() as u64, base, 0, 0, 0, 0];
        let call = [Call::must("receive a file", SYS_RECVMSG, args)];
        let stub = self.stub;
        run_list(self.injector()?, stub, &call)?;
        let mut control = [0; CONTROL_LEN];
        mem::read_exact(pid, base + CONTROL, &mut control)?;
        let there = i32::from_le_bytes(control[16..20].try_into().expect("four bytes"));
        if control[0] != 20 {
            return Err(invalid("a file did not get into the guest"));
        }
        Ok(self.files.add(file, backing, there))
    }
}

fn accessible(place: &Place) -> Call {
    let (len, prot) = (place.end - place.start, u64::from(place.first_prot()));
    let args = [place.start, len, prot, 0, 0, 0];
    Call::must("protect memory", SYS_MPROTECT, args)
}
