//! The warden's state and its loop.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::config::Paths;
use crate::home::interface::Settings;
use crate::home::launch::{Hello, Ready, WardenJob};
use crate::home::warden::crowd::Shaking;
use crate::home::warden::ledger::Ledger;
use crate::home::warden::observe::Observed;
use crate::home::warden::received::Received;
use crate::home::warden::safe::{Lease, Lender};
use crate::home::warden::usage::Held;
use crate::sys::lease;
use crate::sys::poll::{self, Interest};
use crate::sys::seccomp::Notification;
use crate::sys::unix::{SIGCHLD, SignalFd};
use crate::wire::client::Client;
use crate::wire::control::{Frozen, Place, Target, ToMosd};
use crate::wire::cpu::Cpu;
use crate::wire::frame::{FrameBuffer, write_frame};

/// How often away processes are looked at (stopped? continued?).
const WATCH: Duration = Duration::from_millis(200);
/// How often a mosd that went away is looked for.
const RETRY: Duration = Duration::from_millis(500);

/// One process of the tree.
pub struct Proc {
    /// Start time in `/proc/PID/stat`: tells a new process of the same pid.
    pub born: u64,
    pub settings: Settings,
    pub place: Place,
    /// Why it could not move when it was last asked to.
    pub stays: Option<String>,
    /// Left MOSIX's care (mosnative): not listed, not moved.
    pub native: bool,
    /// It has used more of the processor than it was to see: it is bound to all that there is.
    pub saw_more: bool,
    /// The move under way, and whether its mover has told the process to stop.
    pub moving: Option<Moving>,
    pub seized: bool,
    /// The host's control connection, while away.
    pub ctl: Option<u64>,
    /// Whether and why it is frozen; then it is at home.
    pub frozen: Frozen,
    /// The host was told that the home process is stopped.
    pub halted: bool,
    /// A notification of `/proc/self/migrate` that waits for the move's outcome, or its outcome once the call is repeated.
    pub asked: Option<Asked>,
    /// On the files of which it has shared views, while it is away or about to leave.
    pub leases: Vec<Lease>,
    /// It was at home when leases were last looked through.
    pub seen_home: bool,
}

pub struct Moving {
    /// mosd's number for the order, if somebody waits.
    pub id: Option<u64>,
    pub to: Target,
    /// What the host of the process was told; `None` while none was, or the one that was is gone.
    pub told: Option<Told>,
    /// A start on another node (`mosrun -r`): whether the program may run here if that fails.
    pub start: Option<bool>,
}

impl Moving {
    /// An order to move; `id` is mosd's number for it, if somebody waits.
    pub fn new(id: Option<u64>, to: Target) -> Moving {
        Moving {
            id,
            to,
            told: None,
            start: None,
        }
    }

    /// An order to start a program on a node.
    pub fn start(node: Ipv4Addr, forced: bool) -> Moving {
        Moving {
            start: Some(forced),
            ..Moving::new(None, Target::Node(node))
        }
    }
}

/// An order that was passed on to a host.
#[derive(Clone, Copy)]
pub struct Told {
    /// The warden's number for it.
    pub number: u64,
    /// The control connection of the host.
    pub ctl: u64,
}

/// A program's own request to move, and where to.
pub enum Asked {
    /// mosrun inside mosrun, which waits for leave to become its program. The node, and whether it may run here otherwise; `None`
    /// when it is waited for already.
    Start {
        notification: Notification,
        later: Option<(Ipv4Addr, bool)>,
    },
    Waiting {
        notification: Notification,
        home: bool,
        to: Target,
    },
    Moving {
        to: Target,
    },
    Done {
        to: Target,
        result: i64,
    },
}

/// A host's connection.
pub struct Ctl {
    pub stream: TcpStream,
    pub buffer: FrameBuffer,
    pub pid: i32,
}

/// A mover at work.
pub struct Mover {
    pub stream: UnixStream,
    pub buffer: FrameBuffer,
    pub child: std::process::Child,
    pub pid: i32,
    /// Until it has said what became of it: the node to which it takes the process, and the migrations before.
    pub out: Option<(Ipv4Addr, u32)>,
    /// It freezes its process, or has it go on.
    pub freezes: bool,
    /// It has said what became of it, and has let go of the process.
    pub done: bool,
    /// On files of which its process has shared views.
    pub leases: Vec<Lease>,
}

/// A deputy's call that is being interrupted.
pub struct Interruption {
    /// Ends when it is over.
    pub done: UnixStream,
    /// The host that asked.
    pub ctl: u64,
    pub pid: i32,
}

