//! The host's state and its loop.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::guest::ctl::Ctl;
use crate::guest::live::Live;
use crate::guest::repeat::Repeated;
use crate::image::sandbox::Numbers;
use crate::image::{self, Meta, Resume};
use crate::migrate::deputy::{Deputy, SigInfo};
use crate::migrate::live::Outgoing;
use crate::sys::poll::{Source, Watch};
use crate::sys::seccomp::{Listener, Notification};
use crate::sys::tracked::CpuClock;
use crate::sys::unix::SignalFd;
use crate::sys::writes::WriteWatch;
use crate::syscall::{Fds, Forward};
use crate::wire::client::Client;
use crate::wire::control::{FromMosd, Frozen, Outcome, Place, ProcInfo, Target, ToMosd, Weighed};
use crate::wire::ctl::{FromHost, ToHost};

/// How long an interruption of a call may take before it is asked for again.
const NUDGE: Duration = Duration::from_millis(100);
/// How often home is told of the CPU time used here.
const CPU_REPORT: Duration = Duration::from_secs(1);
/// How often a mosd that ended is looked for.
const MOSD_AGAIN: Duration = Duration::from_millis(200);

/// Descriptors that are waited for whatever the guest's threads are.
pub const FIXED: usize = 5;

/// A program's call that the deputy executes.
pub struct Call {
    pub notification: Notification,
    pub forward: Forward,
    pub issued: Instant,
    /// What is left of a relative time-out, at `issued`.
    pub left: Option<Duration>,
    /// Signals that the deputy caught since the call was issued.
    pub signalled: bool,
    /// It was interrupted for a move: a partial result is then not the program's to see.
    pub disturbed: bool,
    /// The home process was stopped (`SIGSTOP`) meanwhile: some calls then fail with `EINTR`.
    pub halted: bool,
    /// Bytes that earlier parts of a divided transfer have moved.
    pub done: u64,
    /// It is the rest of a transfer with a file, which nothing interrupts.
    pub steady: bool,
}

/// A sleep that the host itself waits out.
pub struct Sleep {
    pub notification: Notification,
    pub until: Instant,
    /// Where the remaining time is written when a handler interrupts it.
    pub remainder: u64,
    pub absolute: bool,
}

pub enum Phase {
    Running,
    InCall(Box<Call>),
    Sleeping(Sleep),
    /// It is to map a file shared, and the warden is asked whether that may be here.
    Asking(Notification),
    /// It ends: its deputy does first.
    Ending(Notification),
}

/// An order to leave.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Set when somebody waits for the outcome.
    pub id: Option<u64>,
    pub to: Target,
}

/// Why a host ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// The deputy closed its channel: the process called exec, or ended.
    HomeGone,
    Moved,
    /// The guest itself died (only a lack of memory or an administrator can do that).
    GuestDied,
}

/// One thread of the guest, with its deputy.
pub struct Thread {
    /// Its number at this node and at home.
    pub tid: i32,
    pub home_tid: i32,
    pub deputy: Deputy,
    /// Its signal mask now, and the one that the deputy has.
    pub mask: u64,
    pub home_mask: u64,
    /// Sent to it, not delivered yet.
    pub pending: VecDeque<Box<SigInfo>>,
    /// Delivery stops that were passed over, to be sent to it again.
    pub resend: Vec<i32>,
    pub phase: Phase,
    /// The deputy has just been given a new call: what was interrupted, and further pieces, must leave turns to others.
    pub just_asked: bool,
    /// The call in front of which it has arrived, and how that is continued: both hold until it makes a call or runs a handler.
    pub repeats: Option<Repeated>,
    pub resume: Resume,
    /// When the last wait on a futex ends that had a relative time-out, if no other call came after it.
    pub timed: Option<Instant>,
    pub stopped: bool,
    /// The last call was answered with -ERESTARTSYS.
    pub told_to_restart: bool,
    /// A larger staging area at home: address and length.
    pub big: Option<(u64, u64)>,
    /// When the deputy's call is to be interrupted again.
    pub nudge_at: Option<Instant>,
    /// The warden was asked for that and has not said that it is over.
    pub interrupting: bool,
    pub clear_tid: u64,
    pub rseq_at_home: bool,
}

