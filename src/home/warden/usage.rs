//! Calls of the tree that tell CPU time. Where none was used elsewhere they go on natively. Else the warden lets the call be made
//! and stops the caller on its way out of it (`observe`), adds to what the kernel has stored, and lets go.

use std::io;
use std::time::{Duration, Instant};

use crate::home::warden::observe::Observed;
use crate::home::warden::state::{Proc, Warden};
use crate::sys::abi::{self, EFAULT, ERESTARTNOINTR};
use crate::sys::seccomp::{Notification, Response};
use crate::sys::{mem, procfs, stub, tracked};
use crate::syscall::usage::{self, Elsewhere, Whose};
use crate::wire::control::Place;

/// How long the last word of a host on what was used there is waited for.
pub const LAST_WORD: Duration = Duration::from_secs(2);

/// A call that waits for its answer.
pub enum Held {
    /// A mover wants process `pid`.
    Mover {
        notification: Notification,
        pid: i32,
    },
    /// Another host has not said its last word.
    Question(Question),
}

/// What a host wants to know for its guest `pid`, at the latest then.
pub struct Question {
    notification: Notification,
    pid: i32,
    whose: Whose,
    of: i32,
    until: Instant,
}

impl Warden {
    /// A call that tells CPU time.
    pub fn time_asked(&mut self, notification: Notification) -> io::Result<()> {
        let (tid, nr) = (notification.pid, notification.nr as u64);
        self.waiters.remove(&tid);
        if self.observed.contains_key(&tid) {
            return self.go_on(&notification);
        }
        if matches!(nr, abi::SYS_WAIT4 | abi::SYS_WAITID) {
            self.waiters.insert(tid);
        }
        if self.ledger.is_empty() {
            return self.go_on(&notification);
        }
        self.settle();
        let Ok(pid) = tracked::tgid(tid) else {
            return self.go_on(&notification);
        };
        let Some(whose) = usage::whose(nr, &notification.args, pid) else {
            return self.go_on(&notification);
        };
        // A deputy has left, whether or not that is known here.
        let at_home = !stub::is_inside(notification.ip);
        let leaves = |proc: &Proc| proc.place == Place::Home && proc.moving.is_some();
        let leaving =
            at_home && self.procs.get(&pid).is_some_and(leaves) && !self.departures.contains(&pid);
        let matters = self.matters(pid, whose) || leaving && whose == Whose::Waited;
        if !matters || self.is_of_one_of_many(&notification, pid) {
            return self.go_on(&notification);
        }
        if whose == Whose::Own && nr == abi::SYS_CLOCK_GETTIME && self.is_known(pid, whose, None) {
            return self.tell_clock(&notification, pid);
        }
        if !leaving {
            return self.observe(notification, pid, whose);
        }
        // A mover wants it, and only one can trace it.
        if self.is_being_stopped(pid, tid) {
            return self
                .listener
                .send(notification.id, Response::Error(ERESTARTNOINTR as i32))
                .map(drop);
        }
        self.held.push(Held::Mover { notification, pid });
        Ok(())
    }

    /// Whether a mover has told this thread to stop, so that its call is repeated and not answered by the number that says so.
    fn is_being_stopped(&self, pid: i32, tid: i32) -> bool {
        self.procs.get(&pid).is_some_and(|proc| proc.seized)
            && procfs::status(tid).is_ok_and(|status| status.tracer != 0)
    }

    /// Of a process with several threads it is not known which of them has used time elsewhere.
    fn is_of_one_of_many(&self, notification: &Notification, pid: i32) -> bool {
        usage::of_this_thread(notification.nr as u64, &notification.args)
            && procfs::threads(pid).is_ok_and(|threads| threads.len() > 1)
    }

    pub fn go_on(&mut self, notification: &Notification) -> io::Result<()> {
        self.listener
            .send(notification.id, Response::Continue)
            .map(drop)
    }

    /// Whether anything may have to be added.
    fn matters(&self, pid: i32, whose: Whose) -> bool {
        let used = |pid: i32| {
            self.ledger.get(pid).is_some_and(|account| account.away) || self.ledger.own(pid) > 0
        };
        let by_children = || self.ledger.children_of(pid).next().is_some();
        match whose {
            Whose::Own => used(pid),
            Whose::Of(other) => used(other),
            Whose::Waited => by_children(),
            Whose::Children => self.ledger.children(pid) > 0 || by_children(),
            Whose::Family => used(pid) || self.ledger.children(pid) > 0 || by_children(),
        }
    }

    /// Whether all hosts have told what a call's answer needs.
    pub fn is_known(&self, pid: i32, whose: Whose, child: Option<i32>) -> bool {
        let told = |pid: i32| self.ledger.get(pid).is_none_or(|account| !account.away);
        // A child that lives is none that was waited for.
        let children = || {
            self.ledger
                .ended_children(pid)
                .all(|child| self.ledger.is_told(child))
        };
        match whose {
            Whose::Own => told(pid),
            Whose::Of(_) => true,
            Whose::Waited => child.is_none_or(|child| {
                let lives = self.ledger.get(child).is_none_or(|account| !account.ended);
                lives || self.ledger.is_told(child)
            }),
            Whose::Children => children(),
            Whose::Family => told(pid) && children(),
        }
    }

