//! A notification: what the guest asks, and who does it.

use std::io;
use std::time::{Duration, Instant};

use crate::guest::host::{Call, Host, Order, Phase};
use crate::guest::repeat::unheard_code;
use crate::image::Resume;
use crate::sys::abi::{self, ERESTARTNOINTR};
use crate::sys::seccomp::{NATIVE, Notification, Response};
use crate::sys::tracked;
use crate::syscall::{self, Forward, Home, HostCall, Plan, ProcessMemory, SocketWait};
use crate::wire::control::Target;

/// What later requests of one call take over from earlier ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    pub done: u64,
    pub left: Option<Duration>,
    pub signalled: bool,
    pub disturbed: bool,
    pub steady: bool,
}

impl Host {
    /// The guest's memory, as marshalling sees it.
    pub fn memory(&self, t: usize) -> ProcessMemory {
        ProcessMemory(self.threads[t].tid)
    }

    /// A notification waits.
    pub fn notified(&mut self) -> io::Result<()> {
        match self.listener.recv()? {
            Some(notification) => {
                self.weight.calls += 1;
                self.asked(notification)
            }
            None => Ok(()),
        }
    }

    /// Those that came while a call was injected.
    pub fn notified_early(&mut self) -> io::Result<()> {
        while self.ending.is_none() {
            let Some(notification) = self.early.pop() else {
                break;
            };
            self.asked(notification)?;
        }
        Ok(())
    }

    fn asked(&mut self, notification: Notification) -> io::Result<()> {
        let Some(t) = self.thread(notification.pid) else {
            return self
                .listener
                .send(notification.id, Response::Error(abi::ENOSYS))
                .map(drop);
        };
        if self.leaving {
            // It was to stop, and made a call first: it is made again where it arrives.
            self.threads[t].timed = None;
            return self.complete(t, &notification, unheard_code(notification.nr as u64));
        }
        self.serve_call(t, notification)
    }

    /// Where marshalling may put things at home.
    pub fn home_view(&self, t: usize) -> Home {
        Home {
            stub: self.threads[t].deputy.base,
            big: self.threads[t].big,
            channels: self.channels,
            pid: self.home_pid(),
        }
    }

    fn serve_call(&mut self, t: usize, notification: Notification) -> io::Result<()> {
        if notification.arch != NATIVE {
            return self.go_home_for(t, &notification, "makes a 32-bit call");
        }
        let nr = notification.nr as u64;
        self.threads[t].call_begins(nr);
        match nr {
            abi::SYS_RT_SIGRETURN => return self.sigreturned(t, &notification),
            abi::SYS_MREMAP => return self.remap(t, &notification),
            abi::SYS_RESTART_SYSCALL => {
                return self.complete(t, &notification, -i64::from(abi::EINTR));
            }
            _ => {}
        }
        if self.signals_first(t, &notification)? {
            return Ok(());
        }
        match std::mem::take(&mut self.threads[t].resume) {
            Resume::RestartBlock { nr: was } if was == nr => {
                return self.continue_at_home(t, notification);
            }
            Resume::Written { nr: was, bytes } if was == nr => {
                let plan = syscall::forward(
                    nr,
                    notification.args,
                    &self.memory(t),
                    &self.home_view(t),
                    bytes,
                );
                return self.follow(
                    t,
                    notification,
                    plan,
                    Carried {
                        done: bytes,
                        ..Carried::default()
                    },
                );
            }
            time @ Resume::TimeLeft { .. } => self.threads[t].resume = time,
            _ => {}
        }
        let plan = syscall::plan(nr, notification.args, &self.memory(t), &self.home_view(t));
        self.follow(t, notification, plan, Carried::default())
    }

    fn sigreturned(&mut self, t: usize, notification: &Notification) -> io::Result<()> {
        let sp = tracked::stack_pointer(self.threads[t].tid)?;
        self.sigreturn(t, sp)?;
        self.take_queued_signals(t)?;
        self.let_through(t, notification)
    }