impl Thread {
    /// One that has just arrived, stopped, as `tid`.
    pub fn arrived(image: &image::Thread, tid: i32, deputy: Deputy) -> Thread {
        Thread {
            tid,
            home_tid: image.tid,
            deputy,
            mask: image.mask,
            home_mask: !0,
            pending: VecDeque::new(),
            resend: Vec::new(),
            phase: Phase::Running,
            just_asked: false,
            repeats: Repeated::of(image),
            resume: image.resume.clone(),
            timed: None,
            stopped: true,
            told_to_restart: false,
            big: None,
            nudge_at: None,
            interrupting: false,
            clear_tid: image.clear_tid,
            rseq_at_home: image.rseq_at_home,
        }
    }
}

/// What the policy of this node wants to know of the guest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weight {
    locked: bool,
    needmem: u32,
    decay: u32,
    cpujob: bool,
    /// Calls that the guest could not make itself.
    pub calls: u64,
    /// What these carried to its home and back.
    pub bytes: u64,
}

pub struct Host {
    pub client: Client,
    /// When a mosd that ended is looked for again.
    pub mosd_at: Option<Instant>,
    pub ctl: Ctl,
    /// mosd sends the guest away.
    pub evacuated: bool,
    pub listener: Listener,
    /// Notifications of other threads that came while a call was injected, not served yet.
    pub early: Vec<Notification>,
    pub children: SignalFd,
    pub me: Ipv4Addr,
    pub port: u16,
    /// Everything of the process that does not change while it is here; areas and threads as they came.
    pub meta: Meta,
    /// The number here of the process.
    pub group: i32,
    /// Those that live; the first is not always the one that was first.
    pub threads: Vec<Thread>,
    /// Numbers here of threads that have ended and are to be reaped.
    pub departed: Vec<i32>,
    /// Stubs at home of threads that have ended, or are about to: base and number there.
    pub retired: Vec<(u64, i32)>,
    /// The channels' descriptors at home.
    pub channels: Fds,
    /// Numbers new threads.
    pub numbers: Option<Numbers>,
    /// The kernel here knows the threads by the numbers that they have at home.
    pub numbered: bool,
    pub actions: Vec<[u64; 4]>,
    /// CLOCK_MONOTONIC and CLOCK_BOOTTIME of home minus those of this node, in nanoseconds.
    pub ahead: (i64, i64),
    /// File mappings of the guest, which are anonymous memory here.
    pub files: crate::guest::maps::FileMaps,
    /// Its memory, and what of it has been written here: with a move's own thread while it runs on.
    pub outgoing: Arc<Mutex<Outgoing>>,
    /// By which that is known.
    pub written: Option<Arc<WriteWatch>>,
    /// A move that has begun while the guest runs on.
    pub live: Option<Live>,
    /// What that has come to: the memory has been sent, but for the last round.
    pub begun: Option<(Target, TcpStream)>,
    pub order: Option<Order>,
    /// The guest was told to stop so that it can leave.
    pub leaving: bool,
    /// When it was told so last.
    pub stopped_at: Instant,
    /// The home process is stopped: the guest stays stopped.
    pub halted: bool,
    pub cpu: CpuClock,
    /// How much time used away the warden has been told of, and when it is told again.
    pub cpu_told: u64,
    pub cpu_at: Instant,
    pub ending: Option<Ending>,
    pub watch: Watch,
    /// What it watches, and what was ready there last: kept for their room.
    pub sources: Vec<Source>,
    pub ready: Vec<bool>,
    pub client_source: Source,
    pub listener_source: Source,
    pub children_source: Source,
    pub weight: Weight,
}

impl Host {
    pub fn home_pid(&self) -> i32 {
        self.meta.home.pid
    }

    /// Which thread has this number here.
    pub fn thread(&self, tid: i32) -> Option<usize> {
        self.threads.iter().position(|thread| thread.tid == tid)
    }