pub struct Warden {
    pub tree: u64,
    pub filters: u32,
    pub listener: Received,
    pub client: Option<Client>,
    pub retry_at: Instant,
    pub me: Ipv4Addr,
    /// What this node is taken to offer.
    pub cpu: Cpu,
    /// What the first program is to see at most.
    pub portable: Option<Cpu>,
    pub procs: HashMap<i32, Proc>,
    pub ctls: HashMap<u64, Ctl>,
    pub shaking: Shaking,
    /// Those that wait to leave home.
    pub departures: VecDeque<i32>,
    pub movers: HashMap<u64, Mover>,
    /// Moves home that wait for the mover that has the process.
    pub returning: Vec<(i32, OwnedFd)>,
    pub interruptions: HashMap<u64, Interruption>,
    pub next: u64,
    pub watch_at: Instant,
    /// Somebody wants a lease back.
    pub wanted: SignalFd,
    /// CPU time used elsewhere; and the processes that it is about, to see their end.
    pub ledger: Ledger,
    pub pidfds: HashMap<i32, OwnedFd>,
    /// Threads whose calls tell CPU time and are observed, those that wait, and those in native waits for children.
    pub observed: HashMap<i32, Observed>,
    pub held: Vec<Held>,
    pub waiters: HashSet<i32>,
    pub signals: SignalFd,
    pub lender: Lender,
    /// Closed when the first program has been executed.
    pub launch: Option<UnixStream>,
    /// mosrun waits for leave to become its program.
    pub launch_waits: bool,
    pub root: i32,
}

/// Serves the tree of `job` from a listener that was handed over. `launch` is the connection to mosrun, when it still waits.
pub fn serve(
    job: &WardenJob,
    hello: &Hello,
    listener: Received,
    launch: Option<UnixStream>,
    lender: Lender,
) -> io::Result<()> {
    let made = Warden::new(job, hello, listener, lender);
    let Some(mut launch) = launch else {
        return made?.serve_all();
    };
    match made {
        Ok(mut warden) => {
            if job.start.is_none() {
                write_frame(&mut launch, &Ready::Yes)?;
            }
            warden.launch = Some(launch);
            if let Some((node, forced)) = job.start {
                warden.launch_waits = true;
                warden.order(job.pid, Moving::start(node, forced));
            }
            warden.serve_all()
        }
        Err(error) => {
            // mosrun says why; there is nothing to guard.
            write_frame(&mut launch, &Ready::No(error.to_string()))
        }
    }
}

enum Source {
    Listener,
    Mosd,
    Wanted,
    Launch,
    Ctl(u64),
    Mover(u64),
    Interruption(u64),
    /// Threads under observation have stopped, or movers have ended.
    Children,
    /// A process with an account has ended.
    Ended(i32),
}

impl Warden {
    fn new(
        job: &WardenJob,
        hello: &Hello,
        listener: Received,
        lender: Lender,
    ) -> io::Result<Warden> {
        let mut client = Client::connect(&Paths::from_env())?;
        let welcome = client.register(&ToMosd::Warden {
            tree: job.tree,
            log: false,
        })?;
        client.set_nonblocking(true)?;
        let mut warden = Warden {
            tree: job.tree,
            filters: hello.filters,
            listener,
            client: Some(client),
            retry_at: Instant::now(),
            me: welcome.address,
            cpu: welcome.cpu,
            portable: job.portable,
            procs: HashMap::new(),
            ctls: HashMap::new(),
            shaking: Shaking::default(),
            departures: VecDeque::new(),
            movers: HashMap::new(),
            returning: Vec::new(),
            interruptions: HashMap::new(),
            next: 1,
            watch_at: Instant::now(),
            wanted: SignalFd::new(&[lease::WANTED])?,
            ledger: Ledger::default(),
            pidfds: HashMap::new(),
            observed: HashMap::new(),
            held: Vec::new(),
            waiters: HashSet::new(),
            signals: SignalFd::new(&[SIGCHLD])?,
            lender,
            launch: None,
            launch_waits: false,
            root: job.pid,
        };
        warden.add(job.pid, &job.settings);
        warden.inherit();
        Ok(warden)
    }

