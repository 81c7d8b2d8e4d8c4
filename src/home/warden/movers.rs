//! Orders to move, and the movers that carry out those which touch home.

use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use crate::home::mover::{FromMover, Job, Order, OutJob, seize};
use crate::home::warden::freezer::is_automatic;
use crate::home::warden::state::{Mover, Moving, Proc, Told, Warden};
use crate::sys::spawn;
use crate::wire::control::{FromMosd, Frozen, Outcome, Place, Target, ToMosd};
use crate::wire::ctl::ToHost;
use crate::wire::frame::FrameBuffer;
use crate::wire::node::Opening;

impl Warden {
    pub fn mosd_readable(&mut self) {
        loop {
            let Some(client) = &mut self.client else {
                return;
            };
            match client.try_recv() {
                Ok(Some((message, fd))) => self.mosd_says(message, fd),
                Ok(None) => return,
                Err(error) => {
                    log::info!("mosd is gone: {error}");
                    self.client = None;
                    return;
                }
            }
        }
    }

    pub fn to_mosd(&mut self, message: &ToMosd) {
        // When mosd is gone nobody waits for this any more; the loop connects again.
        if let Some(client) = &mut self.client
            && client.send(message).is_err()
        {
            self.client = None;
        }
    }

    fn mosd_says(&mut self, message: FromMosd, fd: Option<OwnedFd>) {
        match (message, fd) {
            (FromMosd::ListYours { id }, _) => {
                let procs = self.infos();
                self.to_mosd(&ToMosd::Mine { id, procs });
            }
            (FromMosd::Move { id, pid, to }, _) => self.order(pid, Moving::new(Some(id), to)),
            (FromMosd::Shake { nodes }, _) => self.shake(nodes),
            (FromMosd::Weigh { id }, _) => {
                let procs = self.weights();
                self.to_mosd(&ToMosd::Weights { id, procs });
            }
            (
                FromMosd::Arrived {
                    opening: Opening::Ctl { pid, .. },
                },
                Some(fd),
            ) => self.host_connected(pid, fd),
            (
                FromMosd::Arrived {
                    opening: Opening::Return { pid, .. } | Opening::Evacuated { pid, .. },
                },
                Some(fd),
            ) => self.coming_home(pid, fd),
            _ => {}
        }
    }

    /// Has a process moved; the outcome goes to whoever asked.
    pub fn order(&mut self, pid: i32, moving: Moving) {
        if !self.alive(pid) {
            return self.outcome(pid, &moving, Outcome::Gone);
        }
        let held = self.is_held(pid);
        self.look_frozen(pid);
        let Some(proc) = self.procs.get_mut(&pid) else {
            return;
        };
        if proc.native {
            return self.outcome(
                pid,
                &moving,
                Outcome::Stayed("it runs natively (mosnative)".to_owned()),
            );
        }
        if proc.moving.is_some() {
            return self.outcome(
                pid,
                &moving,
                Outcome::Stayed("another move is under way".to_owned()),
            );
        }
        let mosrun = self.launch.is_some() && pid == self.root && moving.start.is_none();
        if mosrun || held {
            // It becomes its program now, or is on its way home and its mover still holds it.
            proc.moving = Some(moving);
            return;
        }
        if proc.frozen != Frozen::No {
            return self.order_frozen(pid, moving);
        }
        if !proc.settings.freezable && is_automatic(moving.to) {
            let why = "it is not to be frozen automatically".to_owned();
            return self.outcome(pid, &moving, Outcome::Stayed(why));
        }
        let place = proc.place;
        let free = place != Place::Home || self.is_free_for(pid, moving.to);
        let busy = moving.start.is_none() && self.is_busy();
        let Some(proc) = self.procs.get_mut(&pid) else {
            return;
        };
        if !free {
            proc.moving = Some(moving);
            return;
        }
        match (proc.place, moving.to) {
            (_, Target::Continue) => self.outcome(pid, &moving, Outcome::Done),
            (Place::Home, Target::Freeze { why, kill }) => {
                proc.moving = Some(moving);
                self.freeze(pid, Order { why, kill });
            }
            (Place::Home, Target::Home) | (_, Target::Best) => {
                self.outcome(pid, &moving, Outcome::Done)
            }
            (Place::Home, Target::Node(node)) if node == self.me => {
                self.outcome(pid, &moving, Outcome::Done)
            }
            (Place::Home, Target::Node(_)) if busy => {
                proc.moving = Some(moving);
                self.departures.push_back(pid);
            }
            (Place::Home, Target::Node(node)) => {
                let start = moving.start;
                proc.moving = Some(moving);
                if let Err(error) = self.send_out(pid, node, start) {
                    self.moved(
                        pid,
                        Outcome::Stayed(format!("no mover could be started: {error}")),
                    );
                }
            }
            _ => {
                proc.moving = Some(moving);
                self.order_waits(pid);
            }
        }
    }

