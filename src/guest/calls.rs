//! A notification: what the guest asks, and who does it.

use std::io;
use std::time::{Duration, Instant};

use crate::guest::host::{Call, Host, Order, Phase};
use crate::image::Resume;
use crate::sys::abi::{self, ERESTARTNOINTR};
use crate::sys::mem;
use crate::sys::process::thread_stack_pointer;
use crate::sys::seccomp::Notification;
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

impl Host {
    pub fn memory(&self) -> Memory {
        Memory(self.guest)
    }

    pub fn notified(&mut self) -> io::Result<()> {
        let Some(notification) = self.listener.receive()? else { return Ok(()) };
        if self.leaving {
            // It was to stop, and made a call first: it is made again where it arrives.
            return self.complete(&notification, -ERESTARTNOINTR);
        }
        self.serve_call(notification)
    }

    fn serve_call(&mut self, notification: Notification) -> io::Result<()> {
        if let Resume::RestartBlock { nr } = self.resume {
            self.resume = Resume::Nothing;
            if nr == notification.nr {
                return self.continue_at_home(notification);
            }
        }
        let home = Home { stub: self.meta.stub, big: self.big, channel_fd: self.meta.channel_fd };
        match syscall::plan(notification.nr, notification.args, &self.memory(), &home) {
            Plan::Forward(forward) => self.forward(notification, forward),
            Plan::NeedBig(bytes) => match self.grow_big(bytes)? {
                Ok(()) => self.serve_call(notification),
                Err(errno) => self.complete(&notification, errno),
            },
            Plan::Errno(errno) => self.complete(&notification, -i64::from(errno)),
            Plan::GoHome(why) => self.go_home_for(&notification, why),
            Plan::Host(call) => self.host_call(notification, call),
        }
    }

    fn forward(&mut self, notification: Notification, mut forward: Forward) -> io::Result<()> {
        let mut left = syscall::time_out_ns(notification.nr, &notification.args, &self.memory()).map(Duration::from_nanos);
        if let Some(rest) = self.resume.take_time(notification.nr) {
            syscall::with_time_left(notification.nr, &mut forward, rest.as_nanos() as u64);
            left = Some(rest);
        }
        self.issue(Call { notification, forward, issued: Instant::now(), left, signalled: false, done: 0 })
    }

    /// A sleep or poll that began natively at home: its deadline is in the home kernel, which continues it. Its results
    /// go to the program's own addresses, whose pages home still has.
    fn continue_at_home(&mut self, notification: Notification) -> io::Result<()> {
        let forward = Forward::restart(notification.nr, &notification.args);
        self.issue(Call { notification, forward, issued: Instant::now(), left: None, signalled: false, done: 0 })
    }

    fn host_call(&mut self, notification: Notification, call: HostCall) -> io::Result<()> {
        let [a0, a1, a2, a3, ..] = notification.args;
        match call {
            HostCall::SigAction => self.rt_sigaction(&notification),
            HostCall::SigProcMask => self.rt_sigprocmask(&notification),
            HostCall::SigReturn => {
                let sp = thread_stack_pointer(self.guest)?;
                self.sigreturn(sp)?;
                self.take_queued_signals()?;
                self.let_through(&notification)
            }
            HostCall::Nanosleep => self.sleep(notification, (1, 0), (a0, a1)),
            HostCall::ClockNanosleep => self.sleep(notification, (a0, a1), (a2, a3)),
            HostCall::RestartSyscall => self.complete(&notification, -i64::from(abi::EINTR)),
            HostCall::MapFile => self.map_file(&notification),
            HostCall::Madvise => self.madvise(&notification),
            HostCall::GetPid => self.complete(&notification, i64::from(self.home_pid())),
            HostCall::GetTid => self.complete(&notification, i64::from(self.meta.threads[0].tid)),
            HostCall::SetTidAddress => {
                self.meta.threads[0].clear_tid = a0;
                self.complete(&notification, i64::from(self.meta.threads[0].tid))
            }
            HostCall::Exec => self.exec(notification),
            HostCall::CpuClock => self.cpu_clock(&notification),
            HostCall::LetThrough => self.let_through(&notification),
        }
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
        let home = Home { stub: self.meta.stub, big: self.big, channel_fd: self.meta.channel_fd };
        match syscall::plan_exec(notification.nr, notification.args, &self.memory(), &home) {
            Plan::Forward(forward) => self.forward(notification, forward),
            Plan::NeedBig(bytes) => match self.grow_big(bytes)? {
                Ok(()) => self.exec(notification),
                Err(errno) => self.complete(&notification, errno),
            },
            Plan::Errno(errno) => self.complete(&notification, -i64::from(errno)),
            Plan::GoHome(why) => self.go_home_for(&notification, why),
            Plan::Host(_) => self.complete(&notification, -i64::from(abi::ENOSYS)),
        }
    }

    /// CPU clocks count what was used at home, elsewhere before, and here.
    fn cpu_clock(&mut self, notification: &Notification) -> io::Result<()> {
        let total = self.meta.cpu_home_ns + self.meta.cpu_away_ns + self.cpu.nanoseconds();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(total / 1_000_000_000).to_le_bytes());
        bytes[8..].copy_from_slice(&(total % 1_000_000_000).to_le_bytes());
        let written = mem::write_all(self.guest, notification.args[1], &bytes);
        self.complete(notification, if written.is_ok() { 0 } else { -i64::from(abi::EFAULT) })
    }

    /// The call can only be made at home: the guest is brought there and makes it again.
    pub fn go_home_for(&mut self, notification: &Notification, why: &str) -> io::Result<()> {
        log::debug!("process {} goes home: {why}", self.home_pid());
        self.order = Some(Order { id: None, to: Target::Home });
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
                let pid = self.home_pid();
                self.tell(&crate::wire::ctl::FromHost::Interrupt { pid })
            }
        }
    }
}
