//! Programs that start on another node: mosrun gets leave to become its program when the mover that takes it there waits for it.

use std::io;
use std::net::Ipv4Addr;

use crate::home::launch::Ready;
use crate::home::mover::start::refuse;
use crate::home::warden::state::{Asked, Moving, Warden};
use crate::sys::abi::EHOSTDOWN;
use crate::sys::seccomp::{Notification, Response};
use crate::sys::{stub, tracked};
use crate::wire::control::{Outcome, Place, Target};
use crate::wire::frame::write_frame;

impl Warden {
    /// mosrun inside mosrun asks for another node. Its call is answered by [`Warden::may_start`].
    pub fn asks_to_start(
        &mut self,
        notification: &Notification,
        pid: i32,
        start: (Ipv4Addr, bool),
    ) -> Option<Response> {
        let proc = self.procs.get_mut(&pid)?;
        if stub::is_inside(notification.ip) {
            // It starts from home. The call is repeated there.
            proc.asked = Some(Asked::Waiting {
                notification: *notification,
                home: false,
                to: Target::Home,
            });
            if proc.moving.is_none() {
                self.order(pid, Moving::new(None, Target::Home));
            }
            return Some(self.release(pid));
        }
        if proc.moving.is_some() || proc.place != Place::Home {
            proc.asked = Some(Asked::Start {
                notification: *notification,
                later: Some(start),
            });
            return None;
        }
        self.start_now(notification, pid, start);
        None
    }

    /// A start that had to wait until the process is at home and no other move is under way.
    pub fn start_asked(&mut self, pid: i32) {
        let Some(proc) = self.procs.get_mut(&pid) else {
            return;
        };
        let waits = |asked: &mut Asked| matches!(asked, Asked::Start { later: Some(_), .. });
        if proc.place == Place::Home
            && proc.moving.is_none()
            && let Some(Asked::Start {
                notification,
                later: Some(start),
            }) = proc.asked.take_if(waits)
        {
            self.start_now(&notification, pid, start);
        }
    }

    fn start_now(&mut self, notification: &Notification, pid: i32, start: (Ipv4Addr, bool)) {
        if let Some(proc) = self.procs.get_mut(&pid) {
            proc.asked = Some(Asked::Start {
                notification: *notification,
                later: None,
            });
        }
        self.order(pid, Moving::start(start.0, start.1));
    }

    /// The mover of a start is there, or there is none and the program may run here, or the reason why it may not. False: mosrun has
    /// had its answer before.
    pub fn may_start(&mut self, pid: i32, leave: Result<(), &str>) -> bool {
        if pid == self.root && self.launch_waits {
            self.launch_waits = false;
            let answer = match leave {
                Ok(()) => Ready::Yes,
                Err(why) => Ready::No(why.to_owned()),
            };
            let told = match &mut self.launch {
                Some(launch) => write_frame(launch, &answer),
                None => Err(io::ErrorKind::NotConnected.into()),
            };
            if let Err(error) = told {
                log::info!("mosrun {pid} has gone: {error}");
            }
            return true;
        }
        let waits = |asked: &mut Asked| matches!(asked, Asked::Start { later: None, .. });
        let asked = self
            .procs
            .get_mut(&pid)
            .map(|proc| proc.asked.take_if(waits));
        let Some(Some(Asked::Start { notification, .. })) = asked else {
            return false;
        };
        let response = match leave {
            Ok(()) => Response::Value(0),
            Err(why) => {
                tracked::say(pid, &format!("mosrun: {why}\n"));
                Response::Error(EHOSTDOWN)
            }
        };
        self.answer_late(&notification, response);
        true
    }

    /// What became of a start; a program that is not to run here ends if it is none that mosrun can still refuse.
    pub fn start_over(&mut self, pid: i32, to: Target, forced: bool, outcome: &Outcome) {
        let (Target::Node(node), Outcome::Stayed(why)) = (to, outcome) else {
            self.may_start(pid, Ok(()));
            return;
        };
        if forced {
            self.may_start(pid, Ok(()));
        } else if !self.may_start(pid, Err(&format!("failed migrating to {node}: {why}"))) {
            refuse(pid, node, why);
        }
    }
}