    /// What an earlier warden has left behind.
    fn take_over(&mut self) -> io::Result<()> {
        self.refresh();
        self.find_waiters();
        self.listener.release_all()
    }

    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What is polled. Causes come behind what they have caused: what was said before a call was made is found ready with the call,
    /// and is served first.
    fn sources(&self) -> (Vec<(i32, Interest)>, Vec<Source>) {
        let mut fds = vec![(self.listener.as_raw_fd(), Interest::Read)];
        let mut sources = vec![Source::Listener];
        let mut add = |fd: i32, source: Source| {
            fds.push((fd, Interest::Read));
            sources.push(source);
        };
        add(self.wanted.as_raw_fd(), Source::Wanted);
        add(self.signals.as_raw_fd(), Source::Children);
        for (pid, fd) in &self.pidfds {
            add(fd.as_raw_fd(), Source::Ended(*pid));
        }
        for (id, interruption) in &self.interruptions {
            add(interruption.done.as_raw_fd(), Source::Interruption(*id));
        }
        for (id, mover) in &self.movers {
            add(mover.stream.as_raw_fd(), Source::Mover(*id));
        }
        for (id, ctl) in &self.ctls {
            add(ctl.stream.as_raw_fd(), Source::Ctl(*id));
        }
        if let Some(client) = &self.client {
            add(client.as_raw_fd(), Source::Mosd);
        }
        if let Some(launch) = &self.launch {
            add(launch.as_raw_fd(), Source::Launch);
        }
        (fds, sources)
    }

    fn timeout(&self) -> Option<Duration> {
        if self.shaking.goes_on() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let watch = self
            .watches()
            .then(|| self.watch_at.saturating_duration_since(now));
        let retry = self
            .client
            .is_none()
            .then(|| self.retry_at.saturating_duration_since(now));
        let answer = self
            .waits_until()
            .map(|until| until.saturating_duration_since(now));
        watch.into_iter().chain(retry).chain(answer).min()
    }

    /// Whether there is anything to look at now and then.
    fn watches(&self) -> bool {
        self.procs
            .values()
            .any(|proc| matches!(proc.place, Place::Away(_)) || !proc.leases.is_empty())
    }

    /// What a warden holds that fails is the next one's.
    fn serve_all(mut self) -> io::Result<()> {
        let taken_over = match self.launch {
            None => self.take_over(),
            Some(_) => Ok(()),
        };
        let served = taken_over.and_then(|()| self.serve());
        if served.is_err() {
            std::mem::forget(self);
        }
        served
    }

    /// Serves the tree until its last process has ended.
    fn serve(&mut self) -> io::Result<()> {
        // What came with the welcome has been read already, and no poll tells of it.
        self.mosd_readable();
        loop {
            let (fds, sources) = self.sources();
            let ready = poll::wait_events(&fds, self.timeout())?;
            for (source, events) in sources.iter().zip(ready).rev() {
                match source {
                    Source::Listener if events.readable => self.notification()?,
                    // Nobody runs under the filter any more.
                    Source::Listener if events.hung_up => return self.end(),
                    _ if !events.any() => {}
                    Source::Listener => {}
                    Source::Mosd => self.mosd_readable(),
                    Source::Wanted => while self.wanted.take().is_some() {},
                    Source::Launch => self.launched(),
                    Source::Ctl(id) => self.ctl_readable(*id),
                    Source::Mover(id) => self.mover_readable(*id),
                    Source::Interruption(id) => self.interrupted(*id),
                    Source::Ended(pid) => {
                        self.process_ended(*pid);
                        self.settle();
                    }
                    Source::Children => {
                        while self.signals.take().is_some() {}
                        self.observed_events();
                    }
                }
            }
            self.retry_waiting()?;
            self.shake_some();
            self.tick();
        }
    }

    fn end(&mut self) -> io::Result<()> {
        for (_, mut mover) in self.movers.drain() {
            mover.child.wait()?;
        }
        Ok(())
    }

    fn tick(&mut self) {
        self.recall();
        let now = Instant::now();
        if self.client.is_none() && now >= self.retry_at {
            self.retry_at = now + RETRY;
            self.reconnect();
        }
        if self.watches() && now >= self.watch_at {
            self.watch_at = now + WATCH;
            self.watch();
            self.sweep();
        }
    }

    /// mosd was restarted, or will be: it learns of this tree again.
    fn reconnect(&mut self) {
        let registered = Client::connect(&Paths::from_env()).and_then(|mut client| {
            client.register(&ToMosd::Warden {
                tree: self.tree,
                log: false,
            })?;
            client.set_nonblocking(true)?;
            Ok(client)
        });
        self.client = registered.ok();
        self.mosd_readable();
    }

    /// mosrun has become its program.
    fn launched(&mut self) {
        self.launch = None;
        let Some(proc) = self.procs.get_mut(&self.root) else {
            return;
        };
        // What was ordered before; a start is under way by itself.
        if let Some(early) = proc.moving.take_if(|moving| moving.start.is_none()) {
            self.order(self.root, early);
        }
    }
}
