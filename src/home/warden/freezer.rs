//! Orders to freeze a process, and to have it go on.

use crate::home::mover::{Job, Order, park};
use crate::home::warden::state::{Moving, Warden};
use crate::wire::control::{Frozen, Outcome, Place, Target};

/// Whether it is an order of the policy, which the user may forbid.
pub fn is_automatic(to: Target) -> bool {
    let automatic = Frozen::Automatic;
    matches!(to, Target::Freeze { why, .. } if why == automatic)
}

impl Warden {
    /// Starts a mover that freezes a process which is at home; its `moving` is the order.
    pub fn freeze(&mut self, pid: i32, order: Order) {
        if let Some(job) = self.out_job(pid, self.me, None) {
            self.start_freezer(pid, &Job::Freeze(job, order));
        }
    }

    /// Whether it is frozen is known by the process itself: movers that were killed, or that a warden before this one has started, do not
    /// tell.
    pub fn look_frozen(&mut self, pid: i32) {
        if let Some(proc) = self.procs.get_mut(&pid) {
            proc.frozen = match proc.place {
                Place::Home => park::why(pid),
                _ => Frozen::No,
            };
        }
    }

    /// A frozen process takes no other order than to go on.
    pub fn order_frozen(&mut self, pid: i32, moving: Moving) {
        match moving.to {
            Target::Continue => {
                if let Some(proc) = self.procs.get_mut(&pid) {
                    proc.moving = Some(moving);
                }
                self.start_freezer(pid, &Job::Thaw { pid });
            }
            Target::Freeze { why, .. } => {
                let outcome = self.frozen_again(pid, why);
                self.outcome(pid, &moving, outcome);
            }
            Target::Node(node) if node != self.me => {
                let frozen = Outcome::Stayed("it is frozen".to_owned());
                self.outcome(pid, &moving, frozen);
            }
            _ => self.outcome(pid, &moving, Outcome::Done),
        }
    }

    /// Frozen by order, it does not go on by itself any more.
    fn frozen_again(&mut self, pid: i32, why: Frozen) -> Outcome {
        let Some(proc) = self.procs.get_mut(&pid) else {
            return Outcome::Gone;
        };
        if why == Frozen::Automatic {
            return Outcome::Done;
        }
        let noted = park::parked(pid).and_then(|parked| match parked {
            Some(parked) => park::set_why(pid, &parked, why),
            None => Ok(()),
        });
        match noted {
            Ok(()) => {
                proc.frozen = why;
                Outcome::Done
            }
            Err(error) => Outcome::Stayed(error.to_string()),
        }
    }

    fn start_freezer(&mut self, pid: i32, job: &Job) {
        if let Err(error) = self.start_mover(pid, job, None, None) {
            let why = format!("no mover could be started: {error}");
            self.moved(pid, Outcome::Stayed(why));
        }
    }

    /// A mover has frozen its process, or has had it go on, or has not.
    pub fn froze(&mut self, pid: i32, outcome: Outcome) {
        self.look_frozen(pid);
        self.moved(pid, outcome);
        self.order_again(pid);
    }

    /// It was killed before it could say; the process itself knows.
    pub fn freezer_killed(&mut self, pid: i32) {
        let frozen = park::why(pid) != Frozen::No;
        let ordered = self.procs.get(&pid).and_then(|proc| proc.moving.as_ref());
        let wanted = ordered.is_some_and(|moving| moving.to != Target::Continue);
        let outcome = match frozen == wanted {
            true => Outcome::Done,
            false => Outcome::Stayed("its mover was killed".to_owned()),
        };
        self.froze(pid, outcome);
    }

    /// A host says what became of its order. One whose process is to be frozen has only come home.
    pub fn host_moved(&mut self, pid: i32, outcome: Outcome) {
        let moving = self
            .procs
            .get_mut(&pid)
            .and_then(|proc| proc.moving.as_mut());
        match moving {
            Some(moving) if matches!(moving.to, Target::Freeze { .. }) && outcome.is_done() => {
                moving.told = None;
                self.order_again(pid);
            }
            _ => self.moved(pid, outcome),
        }
    }
}
