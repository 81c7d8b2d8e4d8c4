//! A notification: what the guest asks, and who does it.

use std::io;
use std::time::{Duration, Instant};

use crate::guest::host::{Call, Host, Order, Phase};
use crate::image::Resume;
use crate::sys::abi::{self, ERESTARTNOINTR};
use crate::sys::seccomp::Notification;
use crate::sys::{mem, tracked};
use crate::syscall::{self, Fault, Forward, GuestMemory, Home, HostCall, Plan};
use crate::wire::control::Target;

/// The guest's memory, as marshalling sees it.
pub struct Memory(pub i32);

impl GuestMemory for Memory {
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), Fault> {
        mem::read_exact(self.0, addr, buf).map_err(|_| Fault)
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Fault> {
        mem::write_all(self.0, addr, data).map_err(|_| Fault)
    }
}

/// What later requests of one call take over from earlier ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    pub done: u64,
    pub left: Option<Duration>,
    pub signalled: bool,
    pub disturbed: bool,
}

impl Host {
    pub fn memory(&self) -> Memory {
        Memory(self.guest)
    }

    pub fn notified(&mut self) -> io::Result<()> {
        let Some(notification) = self.listener.recv()? else {
            return Ok(());
        };
        if self.leaving {
            // It was to stop, and made a call first: it is made again where it arrives.
            return self.complete(&notification, -ERESTARTNOINTR);
        }
        self.serve_call(notification)
    }

    /// Where marshalling may put things at home.
    pub fn home_view(&self) -> Home {
        Home {
            stub: self.meta.stub,
            big: self.big,
            channel_fd: self.meta.channel_fd,
            pid: self.home_pid(),
        }
    }

    fn serve_call(&mut self, notification: Notification) -> io::Result<()> {
        let nr = notification.nr as u64;
        match nr {
            abi::SYS_RT_SIGRETURN => return self.sigreturned(&notification),
            abi::SYS_MUNMAP | abi::SYS_MREMAP => {
                let [start, len, ..] = notification.args;
                self.files.cut(
                    start,
                    start.saturating_add(len.saturating_add(4095) & !4095),
                );
                return self.let_through(&notification);
            }
            abi::SYS_MMAP
                if notification.args[3] & abi::MAP_ANONYMOUS != 0
                    && notification.args[3] & abi::MAP_SHARED == 0 =>
            {
                let [start, len, ..] = notification.args;
                if notification.args[3] & abi::MAP_FIXED != 0 {
                    self.files.cut(
                        start,
                        start.saturating_add(len.saturating_add(4095) & !4095),
                    );
                }
                return self.let_through(&notification);
            }
            abi::SYS_RESTART_SYSCALL => {
                return self.complete(&notification, -i64::from(abi::EINTR));
            }
            _ => {}
        }
        match std::mem::take(&mut self.resume) {
            Resume::RestartBlock { nr: was } if was == nr => {
                return self.continue_at_home(notification);
            }
            Resume::Written { nr: was, bytes } if was == nr => {
                let plan = syscall::forward(
                    nr,
                    notification.args,
                    &self.memory(),
                    &self.home_view(),
                    bytes,
                );
                return self.follow(
                    notification,
                    plan,
                    Carried {
                        done: bytes,
                        ..Carried::default()
                    },
                );
            }
            time @ Resume::TimeLeft { .. } => self.resume = time,
            _ => {}
        }
        let plan = syscall::plan(nr, notification.args, &self.memory(), &self.home_view());
        self.follow(notification, plan, Carried::default())
    }

    fn sigreturned(&mut self, notification: &Notification) -> io::Result<()> {
        let sp = tracked::stack_pointer(self.guest)?;
        self.sigreturn(sp)?;
        self.take_queued_signals()?;
        self.let_through(notification)
    }

    /// Does what a plan says.
    pub fn follow(
        &mut self,
        notification: Notification,
        plan: Plan,
        carried: Carried,
    ) -> io::Result<()> {
        match plan {
            Plan::Forward(forward) => self.forward(notification, forward, carried),
            Plan::NeedBig(bytes) => match self.grow_big(bytes)? {
                Ok(())
                    if notification.nr as u64 == abi::SYS_EXECVE
                        || notification.nr as u64 == abi::SYS_EXECVEAT =>
                {
                    self.exec(notification)
                }
                Ok(()) => {
                    let nr = notification.nr as u64;
                    let again = syscall::forward(
                        nr,
                        notification.args,
                        &self.memory(),
                        &self.home_view(),
                        carried.done,
                    );
                    self.follow(notification, again, carried)
                }
                Err(errno) => self.complete(&notification, errno),
            },
            Plan::Errno(errno) => self.complete(&notification, -i64::from(errno)),
            Plan::GoHome(why) => self.go_home_for(&notification, why),
            Plan::Host(call) => self.host_call(notification, call),
        }
    }

    fn forward(
        &mut self,
        notification: Notification,
        mut forward: Forward,
        carried: Carried,
    ) -> io::Result<()> {
        let nr = notification.nr as u64;
        let mut left = match carried.left {
            Some(left) => Some(left),
            None => syscall::time_out_ns(nr, &notification.args, &self.memory())
                .map(Duration::from_nanos),
        };
        if let Some(rest) = self.resume.take_time(nr) {
            syscall::with_time_left(nr, &mut forward, rest.as_nanos() as u64);
            left = Some(rest);
        }
        let issued = Instant::now();
        let Carried {
            done,
            signalled,
            disturbed,
            ..
        } = carried;
        self.issue(Call {
            notification,
            forward,
            issued,
            left,
            signalled,
            disturbed,
            done,
        })
    }