    /// A thread here to make calls by for the whole process.
    pub fn any(&self) -> usize {
        0
    }

    /// The number here of some thread: what the process is called by.
    pub fn guest(&self) -> i32 {
        self.threads[self.any()].tid
    }

    /// Serves the guest until it is no longer here.
    pub fn run(&mut self) -> io::Result<Ending> {
        loop {
            if let Some(ending) = self.ending.take() {
                return Ok(ending);
            }
            let mut ready = std::mem::take(&mut self.ready);
            self.wait(&mut ready)?;
            self.serve(&ready)?;
            self.ready = ready;
        }
    }

    fn serve(&mut self, ready: &[bool]) -> io::Result<()> {
        let (fixed, channels) = ready.split_at(FIXED);
        let with_news: Vec<i32> = self
            .threads
            .iter()
            .zip(channels)
            .filter(|(_, ready)| **ready)
            .map(|(thread, _)| thread.tid)
            .collect();
        for tid in with_news {
            match self.thread(tid) {
                Some(t) if self.ending.is_none() => self.channel_readable(t)?,
                _ => {}
            }
        }
        if fixed[0] && self.ending.is_none() {
            self.notified()?;
        }
        self.notified_early()?;
        if fixed[1] && self.ending.is_none() {
            while self.children.take().is_some() {}
            self.tracee_events()?;
        }
        if fixed[2] && self.ending.is_none() {
            self.ctl_readable()?;
        }
        if (fixed[3] || self.client.has_message()) && self.ending.is_none() {
            self.mosd_readable()?;
        }
        if fixed[4] && self.ending.is_none() {
            self.live_over()?;
        }
        if !self.ctl.is_connected() && self.threads.iter().any(|thread| thread.interrupting) {
            self.interruption_over(|_| true)?;
        }
        if !self.ctl.is_connected() {
            self.views_unanswered()?;
        }
        if self.ctl.retry_in().is_some_and(|wait| wait.is_zero()) {
            self.connect_warden();
        }
        self.look_for_mosd();
        if Instant::now() >= self.cpu_at {
            self.report_cpu();
        }
        for t in 0..self.threads.len() {
            self.nudge(t);
            self.check_sleep(t)?;
        }
        self.take_all_queued_signals()
    }

    /// An interruption can come just before the call that it is meant for; it is asked for again until the call is answered.
    fn nudge(&mut self, t: usize) {
        let thread = &mut self.threads[t];
        let waits = self.leaving && matches!(thread.phase, Phase::InCall(_));
        match thread.nudge_at {
            _ if !waits => thread.nudge_at = None,
            Some(at) if Instant::now() < at => {}
            _ if thread.interrupting => {}
            _ => {
                thread.nudge_at = Some(Instant::now() + NUDGE);
                thread.interrupting = true;
                let pid = thread.home_tid;
                self.tell(&FromHost::Interrupt { pid });
            }
        }
    }

    /// The warden has interrupted deputies, or is gone, and with it whatever it did to them.
    fn interruption_over(&mut self, of: impl Fn(&Thread) -> bool) -> io::Result<()> {
        for thread in self.threads.iter_mut().filter(|thread| of(thread)) {
            thread.interrupting = false;
        }
        if self.leaving {
            self.leave_if_stopped()
        } else {
            Ok(())
        }
    }

    /// Tells home how much CPU time was used away, if that has grown since it was last told.
    pub fn report_cpu(&mut self) {
        self.cpu_at = Instant::now() + CPU_REPORT;
        let (pid, ns) = (self.home_pid(), self.cpu_away());
        if ns > self.cpu_told {
            self.cpu_told = ns;
            self.tell(&FromHost::Cpu { pid, ns });
        }
    }

    /// The guest is no longer here.
    pub fn tell_left(&mut self) {
        let (pid, cpu_ns) = (self.home_pid(), self.cpu_away());
        self.tell(&FromHost::Left { pid, cpu_ns });
    }

