//! The hosts of this tree's away processes.

use std::io::{self, Read};
use std::net::TcpStream;

use crate::home::mover::seize;
use crate::home::warden::state::{Ctl, Proc, Warden};
use crate::sys::{procfs, tracked, unix};
use crate::wire::control::{Outcome, Place, Target};
use crate::wire::ctl::{FromHost, ToHost};
use crate::wire::frame::{FrameBuffer, write_frame};

impl Warden {
    pub fn add_ctl(&mut self, pid: i32, stream: TcpStream) {
        // The warden waits for nobody: a host that does not take what little it is told is given up.
        if let Err(error) = stream.set_nonblocking(true) {
            log::warn!("host of {pid}: {error}");
            return;
        }
        let id = self.number();
        self.ctls.insert(
            id,
            Ctl {
                stream,
                buffer: FrameBuffer::new(1 << 20),
                pid,
            },
        );
    }

    /// Says something to a host; false when it is gone.
    pub fn to_host(&mut self, id: u64, message: &ToHost) -> bool {
        let Some(ctl) = self.ctls.get_mut(&id) else {
            return false;
        };
        let written = write_frame(&mut ctl.stream, message);
        if let Err(error) = &written {
            log::info!("host of {} given up: {error}", ctl.pid);
            self.ctl_ended(id);
        }
        written.is_ok()
    }