    /// A sleep or poll that began natively at home: its deadline is in the home kernel, which continues it. Its results
    /// go to the program's own addresses, whose pages home still has.
    fn continue_at_home(&mut self, notification: Notification) -> io::Result<()> {
        let [a0, a1, ..] = notification.args;
        let out = match notification.nr as u64 {
            abi::SYS_POLL => Some((a0, a1 * 8)),
            _ => None,
        };
        let forward = Forward::continued(out);
        self.follow(notification, Plan::Forward(forward), Carried::default())
    }

    fn host_call(&mut self, notification: Notification, call: HostCall) -> io::Result<()> {
        let [a0, a1, a2, a3, ..] = notification.args;
        match call {
            HostCall::SigAction => self.rt_sigaction(&notification),
            HostCall::SigProcMask => self.rt_sigprocmask(&notification),
            HostCall::NanoSleep => self.sleep(notification, (1, 0), (a0, a1)),
            HostCall::ClockNanoSleep => self.sleep(notification, (a0, a1), (a2, a3)),
            HostCall::MapFile => self.map_file(&notification),
            HostCall::Advise | HostCall::MSync => self.madvise(&notification),
            HostCall::Pid => self.complete(&notification, i64::from(self.home_pid())),
            HostCall::Tid => self.complete(&notification, i64::from(self.meta.threads[0].tid)),
            HostCall::SetTidAddress => {
                self.meta.threads[0].clear_tid = a0;
                self.complete(&notification, i64::from(self.meta.threads[0].tid))
            }
            HostCall::Exec => self.exec(notification),
            HostCall::CpuClock => self.cpu_clock(&notification),
            HostCall::Native => self.let_through(&notification),
            HostCall::ShmDetach => self.complete(&notification, -i64::from(abi::EINVAL)),
            HostCall::Fork => self.go_home_for(&notification, "forks"),
            HostCall::Exit
            | HostCall::SigPending
            | HostCall::SigSuspend
            | HostCall::Usage
            | HostCall::Times => self.forward_as_it_is(notification),
            HostCall::Prctl
            | HostCall::RobustList
            | HostCall::OwnMemory
            | HostCall::CloseRange
            | HostCall::DupOverChannel
            | HostCall::Limit => {
                self.go_home_for(&notification, "makes a call that concerns both halves")
            }
        }
    }

    fn forward_as_it_is(&mut self, notification: Notification) -> io::Result<()> {
        let nr = notification.nr as u64;
        let plan = syscall::forward(nr, notification.args, &self.memory(), &self.home_view(), 0);
        self.follow(notification, plan, Carried::default())
    }

    /// `madvise` that would bring back a file's contents, which are not here, happens at home.
    fn madvise(&mut self, notification: &Notification) -> io::Result<()> {
        let [start, len, ..] = notification.args;
        if self.files.overlaps(start, start.saturating_add(len)) {
            return self.go_home_for(notification, "advises on a mapped file");
        }
        self.let_through(notification)
    }

    fn exec(&mut self, notification: Notification) -> io::Result<()> {
        // What the new program inherits must be right at home.
        self.sync_mask()?;
        self.take_queued_signals()?;
        let plan = syscall::plan_exec(
            notification.nr as u64,
            notification.args,
            &self.memory(),
            &self.home_view(),
        );
        self.follow(notification, plan, Carried::default())
    }

    /// CPU clocks count what was used at home, elsewhere before, and here.
    fn cpu_clock(&mut self, notification: &Notification) -> io::Result<()> {
        let total = self.meta.cpu_home_ns + self.meta.cpu_away_ns + self.cpu.nanoseconds();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(total / 1_000_000_000).to_le_bytes());
        bytes[8..].copy_from_slice(&(total % 1_000_000_000).to_le_bytes());
        let written = mem::write_all(self.guest, notification.args[1], &bytes);
        self.complete(
            notification,
            if written.is_ok() {
                0
            } else {
                -i64::from(abi::EFAULT)
            },
        )
    }

    /// The call can only be made at home: the guest is brought there and makes it again.
    pub fn go_home_for(&mut self, notification: &Notification, why: &str) -> io::Result<()> {
        log::debug!("process {} goes home: {why}", self.home_pid());
        self.order = Some(Order {
            id: None,
            to: Target::Home,
        });
        self.leaving = true;
        self.complete(notification, -ERESTARTNOINTR)
    }

    /// An order to leave arrived.
    pub fn ordered(&mut self, order: Order) -> io::Result<()> {
        if let Some(refused) = self.refuse(&order) {
            return self.report(&order, refused);
        }
        self.order = Some(order);
        self.leaving = true;
        match &self.phase {
            Phase::Running if self.stopped => self.leave(),
            Phase::Running => self.interrupt(),
            Phase::Sleeping(_) => self.interrupt_sleep(),
            Phase::InCall(_) => {
                if let Phase::InCall(call) = &mut self.phase {
                    call.disturbed = true;
                }
                // The loop asks for the interruption.
                Ok(())
            }
        }
    }
}
