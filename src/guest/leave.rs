//! The guest moves on, or home: it is stopped, captured and sent; if that fails it runs on here.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::guest::host::{Ending, Host, Order, Phase, Thread};
use crate::guest::live;
use crate::guest::stop::alive;
use crate::image::capture::Calls;
use crate::image::clocks::Moment;
use crate::image::{self, Area, Meta, areas, capture, restore};
use crate::migrate::deputy::Deputy;
use crate::migrate::mirror::mirrored_all;
use crate::migrate::source::{self, Stayed};
use crate::migrate::{limit_silence, tracee};
use crate::sys::inject::Injector;
use crate::sys::ptrace::Stopped;
use crate::wire::channel::{DATA, STUB_SIZE};
use crate::wire::control::{Figures, Outcome, Target};
use crate::wire::ctl::FromHost;
use crate::wire::node::{Offer, Opening};

/// How soon a guest that has to go home tries again, at first and at last: home may be busy, or its mosd about to be restarted.
const AGAIN: Duration = Duration::from_millis(5);
const AGAIN_AT_LEAST: Duration = Duration::from_secs(1);

impl Host {
    /// Why an order cannot even be tried.
    pub fn refuse(&self, order: &Order) -> Option<Outcome> {
        match order.to {
            _ if self.leaving || self.live.is_some() => {
                Some(Outcome::Stayed("another move is under way".to_owned()))
            }
            Target::Node(node) if node == self.me => Some(Outcome::Done),
            Target::Best => Some(Outcome::Done),
            Target::Freeze { .. } | Target::Continue => Some(Outcome::Stayed(
                "guest processes are frozen at home only".to_owned(),
            )),
            _ if self.halted => Some(Outcome::Stayed("it is stopped".to_owned())),
            _ => None,
        }
    }

    pub fn report(&mut self, order: &Order, outcome: Outcome) -> io::Result<()> {
        let pid = self.home_pid();
        if let Some(id) = order.id {
            self.tell(&FromHost::Moved { pid, id, outcome });
        }
        Ok(())
    }

    /// Leaves if every thread is stopped, and no interruption is under way at home, which would meet the program there.
    pub fn leave_if_stopped(&mut self) -> io::Result<()> {
        let mut threads = self.threads.iter();
        if self.ending.is_none() && threads.all(|thread| thread.stopped && !thread.interrupting) {
            self.leave()
        } else {
            Ok(())
        }
    }

    /// The guest is stopped on its way out of the kernel (or at a fault) and leaves now.
    fn leave(&mut self) -> io::Result<()> {
        let order = self.order.take().unwrap_or(Order {
            id: None,
            to: Target::Home,
        });
        // What had begun is given up for a move that cannot wait. Its order is given again to whoever has the process then.
        if let Some(live) = self.live.take() {
            live.give_up();
        }
        let mut left = self.try_leave(order.to);
        if order.to == Target::Home && order.id.is_none() {
            // It has to go: without home it cannot go on. A guest that has made itself unmovable is given up.
            let mut pause = AGAIN;
            while left.is_err() && self.home_is_there() {
                self.capture().map_err(|why| io::Error::other(why.0))?;
                std::thread::sleep(pause);
                pause = (pause * 2).min(AGAIN_AT_LEAST);
                left = self.try_leave(order.to);
            }
        }
        match left {
            Ok(figures) => {
                log::info!(
                    "process {} left after {} ms of CPU time",
                    self.home_pid(),
                    self.cpu.nanoseconds() / 1_000_000
                );
                // The warden may already have closed: that it moved is known at home from the receiver too.
                let _ = self.report(&order, Outcome::Moved(figures));
                self.ending = Some(Ending::Moved);
                Ok(())
            }
            Err(why) => self.stay(&order, why),
        }
    }

    fn home_is_there(&mut self) -> bool {
        let t = self.any();
        self.threads[t]
            .deputy
            .raw_call(crate::sys::abi::SYS_GETPID, [0; 6])
            .is_ok()
    }

    fn stay(&mut self, order: &Order, why: Stayed) -> io::Result<()> {
        log::info!("process {} stays: {why}", self.home_pid());
        self.leaving = false;
        self.report(order, Outcome::Stayed(why.0))?;
        if order.to == Target::Home {
            // Home may have got as far as making the program's own actions its own again.
            let mirrored = mirrored_all(&self.actions, self.meta.stub);
            let t = self.any();
            self.threads[t].deputy.set_actions(&mirrored)?;
        }
        for t in 0..self.threads.len() {
            self.stay_thread(t)?;
        }
        Ok(())
    }

    fn stay_thread(&mut self, t: usize) -> io::Result<()> {
        self.sync_mask(t)?;
        self.take_queued_signals(t)?;
        // Some were only taken down for the image.
        self.send_pending(t)?;
        if self.halted {
            Ok(())
        } else {
            self.go_on(t, 0)
        }
    }