    /// Nobody else traces a process at home that a mover is to trace.
    fn is_free_for(&mut self, pid: i32, to: Target) -> bool {
        let traced = match to {
            Target::Node(node) => node != self.me,
            Target::Freeze { .. } => true,
            _ => false,
        };
        !traced || self.stop_observing(pid)
    }

    /// Passes an order on to the host of an away process, if one speaks for it already: otherwise it does soon.
    pub fn order_waits(&mut self, pid: i32) {
        if self
            .movers
            .values()
            .any(|mover| mover.pid == pid && mover.out.is_some())
        {
            // It is still the order to leave home.
            return;
        }
        let Some(Proc {
            ctl: Some(ctl),
            moving: Some(moving),
            ..
        }) = self.procs.get_mut(&pid)
        else {
            return;
        };
        if moving.told.is_some() {
            return;
        }
        self.next += 1;
        let (id, ctl) = (self.next, *ctl);
        moving.told = Some(Told { number: id, ctl });
        let to = match moving.to {
            Target::Node(node) if node == self.me => Target::Home,
            // It comes home first.
            Target::Freeze { .. } => Target::Home,
            to => to,
        };
        if !self.to_host(ctl, &ToHost::Move { pid, id, to }) {
            self.moved(pid, Outcome::Stayed("its host does not answer".to_owned()));
        }
    }

    fn send_out(&mut self, pid: i32, node: Ipv4Addr, start: Option<bool>) -> io::Result<()> {
        let Some(job) = self.out_job(pid, node, start) else {
            return Ok(());
        };
        let out = Some((node, job.nmigs));
        self.set_away(pid, true);
        self.start_mover(pid, &Job::Out(job), out, None)
    }

    /// What a mover must know of a process at home.
    pub fn out_job(&self, pid: i32, node: Ipv4Addr, start: Option<bool>) -> Option<OutJob> {
        let proc = self.procs.get(&pid)?;
        Some(OutJob {
            pid,
            node,
            tree: self.tree,
            nmigs: proc.settings.nmigs,
            cpu_away_ns: self.ledger.own(pid),
            unsupported: proc.settings.unsupported,
            filters: self.filters,
            start,
            portable: self.portable.filter(|_| pid == self.root),
            saw_more: proc.saw_more,
        })
    }

    fn coming_home(&mut self, pid: i32, fd: OwnedFd) {
        if !self.alive(pid) {
            return;
        }
        if self.is_held(pid) {
            // Its host has given up another move home, whose mover may still be writing.
            self.returning.push((pid, fd));
            return;
        }
        let job = Job::Back {
            pid,
            tree: self.tree,
        };
        if let Err(error) = self.start_mover(pid, &job, None, Some(fd)) {
            log::warn!("process {pid} cannot come home: {error}");
        }
    }