    /// Does what a plan says.
    pub fn follow(
        &mut self,
        t: usize,
        notification: Notification,
        plan: Plan,
        carried: Carried,
    ) -> io::Result<()> {
        match plan {
            Plan::Forward(forward) => self.forward(t, notification, forward, carried),
            Plan::NeedBig(bytes) => match self.grow_big(t, bytes)? {
                Ok(())
                    if notification.nr as u64 == abi::SYS_EXECVE
                        || notification.nr as u64 == abi::SYS_EXECVEAT =>
                {
                    self.exec(t, notification)
                }
                Ok(()) => {
                    let nr = notification.nr as u64;
                    let again = syscall::forward(
                        nr,
                        notification.args,
                        &self.memory(t),
                        &self.home_view(t),
                        carried.done,
                    );
                    self.follow(t, notification, again, carried)
                }
                Err(_) if carried.done > 0 => self.complete(t, &notification, carried.done as i64),
                // Its limits may leave no room for it: natively it needs none.
                Err(_) => self.go_home_for(
                    t,
                    &notification,
                    "moves more than there is room for at home",
                ),
            },
            Plan::Errno(errno) => self.complete(t, &notification, -i64::from(errno)),
            Plan::GoHome(why) => self.go_home_for(t, &notification, why),
            Plan::Host(call) => self.host_call(t, notification, call),
        }
    }

    fn forward(
        &mut self,
        t: usize,
        notification: Notification,
        mut forward: Forward,
        carried: Carried,
    ) -> io::Result<()> {
        let nr = notification.nr as u64;
        if let Some(wait) = syscall::socket_wait(nr)
            && let Some(left) = self.threads[t].resume.take_time(nr)
        {
            return self.await_socket(t, notification, wait, left);
        }
        let mut left = match carried.left {
            Some(left) => Some(left),
            None => syscall::time_out_ns(nr, &notification.args, &self.memory(t))
                .map(Duration::from_nanos),
        };
        if let Some(rest) = self.threads[t].resume.take_time(nr) {
            syscall::with_time_left(nr, &mut forward, rest.as_nanos() as u64);
            left = Some(rest);
        }
        let issued = Instant::now();
        let Carried {
            done,
            signalled,
            disturbed,
            steady,
            ..
        } = carried;
        self.threads[t].just_asked = done == 0;
        self.issue(
            t,
            Call {
                notification,
                forward,
                issued,
                left,
                signalled,
                disturbed,
                halted: false,
                done,
                steady,
            },
        )
    }

    /// A call on a socket with a time-out of its own is made again: what is left of that is waited out first.
    pub fn await_socket(
        &mut self,
        t: usize,
        notification: Notification,
        wait: SocketWait,
        left: Duration,
    ) -> io::Result<()> {
        let plan = syscall::until_ready(
            notification.args,
            wait,
            left.as_nanos().min(u128::from(u64::MAX)) as u64,
            &self.memory(t),
            &self.home_view(t),
        );
        let carried = Carried {
            left: Some(left),
            ..Carried::default()
        };
        self.follow(t, notification, plan, carried)
    }

    /// A sleep or poll that began natively at home: its deadline is in the home kernel, which continues it. Its results
    /// go to the program's own addresses, whose pages home still has.
    fn continue_at_home(&mut self, t: usize, notification: Notification) -> io::Result<()> {
        let [a0, a1, ..] = notification.args;
        let out = match notification.nr as u64 {
            abi::SYS_POLL => Some((a0, a1 * 8)),
            _ => None,
        };
        let forward = Forward::continued(out);
        self.follow(t, notification, Plan::Forward(forward), Carried::default())
    }