    pub fn ctl_readable(&mut self, id: u64) {
        let Some(ctl) = self.ctls.get_mut(&id) else {
            return;
        };
        let mut bytes = [0; 4096];
        let mut open = match ctl.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(n) => {
                ctl.buffer.feed(&bytes[..n]);
                true
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) =>
            {
                true
            }
            Err(error) => {
                log::debug!("host of {}: {error}", ctl.pid);
                false
            }
        };
        let mut messages = Vec::new();
        loop {
            match ctl.buffer.next::<FromHost>() {
                Ok(Some(message)) if speaks_of(&message, ctl.pid) => messages.push(message),
                Ok(None) => break,
                Ok(Some(message)) => {
                    log::warn!(
                        "the host of {} speaks of another process: {message:?}",
                        ctl.pid
                    );
                    open = false;
                    break;
                }
                Err(error) => {
                    log::warn!("host of {}: {error}", ctl.pid);
                    open = false;
                    break;
                }
            }
        }
        for message in messages {
            self.host_says(id, message);
        }
        if !open {
            self.ctl_ended(id);
        }
    }

    fn host_says(&mut self, id: u64, message: FromHost) {
        match message {
            FromHost::Running { pid, node, nmigs } => {
                // A warden that took over learns of away processes by this.
                if self.is_ours(pid) {
                    self.know(pid);
                }
                let Some(proc) = self.procs.get_mut(&pid) else {
                    return;
                };
                if nmigs < proc.settings.nmigs {
                    // It has moved on since; whoever has it now has told that already.
                    return;
                }
                proc.place = Place::Away(node);
                proc.settings.nmigs = nmigs;
                proc.ctl = Some(id);
                proc.halted = false;
                self.set_away(pid, true);
                self.notify_migration(pid);
                self.tell_settings(pid);
                self.order_waits(pid);
            }
            FromHost::Left { pid, cpu_ns } => {
                self.used_away(pid, cpu_ns);
                // It may have left again meanwhile, for another host.
                if self.may_be_elsewhere(pid, id) {
                    return;
                }
                self.set_away(pid, false);
                if self
                    .procs
                    .get(&pid)
                    .is_some_and(|proc| proc.ctl == Some(id))
                {
                    self.at_home(pid, None);
                    self.give_back(pid);
                }
            }
            FromHost::Interrupt { pid } => {
                if self.is_ours(pid) {
                    self.interrupt(id, pid);
                } else {
                    self.to_host(id, &ToHost::Interrupted { pid });
                }
            }
            FromHost::Moved {
                pid,
                id: order,
                outcome,
            } => {
                // Only the order that is under way: an earlier one may have been settled by its mover.
                if self.procs.get(&pid).is_some_and(|proc| {
                    let told = proc.moving.as_ref().and_then(|moving| moving.told);
                    told.is_some_and(|told| told.number == order)
                }) {
                    self.moved_on(pid, id, &outcome);
                    self.host_moved(pid, outcome);
                }
            }
            FromHost::Cpu { pid, ns } => {
                self.used_away(pid, ns);
            }
            FromHost::Stays { pid, why } => {
                if let Some(proc) = self.procs.get_mut(&pid) {
                    proc.stays = why;
                }
            }
            FromHost::View { pid, tid, fd } => {
                let lent = self.lend_view(id, pid, (tid, fd));
                self.to_host(id, &ToHost::View { pid, tid, lent });
            }
            FromHost::SawMore { pid } => {
                if let Some(proc) = self.procs.get_mut(&pid) {
                    proc.saw_more = true;
                }
            }
            FromHost::Forked { .. } => {}
        }
    }

    /// A host has sent its guest on, whose next host may not have said yet that it has it.
    fn moved_on(&mut self, pid: i32, ctl: u64, outcome: &Outcome) {
        let Some(proc) = self.procs.get_mut(&pid) else {
            return;
        };
        let to = proc.moving.as_ref().map(|moving| moving.to);
        if let (true, Some(Target::Node(node))) = (outcome.is_done(), to)
            && node != self.me
            && proc.ctl == Some(ctl)
            && proc.place != Place::Away(node)
        {
            proc.place = Place::Away(node);
            proc.ctl = None;
            proc.settings.nmigs += 1;
        }
    }

    /// Whether a process that has left the host of connection `id` may be with another one.
    fn may_be_elsewhere(&self, pid: i32, id: u64) -> bool {
        let other = |proc: &Proc| proc.place != Place::Home && proc.ctl != Some(id);
        let mut movers = self.movers.values();
        self.alive(pid)
            && (self.procs.get(&pid).is_some_and(other)
                || movers.any(|mover| mover.pid == pid && mover.out.is_some()))
    }

    /// Tells the host of an away process what concerns its moves.
    pub fn tell_settings(&mut self, pid: i32) {
        let Some(proc) = self.procs.get(&pid) else {
            return;
        };
        let settings = &proc.settings;
        let message = ToHost::Settings {
            pid,
            locked: settings.locked,
            needmem: settings.needmem,
            decay: settings.decay,
            cpujob: settings.cpujob,
        };
        if let Some(ctl) = proc.ctl {
            self.to_host(ctl, &message);
        }
    }

    /// A process runs natively here (again).
    pub fn at_home(&mut self, pid: i32, nmigs: Option<u32>) {
        let Some(proc) = self.procs.get_mut(&pid) else {
            return;
        };
        proc.place = Place::Home;
        proc.ctl = None;
        proc.halted = false;
        if let Some(nmigs) = nmigs {
            proc.settings.nmigs = nmigs;
            self.notify_migration(pid);
        }
        self.start_asked(pid);
    }

    /// The signal that a program asked for after each migration (`/proc/self/sigmig`).
    pub fn notify_migration(&self, pid: i32) {
        let Some(proc) = self.procs.get(&pid) else {
            return;
        };
        if proc.settings.sigmig != 0 && unix::kill(pid, proc.settings.sigmig as i32).is_err() {
            log::debug!("{pid} ended before its signal");
        }
    }

    /// A host is gone. Where its process is now was said before, unless it died.
    fn ctl_ended(&mut self, id: u64) {
        let Some(ctl) = self.ctls.remove(&id) else {
            return;
        };
        let here = self
            .procs
            .get(&ctl.pid)
            .is_some_and(|proc| proc.ctl == Some(id));
        if let Some(moving) = self
            .procs
            .get_mut(&ctl.pid)
            .and_then(|proc| proc.moving.as_mut())
            && moving.told.is_some_and(|told| told.ctl == id)
        {
            moving.told = None;
        }
        if here {
            if !self.is_held(ctl.pid) && seize::is_deputy(ctl.pid).unwrap_or(false) {
                // In a call that waits it does not notice that nobody is left to be answered. A host that has only lost this
                // connection has the call made again.
                self.interrupt(id, ctl.pid);
            }
            if let Some(proc) = self.procs.get_mut(&ctl.pid) {
                proc.ctl = None;
            }
            self.find(ctl.pid);
        }
        self.order_again(ctl.pid);
    }

    /// A process that is away as far as is known, and of which no host speaks, may have rolled back.
    fn find(&mut self, pid: i32) {
        let lost = |proc: &Proc| matches!(proc.place, Place::Away(_)) && proc.ctl.is_none();
        if !self.procs.get(&pid).is_some_and(lost) || seize::is_deputy(pid).unwrap_or(false) {
            return;
        }
        self.at_home(pid, None);
        self.order_again(pid);
    }

    /// Stop and continue act on both halves: the home half stops by itself, the guest is told.
    pub fn watch(&mut self) {
        let pids: Vec<i32> = self.procs.keys().copied().collect();
        pids.into_iter().for_each(|pid| self.find(pid));
        let mut changes = Vec::new();
        for (pid, proc) in &mut self.procs {
            let (Place::Away(_), Some(ctl)) = (proc.place, proc.ctl) else {
                continue;
            };
            let stopped = procfs::stat(*pid).is_ok_and(|stat| stat.state == b'T');
            if stopped != proc.halted {
                proc.halted = stopped;
                changes.push((
                    ctl,
                    if stopped {
                        ToHost::Stop { pid: *pid }
                    } else {
                        ToHost::Continue { pid: *pid }
                    },
                ));
            }
        }
        for (ctl, message) in changes {
            self.to_host(ctl, &message);
        }
    }
}

/// Whether a message is of this process; an interruption is of one of its threads, which may just have ended.
fn speaks_of(message: &FromHost, pid: i32) -> bool {
    let named = message.pid();
    let thread = matches!(message, FromHost::Interrupt { .. });
    named == pid || thread && tracked::tgid(named).map_or(true, |of| of == pid)
}