    pub fn start_mover(
        &mut self,
        pid: i32,
        job: &Job,
        out: Option<(Ipv4Addr, u32)>,
        connection: Option<OwnedFd>,
    ) -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let text = ron::to_string(job).map_err(io::Error::other)?;
        let mut fds = vec![OwnedFd::from(theirs)];
        fds.extend(connection);
        let child = spawn::same_binary("mos-mover", &[&text], fds)?;
        let id = self.number();
        self.movers.insert(
            id,
            Mover {
                stream: ours,
                buffer: FrameBuffer::new(1 << 16),
                child,
                pid,
                out,
                freezes: matches!(job, Job::Freeze(..) | Job::Thaw { .. }),
                done: false,
                leases: Vec::new(),
            },
        );
        Ok(())
    }

    pub fn mover_readable(&mut self, id: u64) {
        let Some(mover) = self.movers.get_mut(&id) else {
            return;
        };
        let pid = mover.pid;
        let mut bytes = [0; 4096];
        let mut open = match mover.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(n) => {
                mover.buffer.feed(&bytes[..n]);
                true
            }
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
        };
        let mut messages = Vec::new();
        loop {
            match mover.buffer.next::<FromMover>() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    log::warn!("mover of {pid}: {error}");
                    open = false;
                    break;
                }
            }
        }
        for message in messages {
            match message {
                FromMover::Attached => {
                    self.may_start(pid, Ok(()));
                }
                FromMover::Views(views) => self.lend(id, &views),
                FromMover::Seized => self.seized(pid),
                FromMover::Home { cpu_ns, nmigs } => self.comes_home(pid, cpu_ns, nmigs),
                FromMover::Result(outcome) => {
                    self.mover_result(id, outcome);
                    self.let_return(pid);
                }
            }
        }
        if !open {
            self.mover_ended(id);
        }
    }

    fn mover_result(&mut self, id: u64, outcome: Outcome) {
        let Some(mover) = self.movers.get_mut(&id) else {
            return;
        };
        mover.done = true;
        if mover.freezes {
            let pid = mover.pid;
            return self.froze(pid, outcome);
        }
        let (pid, out) = (mover.pid, mover.out.take());
        match (out, &outcome) {
            (Some(_), done) if done.is_done() => self.hand_on(id),
            (None, done) if done.is_done() => self.give_back(pid),
            _ => {}
        }
        if let Some((node, nmigs)) = out {
            if outcome.is_done() {
                self.departed(pid, node, nmigs);
            }
            return self.moved(pid, outcome);
        }
        if !outcome.is_done() {
            self.wake_orphan(pid);
            return self.order_again(pid);
        }
        let me = self.me;
        // The mover has told how often it has moved.
        let nmigs = self.procs.get(&pid).map(|proc| proc.settings.nmigs);
        self.at_home(pid, nmigs);
        // An order to come home is answered by the host, or here if the host is gone before it can. Another order is still to be
        // obeyed: the process came home by itself, for a call that can be made here only.
        let home = |moving: &Moving| moving.to == Target::Home || moving.to == Target::Node(me);
        let moving = self.procs.get(&pid).and_then(|proc| proc.moving.as_ref());
        if moving.is_some_and(home) {
            self.moved(pid, outcome);
        } else {
            self.order_again(pid);
        }
    }

    /// The mover of a process has ended, or is done: who waits for that begins.
    fn let_return(&mut self, pid: i32) {
        while !self.is_held(pid)
            && let Some(at) = self.returning.iter().position(|waits| waits.0 == pid)
        {
            let (_, fd) = self.returning.remove(at);
            self.coming_home(pid, fd);
        }
    }

    /// A deputy whose host has gone while a mover was with it waits in a call, and does not notice.
    fn wake_orphan(&mut self, pid: i32) {
        let lost = |proc: &Proc| matches!(proc.place, Place::Away(_)) && proc.ctl.is_none();
        let lost = self.procs.get(&pid).is_some_and(lost);
        if lost && !self.is_held(pid) && seize::is_deputy(pid).unwrap_or(false) {
            self.interrupt(0, pid);
        }
    }

    /// Whether a mover has the process now.
    pub fn is_held(&self, pid: i32) -> bool {
        let mut movers = self.movers.values();
        movers.any(|mover| mover.pid == pid && !mover.done)
    }

    /// An order that no host has, or has any more, is given again to whoever has the process now.
    pub fn order_again(&mut self, pid: i32) {
        let Some(proc) = self.procs.get_mut(&pid) else {
            return;
        };
        let lost = proc.place != Place::Home && proc.ctl.is_none();
        let told = |moving: &Moving| moving.told.is_some();
        if lost || proc.moving.as_ref().is_none_or(told) {
            return;
        }
        if let Some(moving) = proc.moving.take() {
            self.order(pid, moving);
        }
    }

    /// A process has left home. Its host may have said so before; it may even have moved on.
    pub fn departed(&mut self, pid: i32, node: Ipv4Addr, nmigs: u32) {
        if let Some(proc) = self.procs.get_mut(&pid)
            && proc.settings.nmigs == nmigs
        {
            proc.place = Place::Away(node);
            proc.ctl = None;
            proc.settings.nmigs = nmigs + 1;
        }
    }

    /// A mover has all of `pid`, which goes on here right now.
    fn comes_home(&mut self, pid: i32, cpu_ns: u64, nmigs: u32) {
        self.used_away(pid, cpu_ns);
        self.set_away(pid, false);
        if let Some(proc) = self.procs.get_mut(&pid) {
            proc.settings.nmigs = nmigs;
        }
    }

    /// A mover ended; if it said nothing before, it was killed.
    fn mover_ended(&mut self, id: u64) {
        let killed = |mover: &Mover| mover.out.is_some() && !mover.leases.is_empty();
        if self.movers.get(&id).is_some_and(killed) {
            self.hand_on(id);
        }
        let Some(mut mover) = self.movers.remove(&id) else {
            return;
        };
        if let Err(error) = mover.child.wait() {
            log::warn!("mover of {}: {error}", mover.pid);
        }
        if mover.freezes && !mover.done {
            self.freezer_killed(mover.pid);
        }
        if mover.out.is_some() {
            let left = self
                .procs
                .get(&mover.pid)
                .is_some_and(|proc| proc.place != Place::Home);
            let killed = || Outcome::Stayed("its mover was killed".to_owned());
            self.moved(mover.pid, if left { Outcome::Done } else { killed() });
        }
        self.wake_waiter(mover.pid);
        if !mover.done {
            self.wake_orphan(mover.pid);
        }
        self.order_again(mover.pid);
        self.let_return(mover.pid);
        self.let_depart();
    }

    /// A move is over.
    pub fn moved(&mut self, pid: i32, outcome: Outcome) {
        let Some(proc) = self.procs.get_mut(&pid) else {
            if !outcome.is_done() {
                // It has ended, on its way out or before.
                self.set_away(pid, false);
            }
            return;
        };
        let Some(moving) = proc.moving.take() else {
            return;
        };
        proc.stays = match &outcome {
            Outcome::Stayed(why) => Some(why.clone()),
            _ => None,
        };
        proc.seized = false;
        if proc.place == Place::Home && !outcome.is_done() {
            self.set_away(pid, false);
        }
        self.asked_outcome(pid, moving.to, &outcome);
        self.outcome(pid, &moving, outcome);
        self.release_held(pid);
        self.wake_waiter(pid);
    }

    pub fn outcome(&mut self, pid: i32, moving: &Moving, outcome: Outcome) {
        if let Some(forced) = moving.start {
            self.start_over(pid, moving.to, forced, &outcome);
        }
        if let Some(id) = moving.id {
            self.to_mosd(&ToMosd::Moved { id, outcome });
        }
    }

    /// A host's control connection.
    fn host_connected(&mut self, pid: i32, fd: OwnedFd) {
        let stream = TcpStream::from(fd);
        self.add_ctl(pid, stream);
    }
}