    pub fn elsewhere(&self, pid: i32, whose: Whose, child: Option<i32>) -> Elsewhere {
        let own = match whose {
            Whose::Of(other) => self.ledger.own(other),
            Whose::Waited => child.map_or(0, |child| self.ledger.of_child(pid, child)),
            Whose::Own | Whose::Children | Whose::Family => self.ledger.own(pid),
        };
        let children = if whose == Whose::Waited {
            0
        } else {
            self.ledger.children(pid)
        };
        Elsewhere { own, children }
    }

    /// The clock of a process can be read from here as well.
    fn tell_clock(&mut self, notification: &Notification, pid: i32) -> io::Result<()> {
        let Ok(home) = tracked::clock_ns(tracked::process_clock(pid)) else {
            return self.go_on(notification);
        };
        let total = home + self.ledger.own(pid);
        let bytes = [
            (total / 1_000_000_000).to_le_bytes(),
            (total % 1_000_000_000).to_le_bytes(),
        ]
        .concat();
        let stored = mem::write_all(notification.pid, notification.args[1], &bytes);
        let response = if stored.is_ok() {
            Response::Value(0)
        } else {
            Response::Error(EFAULT)
        };
        self.listener.send(notification.id, response).map(drop)
    }

    /// Nobody waits a second time for the same word.
    pub fn forget_last_words(&mut self, pid: i32) {
        let silent: Vec<i32> = self.ledger.ended().into_iter().chain([pid]).collect();
        for pid in silent {
            self.set_away(pid, false);
        }
        self.settle();
    }

    /// A host has said something, or time has passed: calls that waited for it are answered.
    pub fn retry_waiting(&mut self) -> io::Result<()> {
        let now = Instant::now();
        self.retry_stopped(now);
        for held in std::mem::take(&mut self.held) {
            match &held {
                Held::Question(question) if let Some(answer) = self.answer(question) => {
                    self.listener.send(question.notification.id, answer)?;
                }
                _ => self.held.push(held),
            }
        }
        Ok(())
    }

    /// Until when somebody waits for a host's last word.
    pub fn waits_until(&self) -> Option<Instant> {
        let stopped = self.observed.values().filter_map(Observed::until);
        let questions = self.held.iter().filter_map(|held| match held {
            Held::Question(question) => Some(question.until),
            Held::Mover { .. } => None,
        });
        stopped.chain(questions).min()
    }

    /// A mover has told `pid` to stop: its calls are repeated where it goes.
    pub fn repeat_held(&mut self, pid: i32) {
        for notification in self.take_held(pid) {
            self.answer_late(&notification, Response::Error(ERESTARTNOINTR as i32));
        }
    }

    /// The mover is gone and the process still here: its calls are made now.
    pub fn release_held(&mut self, pid: i32) {
        for notification in self.take_held(pid) {
            if let Err(error) = self.time_asked(notification) {
                log::warn!("a call of {pid} could not be answered: {error}");
            }
        }
    }

    fn take_held(&mut self, wanted: i32) -> Vec<Notification> {
        let waits = |held: &mut Held| matches!(held, Held::Mover { pid, .. } if *pid == wanted);
        let taken = self.held.extract_if(.., waits);
        let notification = |held| match held {
            Held::Mover { notification, .. } => Some(notification),
            Held::Question(_) => None,
        };
        taken.filter_map(notification).collect()
    }

    /// A host asks, through the deputy of its guest `pid`, for what home knows of time used elsewhere: `mode` 0: by process `of`; 1: by
    /// children of the guest; 2: by its child `of` and that one's children.
    pub fn host_asks(
        &mut self,
        notification: &Notification,
        pid: i32,
        mode: u32,
        of: i32,
    ) -> Option<Response> {
        let whose = match mode {
            0 => Whose::Of(of),
            1 => Whose::Children,
            _ => Whose::Waited,
        };
        let until = Instant::now() + LAST_WORD;
        let question = Question {
            notification: *notification,
            pid,
            whose,
            of,
            until,
        };
        let answer = self.answer(&question);
        if answer.is_none() {
            self.held.push(Held::Question(question));
        }
        answer
    }

    /// Nanoseconds as the value of the call; `None` while a host has not said its last word.
    fn answer(&mut self, question: &Question) -> Option<Response> {
        let Question {
            pid,
            whose,
            of,
            until,
            ..
        } = *question;
        self.settle();
        if !self.is_known(pid, whose, Some(of)) {
            if Instant::now() < until {
                return None;
            }
            self.forget_last_words(pid);
        }
        let Elsewhere { own, children } = self.elsewhere(pid, whose, Some(of));
        Some(Response::Value(if whose == Whose::Children {
            children
        } else {
            own
        } as i64))
    }
}