    fn host_call(
        &mut self,
        t: usize,
        notification: Notification,
        call: HostCall,
    ) -> io::Result<()> {
        let [a0, a1, a2, a3, ..] = notification.args;
        match call {
            HostCall::SigAction => self.rt_sigaction(t, &notification),
            HostCall::SigProcMask => self.rt_sigprocmask(t, &notification),
            HostCall::NanoSleep => self.sleep(t, notification, (1, 0), (a0, a1)),
            HostCall::ClockNanoSleep => self.sleep(t, notification, (a0, a1), (a2, a3)),
            HostCall::FutexWait => self.futex_waits(t, &notification),
            HostCall::MapFile => self.map_file(t, &notification),
            HostCall::Advise => self.madvise(t, &notification),
            HostCall::Pid => self.complete(t, &notification, i64::from(self.home_pid())),
            HostCall::Tid => self.complete(t, &notification, i64::from(self.threads[t].home_tid)),
            HostCall::SetTidAddress => {
                self.threads[t].clear_tid = a0;
                if self.numbered {
                    return self.let_through(t, &notification);
                }
                self.complete(t, &notification, i64::from(self.threads[t].home_tid))
            }
            HostCall::Exec => self.exec(t, notification),
            HostCall::Native => self.let_through(t, &notification),
            HostCall::ShmDetach => self.complete(t, &notification, -i64::from(abi::EINVAL)),
            HostCall::Fork => self.fork(t, &notification),
            HostCall::Exit if notification.nr as u64 == abi::SYS_EXIT && self.threads.len() > 1 => {
                self.end_thread(t, notification)
            }
            HostCall::Exit => {
                // Home must know when somebody waits for its end.
                self.report_cpu();
                self.forward_as_it_is(t, notification)
            }
            HostCall::SigPending | HostCall::SigSuspend | HostCall::Usage | HostCall::Times => {
                self.forward_as_it_is(t, notification)
            }
            HostCall::Prctl
            | HostCall::RobustList
            | HostCall::OwnMemory
            | HostCall::CloseRange
            | HostCall::DupOverChannel
            | HostCall::Limit => {
                self.go_home_for(t, &notification, "makes a call that concerns both halves")
            }
        }
    }

    fn forward_as_it_is(&mut self, t: usize, notification: Notification) -> io::Result<()> {
        let nr = notification.nr as u64;
        let plan = syscall::forward(
            nr,
            notification.args,
            &self.memory(t),
            &self.home_view(t),
            0,
        );
        self.follow(t, notification, plan, Carried::default())
    }

    /// `madvise`: what drops a process's own pages over a file shows the file again, of which only home has all. What stays
    /// with an area until it is gone is home's to know.
    fn madvise(&mut self, t: usize, notification: &Notification) -> io::Result<()> {
        let [start, len, advice, ..] = notification.args;
        if !syscall::drops_contents(advice) {
            let why = "advises on what happens at a fork, or to a page";
            return self.go_home_for(t, notification, why);
        }
        if self.maps_file(start, len)? {
            return self.go_home_for(t, notification, "drops its changes of a mapped file");
        }
        self.let_through(t, notification)
    }

    fn exec(&mut self, t: usize, notification: Notification) -> io::Result<()> {
        self.report_cpu();
        // What the new program inherits must be right at home.
        self.sync_mask(t)?;
        self.take_queued_signals(t)?;
        let plan = syscall::plan_exec(
            notification.nr as u64,
            notification.args,
            &self.memory(t),
            &self.home_view(t),
        );
        self.follow(t, notification, plan, Carried::default())
    }

    /// The call can only be made at home: the guest is brought there and makes it again.
    pub fn go_home_for(
        &mut self,
        t: usize,
        notification: &Notification,
        why: &str,
    ) -> io::Result<()> {
        log::debug!("process {} goes home: {why}", self.home_pid());
        self.order = Some(Order {
            id: None,
            to: Target::Home,
        });
        self.leaving = true;
        self.complete(t, notification, -ERESTARTNOINTR)?;
        self.stop_all(Some(t))
    }

    /// An order to leave arrived.
    pub fn ordered(&mut self, order: Order) -> io::Result<()> {
        if let Some(refused) = self.refuse(&order) {
            return self.report(&order, refused);
        }
        if self.begin_live(order)? {
            return Ok(());
        }
        self.order = Some(order);
        self.stop_all(None)
    }

    /// Has every thread stop (one may have been told already), so that the guest can leave; it does when the last one has.
    pub fn stop_all(&mut self, told: Option<usize>) -> io::Result<()> {
        self.leaving = true;
        self.stopped_at = Instant::now();
        for t in (0..self.threads.len()).filter(|t| Some(*t) != told) {
            match &mut self.threads[t].phase {
                Phase::Running => self.interrupt(t)?,
                Phase::Sleeping(_) => self.interrupt_sleep(t)?,
                // The loop asks for the interruption.
                Phase::InCall(call) => call.disturbed = true,
                Phase::Asking(notification) => {
                    let notification = *notification;
                    self.complete(t, &notification, -ERESTARTNOINTR)?;
                }
                // It will not be there when the others leave.
                Phase::Ending(_) => {}
            }
        }
        self.leave_if_stopped()
    }
}