    /// CPU time that the process has used at other nodes than home, here included, in nanoseconds.
    pub fn cpu_away(&self) -> u64 {
        self.meta.cpu_away_ns.saturating_add(self.cpu.nanoseconds())
    }

    /// Tells the warden, if it is there. A new one learns what counts when it is connected.
    pub fn tell(&mut self, message: &FromHost) {
        self.ctl.send(message);
    }

    /// Connects to the warden of the guest, also one that took over.
    pub fn connect_warden(&mut self) {
        self.ctl.connect(&self.client, &self.meta.home);
        let (pid, node, nmigs) = (self.home_pid(), self.me, self.meta.nmigs);
        self.tell(&FromHost::Running { pid, node, nmigs });
        // A new warden knows of nothing.
        self.cpu_told = 0;
        self.report_cpu();
    }

    fn ctl_readable(&mut self) -> io::Result<()> {
        for message in self.ctl.receive() {
            match message {
                ToHost::Move { id, to, .. } => self.ordered(Order { id: Some(id), to })?,
                ToHost::Stop { .. } => self.halt()?,
                ToHost::Continue { .. } => self.unhalt()?,
                ToHost::Settings {
                    locked,
                    needmem,
                    decay,
                    cpujob,
                    ..
                } => {
                    self.weight = Weight {
                        locked,
                        needmem,
                        decay,
                        cpujob,
                        ..self.weight
                    };
                }
                ToHost::View { tid, lent, .. } => self.view_answered(tid, lent)?,
                ToHost::Interrupted { pid } => {
                    self.interruption_over(|thread| thread.home_tid == pid)?
                }
            }
        }
        Ok(())
    }

    fn mosd_readable(&mut self) -> io::Result<()> {
        match self.client.recv() {
            Ok((FromMosd::ListYours { id }, _)) => {
                let procs = vec![self.info()];
                self.client.send(&ToMosd::Mine { id, procs })
            }
            Ok((FromMosd::Weigh { id }, _)) => {
                let procs = vec![self.weighed()];
                self.client.send(&ToMosd::Weights { id, procs })
            }
            Ok((FromMosd::Move { id, to, .. }, _)) => {
                self.client.send(&ToMosd::Moved {
                    id,
                    outcome: Outcome::Done,
                })?;
                self.ordered(Order { id: None, to })
            }
            Ok((FromMosd::Evacuate, _)) => {
                self.evacuated = true;
                let to = Target::Home;
                self.ordered(Order { id: None, to })
            }
            Ok(_) => Ok(()),
            // The guest needs mosd only to leave, and leaving connects anew: that there is none for a while harms nobody.
            Err(_) => {
                self.mosd_at = Some(Instant::now());
                Ok(())
            }
        }
    }

    /// mosd ended: this guest is made known to the next one.
    fn look_for_mosd(&mut self) {
        if self.mosd_at.is_some_and(|at| at <= Instant::now()) {
            let found = self.client.reconnect(&ToMosd::Host {
                home: self.meta.home.node,
            });
            self.client_source = Source::new(&self.client);
            self.mosd_at = found.is_err().then(|| Instant::now() + MOSD_AGAIN);
        }
    }

    fn weighed(&self) -> Weighed {
        Weighed {
            frozen: Frozen::NotApplicable,
            freezable: false,
            pid: self.info().pid,
            home: Some(self.meta.home.node),
            movable: !self.weight.locked
                && !self.leaving
                && self.order.is_none()
                && self.live.is_none(),
            needmem: self.weight.needmem,
            decay: self.weight.decay,
            count_calls: !self.weight.cpujob,
            calls: self.weight.calls,
            bytes: self.weight.bytes,
            needs: Some(self.meta.needs),
        }
    }

    fn info(&self) -> ProcInfo {
        ProcInfo {
            pid: self.group,
            uid: self.meta.home.uid,
            place: Place::Home,
            from: Some(self.meta.home.node),
            origpid: Some(self.meta.home.pid),
            frozen: Frozen::NotApplicable,
            nmigs: self.meta.nmigs,
            stays: None,
            locked: false,
            cpu_away_ns: self.cpu.nanoseconds(),
        }
    }
}