    fn try_leave(&mut self, to: Target) -> Result<Figures, Stayed> {
        let node = self.goal(to);
        let to_home = node == self.meta.home.node;
        let mut conn = match self.begun.take() {
            Some((begun, conn)) if begun == to => conn,
            _ => {
                let (conn, distant) = self.connect(node)?;
                let guest = self.guest();
                let mut outgoing = live::lock(&self.outgoing);
                outgoing.begin(guest, to_home);
                outgoing.set_distant(&conn, distant)?;
                drop(outgoing);
                conn
            }
        };
        let mut meta = self.capture()?;
        meta.fit_frames(self.guest(), !to_home)?;
        match to_home {
            true => meta.cut_state(),
            false => meta.fit_state()?,
        }
        live::lock(&self.outgoing).last(&mut conn, meta)?;
        self.give(&mut conn, node)
    }

    /// The node that an order means.
    pub fn goal(&self, to: Target) -> Ipv4Addr {
        match to {
            Target::Node(node) => node,
            _ => self.meta.home.node,
        }
    }

    /// A connection to a node that takes the guest, and whether that is distant.
    pub fn connect(&mut self, node: Ipv4Addr) -> Result<(TcpStream, bool), Stayed> {
        let home = self.meta.home.node;
        let (mut conn, distant) = if node == home {
            self.client.connect_to_return(node)?
        } else {
            self.client.connect_to_send(node, home)?
        };
        limit_silence(&conn)?;
        source::offer(&mut conn, &self.opening(node)?)?;
        // From now on the memory at home is written: there is no way back to the state at departure. If all threads are in calls,
        // there was none before.
        let idle = |thread: &Thread| !matches!(thread.phase, Phase::InCall(_) | Phase::Ending(_));
        if node == home
            && let Some(t) = self.threads.iter().position(idle)
        {
            self.threads[t].deputy.commit()?;
            self.take_queued_signals(t)?;
        }
        Ok((conn, distant))
    }

    fn opening(&self, node: Ipv4Addr) -> io::Result<Opening> {
        let offer = Offer {
            home: self.meta.home.node,
            home_pid: self.meta.home.pid,
            tree: self.meta.home.tree,
            uid: self.meta.home.uid,
            gid: self.meta.home.gid,
            bytes: areas::areas(self.guest())?
                .iter()
                .map(|area| area.end - area.start)
                .sum(),
            needs: self.meta.needs,
            begins: false,
            nmigs: self.meta.nmigs,
        };
        let (tree, pid) = (offer.tree, offer.home_pid);
        Ok(if node != self.meta.home.node {
            Opening::Migrate(offer)
        } else if self.evacuated {
            Opening::Evacuated { tree, pid, offer }
        } else {
            Opening::Return { tree, pid, offer }
        })
    }

    /// The image of the stopped guest. Signals that home delivers from now on wait there.
    fn capture(&mut self) -> Result<Meta, Stayed> {
        for thread in &mut self.threads {
            thread.deputy.set_mask(!0)?;
            thread.home_mask = !0;
            while let Some(info) = thread.deputy.signals.pop_front() {
                thread.pending.push_back(info);
            }
        }
        let mut areas = areas::of_guest(self.guest(), &self.meta.areas)?;
        let ours = self.meta.stub..self.meta.stub + STUB_SIZE;
        areas.retain(|area| !ours.contains(&area.start));
        let mut brk = 0;
        let mut threads = Vec::with_capacity(self.threads.len());
        for thread in &self.threads {
            let (image, inner) = thread.capture(self.meta.stub, &areas)?;
            brk = inner.brk;
            threads.push(image);
        }
        self.files.label(&mut areas)?;
        Ok(Meta {
            threads,
            areas,
            mm: crate::image::MmLayout {
                brk,
                ..self.meta.mm
            },
            actions: self.actions.clone(),
            cpu_away_ns: self.cpu_away(),
            sent: Moment::now(self.ahead.0),
            ..self.meta.clone()
        })
    }

    fn give(&mut self, conn: &mut TcpStream, node: Ipv4Addr) -> Result<Figures, Stayed> {
        let toll = live::lock(&self.outgoing).toll(self.stopped_at);
        let mut deputies: Vec<&mut Deputy> = self
            .threads
            .iter_mut()
            .map(|thread| &mut thread.deputy)
            .collect();
        let figures = source::hand_over(conn, &mut deputies, self.meta.stub, node, toll)?;
        // The receiver has the deputies: this copy must never run again.
        alive(tracee::kill(self.group))?;
        Ok(figures)
    }
}

impl Thread {
    /// The stopped thread's image; and what its calls tell.
    fn capture(&self, stub: u64, areas: &[Area]) -> io::Result<(image::Thread, capture::Inner)> {
        let mut captured = capture::thread_state(self.tid, areas)?;
        let resume = self.leaves_futex(stub, &mut captured)?;
        let injector = Injector::new(Stopped::known(self.tid), restore::gadget(stub))?;
        let inner = capture::local_state(&mut capture::Injected::new(injector, stub + DATA))?;
        let image = image::Thread {
            tid: self.home_tid,
            stub: self.deputy.base,
            channel_fd: self.deputy.channel_fd,
            rseq_at_home: self.rseq_at_home,
            altstack: inner.altstack,
            clear_tid: self.clear_tid,
            interrupted: self.interrupted_call(&captured),
            mask: self.mask,
            pending: self.pending.iter().map(|info| info.to_vec()).collect(),
            resume,
            ..captured
        };
        Ok((image, inner))
    }
}
