//! Notifications of the tree: opens that may be of the program interface; `usage` has the rest.

use std::io;
use std::net::Ipv4Addr;

use crate::home::interface::{self, Ask, Wanted};
use crate::home::warden::state::{Asked, Moving, Warden};
use crate::sys::abi::{self, EPERM, ERESTARTNOINTR};
use crate::sys::seccomp::{Notification, Response};
use crate::sys::{mem, stub, tracked, unix};
use crate::wire::control::{Outcome, Place, Target};
use crate::wire::ctl::AWAY_TIME;

/// Longer paths than this are not of the interface.
const LONGEST: usize = 64;

impl Warden {
    pub fn notification(&mut self) -> io::Result<()> {
        let Some(notification) = self.listener.recv()? else {
            return Ok(());
        };
        let response = match notification.nr as u64 {
            abi::SYS_OPEN => self.opened(&notification, notification.args),
            abi::SYS_OPENAT => {
                let [_, path, flags, mode, ..] = notification.args;
                self.opened(&notification, [path, flags, mode, 0, 0, 0])
            }
            _ => return self.time_asked(notification),
        };
        match response {
            Some(response) => self.listener.send(notification.id, response).map(drop),
            None => Ok(()),
        }
    }

    /// An open with the interface's flags; most are of ordinary files and go on natively.
    fn opened(
        &mut self,
        notification: &Notification,
        [path, flags, value, ..]: [u64; 6],
    ) -> Option<Response> {
        let Ok(text) = mem::read_string(notification.pid, path, LONGEST) else {
            return Some(Response::Continue);
        };
        if !text.starts_with(b"/proc/") {
            return Some(Response::Continue);
        }
        let Ok(pid) = tracked::tgid(notification.pid) else {
            return Some(Response::Continue);
        };
        let Some(name) = interface::name_of(&text, pid) else {
            return Some(Response::Continue);
        };
        let mode = (flags & 3) as u32;
        if name == AWAY_TIME && stub::is_inside(notification.ip) {
            return self.host_asks(notification, pid, mode, value as i32);
        }
        self.know(pid);
        self.seen_at(pid, stub::is_inside(notification.ip));
        let whereami = match self.procs.get(&pid).map(|proc| proc.place) {
            Some(Place::Away(node)) => u32::from(node),
            _ => 0,
        };
        if let Some(forced) = match name {
            "mosstart" => Some(false),
            "mosstartf" => Some(true),
            _ => None,
        } {
            return self.asks_to_start(notification, pid, (Ipv4Addr::from(value as u32), forced));
        }
        let Some(proc) = self.procs.get_mut(&pid) else {
            return Some(Response::Continue);
        };
        let before = proc.settings.clone();
        let answer = interface::serve(
            &mut proc.settings,
            name,
            mode,
            value as i32 as i64,
            whereami,
        );
        if before != proc.settings {
            self.tell_settings(pid);
        }
        match answer {
            None => Some(Response::Continue),
            Some(Ask::Value(value)) => Some(Response::Value(value)),
            Some(Ask::Fail(errno)) => Some(Response::Error(errno)),
            Some(Ask::Native) => {
                if let Some(proc) = self.procs.get_mut(&pid) {
                    proc.native = true;
                }
                Some(Response::Value(0))
            }
            Some(Ask::CannotMove) => Some(self.cannot_move(notification, pid)),
            Some(Ask::Migrate(wanted)) => self.asks_to_move(notification, pid, wanted),
        }
    }

    /// A call shows whether its process is away, by its deputy: what movers and hosts say of that may still be on its way.
    fn seen_at(&mut self, pid: i32, deputy: bool) {
        match self.procs.get(&pid).map(|proc| proc.place) {
            Some(Place::Away(_)) if !deputy => self.at_home(pid, None),
            Some(Place::Home) if deputy => {
                let mut movers = self.movers.values().filter(|mover| mover.pid == pid);
                if let Some((node, nmigs)) = movers.find_map(|mover| mover.out) {
                    self.departed(pid, node, nmigs);
                }
            }
            _ => {}
        }
    }

    /// A descriptor from which the reason can be read; empty when it can move.
    fn cannot_move(&self, notification: &Notification, pid: i32) -> Response {
        use std::io::{Seek, Write};
        let why = self.why_not(pid).map_or(String::new(), |why| why + "\n");
        let made = unix::memfd(c"cantmove").and_then(|mut file| {
            file.write_all(why.as_bytes())?;
            file.rewind()?;
            self.listener
                .add_fd(notification.id, std::os::fd::AsFd::as_fd(&file))
        });
        match made {
            Ok(fd) => Response::Value(i64::from(fd)),
            Err(error) => Response::Error(error.raw_os_error().unwrap_or(EPERM)),
        }
    }

    /// A program asks to be moved. Its call is repeated after the move and then answered with the outcome.
    fn asks_to_move(
        &mut self,
        notification: &Notification,
        pid: i32,
        wanted: Wanted,
    ) -> Option<Response> {
        let to = match wanted {
            Wanted::Known(to) => to,
            Wanted::Number(number) => match self.node_of(number) {
                Some(node) if node == self.me => Target::Home,
                Some(node) => Target::Node(node),
                None => return Some(Response::Error(abi::ESRCH)),
            },
        };
        let proc = self.procs.get_mut(&pid)?;
        if let Some(Asked::Done { to: asked, result }) = proc.asked.take()
            && asked == to
        {
            return Some(answer(result));
        }
        if proc.native {
            return Some(Response::Error(EPERM));
        }
        // A call of the program itself: its mover may not have said yet that it is at home.
        let home = !stub::is_inside(notification.ip);
        let there = match (to, proc.place) {
            (Target::Best, _) => true,
            (Target::Home, _) => home,
            (Target::Node(node), Place::Away(at)) => node == at && !home,
            _ => false,
        };
        if there {
            return Some(Response::Value(0));
        }
        proc.asked = Some(Asked::Waiting {
            notification: *notification,
            home,
            to,
        });
        self.order(pid, Moving::new(None, to));
        if home {
            // Answered when the mover has asked it to stop, so that it stops on its way out of the call.
            return None;
        }
        Some(self.release(pid))
    }

    /// What makes the waiting call be repeated: natively the kernel does it, away the host does when the stub says "aborted".
    pub fn release(&mut self, pid: i32) -> Response {
        let asked = self.procs.get_mut(&pid).and_then(|proc| match proc.asked {
            Some(Asked::Waiting { home, to, .. }) => {
                proc.asked = Some(Asked::Moving { to });
                Some(home)
            }
            // Asked again when it is at home.
            Some(Asked::Start { .. }) => {
                proc.asked = None;
                Some(true)
            }
            _ => None,
        });
        match asked {
            Some(false) => Response::Value(crate::wire::channel::ABORTED),
            _ => Response::Error(ERESTARTNOINTR as i32),
        }
    }

    /// The mover has seized a process whose call waits here.
    pub fn seized(&mut self, pid: i32) {
        if let Some(proc) = self.procs.get_mut(&pid) {
            proc.seized = proc.moving.is_some();
        }
        self.repeat_held(pid);
        let waiting = match self.procs.get(&pid).and_then(|proc| proc.asked.as_ref()) {
            Some(
                Asked::Waiting {
                    notification,
                    home: true,
                    ..
                }
                | Asked::Start {
                    notification,
                    later: Some(_),
                },
            ) => Some(*notification),
            _ => None,
        };
        if let Some(notification) = waiting {
            let response = self.release(pid);
            self.answer_late(&notification, response);
        }
    }

    /// A move to `to` is over: the outcome of a program's own request, if that is what it asked for. If not, its own turn comes now; a
    /// program that is away asks again by itself.
    pub fn asked_outcome(&mut self, pid: i32, to: Target, outcome: &Outcome) {
        let result = if outcome.is_done() { 0 } else { -1 };
        let Some(proc) = self.procs.get_mut(&pid) else {
            return;
        };
        match proc.asked {
            Some(Asked::Start { .. }) => self.start_asked(pid),
            Some(Asked::Waiting {
                notification,
                to: asked,
                ..
            }) if asked == to => {
                proc.asked = None;
                self.answer_late(&notification, answer(result));
            }
            Some(Asked::Moving { to: asked }) if asked == to => {
                proc.asked = Some(Asked::Done { to, result });
            }
            Some(Asked::Waiting { to, .. }) => self.order(pid, Moving::new(None, to)),
            _ => {}
        }
    }

    pub fn answer_late(&mut self, notification: &Notification, response: Response) {
        if let Err(error) = self.listener.send(notification.id, response) {
            log::warn!(
                "a call of {} could not be answered: {error}",
                notification.pid
            );
        }
    }
}

/// What a program is told of the move that it asked for.
fn answer(result: i64) -> Response {
    match result {
        0 => Response::Value(0),
        _ => Response::Error(EPERM),
    }
}
