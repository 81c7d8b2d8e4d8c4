//! Threads that the guest makes and ends: each has a thread at home, its deputy, of the same number.

use std::io;

use crate::guest::host::{Ending, Host, Phase, Thread};
use crate::image;
use crate::image::capture::Calls;
use crate::image::restore::gadget;
use crate::migrate::deputy::{Deputy, checked};
use crate::migrate::source::parse_token;
use crate::migrate::{target, tracee};
use crate::sys::abi::{self, EAGAIN, ESRCH};
use crate::sys::inject::Injector;
use crate::sys::ptrace::{Stopped, wait_stop};
use crate::sys::seccomp::{Notification, Response};
use crate::sys::{mem, stub};
use crate::syscall::fork::{self, Fork};
use crate::wire::channel::{CODE, DATA, PROGRAM, Request, STACK_TOP, STUB_SIZE, THREAD, stub_of};

/// Where a channel's number is looked for, so that the program's own descriptors keep the numbers that they would have.
const HIGH_NUMBERS: [u64; 5] = [960, 832, 512, 192, 48];
/// What a deputy's thread shares with the others, whatever the program asked for beyond that.
const SHARED: u64 = fork::CLONE_VM
    | fork::CLONE_FS
    | fork::CLONE_FILES
    | fork::CLONE_SIGHAND
    | fork::CLONE_THREAD
    | fork::CLONE_SYSVSEM;

impl Host {
    /// A thread is made here and at home; a process at home only.
    pub fn fork(&mut self, t: usize, notification: &Notification) -> io::Result<()> {
        let asked = fork::parse(notification.nr as u64, &notification.args, &self.memory(t));
        match asked {
            Ok(asked) if asked.flags & fork::CLONE_THREAD != 0 => {
                self.new_thread(t, notification, &asked)
            }
            _ => self.go_home_for(t, notification, "forks"),
        }
    }

    fn new_thread(
        &mut self,
        t: usize,
        notification: &Notification,
        asked: &Fork,
    ) -> io::Result<()> {
        // Out of the call, so that it can be made by injection; its result is put into the register afterwards.
        tracee::interrupt(self.threads[t].tid)?;
        self.threads[t].phase = Phase::Running;
        self.listener.send(notification.id, Response::Value(0))?;
        if !self.await_event_stop(t)? {
            return Ok(());
        }
        let result = self.make_thread(t, asked)?;
        let tid = self.threads[t].tid;
        let mut regs = tracee::regs(tid)?;
        regs.rax = result as u64;
        tracee::set_regs(tid, &regs)?;
        if self.leaving {
            self.leave_if_stopped()?;
        } else {
            self.go_on(t, 0)?;
        }
        self.take_queued_signals(t)
    }

    /// A thread at home, then one here; the result of the call.
    fn make_thread(&mut self, t: usize, asked: &Fork) -> io::Result<i64> {
        let (mut deputy, number) = match self.deputy_thread(t)? {
            Ok(made) => made,
            Err(errno) => return Ok(errno),
        };
        match self.guest_thread(t, asked, number) {
            Ok(tid) => {
                let mask = self.threads[t].mask;
                let clears = asked.flags & fork::CLONE_CHILD_CLEARTID != 0;
                let clear_tid = if clears { asked.child_tid } else { 0 };
                let image = image::Thread {
                    tid: number,
                    mask,
                    clear_tid,
                    ..image::Thread::default()
                };
                self.channels.insert(deputy.channel_fd);
                let mut thread = Thread::arrived(&image, tid, deputy);
                thread.deputy.set_mask(mask)?;
                thread.home_mask = mask;
                self.threads.push(thread);
                let new = self.threads.len() - 1;
                if self.leaving || self.halted {
                    return Ok(i64::from(number));
                }
                self.go_on(new, 0)?;
                Ok(i64::from(number))
            }
            Err(error) => {
                log::warn!(
                    "process {}: no thread could be made here: {error}",
                    self.home_pid()
                );
                deputy.end_thread(0)?;
                Ok(-i64::from(EAGAIN))
            }
        }
    }

    /// A new thread at home that waits in a stub of its own for requests, and its number.
    fn deputy_thread(&mut self, t: usize) -> io::Result<Result<(Deputy, i32), i64>> {
        let token = target::announce_channel(&mut self.client)?;
        let greeting = parse_token(&token).map_err(|why| io::Error::other(why.0))?;
        let (me, port, base) = (self.me, self.port, self.free_stub(t)?);
        let first = self.meta.stub;
        let deputy = &mut self.threads[t].deputy;
        let Some(fd) = open_high(deputy, |deputy| deputy.open_channel(me, port, &greeting))? else {
            return Ok(Err(-i64::from(EAGAIN)));
        };
        let channel = target::await_channels(&mut self.client, std::slice::from_ref(&token))?;
        let channel = channel
            .into_values()
            .next()
            .ok_or(io::ErrorKind::NotConnected)?;
        let deputy = &mut self.threads[t].deputy;
        write_stub(deputy, base, first, fd as i32)?;
        let request = Request {
            flags: PROGRAM | THREAD,
            nr: abi::SYS_CLONE,
            args: [SHARED, base + STACK_TOP - 8, 0, 0, 0, 0],
            ..Request::default()
        };
        match checked(deputy.rpc(&request, &[])?.0) {
            Ok(number) => Ok(Ok((Deputy::new(channel, base, fd as i32), number as i32))),
            Err(error) => {
                deputy.call(abi::SYS_CLOSE, [fd, 0, 0, 0, 0, 0])?;
                Ok(Err(-i64::from(error.raw_os_error().unwrap_or(EAGAIN))))
            }
        }
    }

    /// The lowest place for a stub that no thread at home has.
    fn free_stub(&mut self, t: usize) -> io::Result<u64> {
        let pid = self.home_pid() as u64;
        let deputy = &mut self.threads[t].deputy;
        let mut still = Vec::new();
        for (base, tid) in self.retired.drain(..) {
            if deputy.raw_call(abi::SYS_TGKILL, [pid, tid as u64, 0, 0, 0, 0])? != -i64::from(ESRCH)
            {
                still.push((base, tid));
            }
        }
        self.retired = still;
        let used = |base: u64| {
            self.threads.iter().any(|thread| thread.deputy.base == base)
                || self.retired.iter().any(|(retired, _)| *retired == base)
        };
        let first = self.meta.stub;
        Ok((1..)
            .map(|at| stub_of(first, at))
            .find(|base| !used(*base))
            .unwrap_or(first))
    }

    /// The thread here, stopped, with the registers of the program's new thread; its number here.
    fn guest_thread(&mut self, t: usize, asked: &Fork, number: i32) -> io::Result<i32> {
        if let Some(numbers) = &mut self.numbers {
            numbers.next(number)?;
        }
        let parent = self.threads[t].tid;
        let mut injector = Injector::new(Stopped::known(parent), gadget(self.meta.stub))?;
        let args = [
            asked.flags,
            asked.stack,
            asked.parent_tid,
            asked.child_tid,
            asked.tls,
            0,
        ];
        let given = injector.call_through(abi::SYS_CLONE, args, &self.listener, &mut self.early)?;
        let tid = injector.take_child().ok_or(io::ErrorKind::NotFound)?;
        injector.finish()?;
        wait_stop(tid)?;
        if given as i32 != number {
            self.numbered = false;
            for (flag, place) in [
                (fork::CLONE_PARENT_SETTID, asked.parent_tid),
                (fork::CLONE_CHILD_SETTID, asked.child_tid),
            ] {
                if asked.flags & flag != 0 {
                    mem::write_all(parent, place, &number.to_le_bytes())?;
                }
            }
        }
        let thread = Stopped::known(tid);
        let mut regs = tracee::regs(parent)?;
        regs.fs_base = thread.regs()?.fs_base;
        (regs.rax, regs.orig_rax) = (0, u64::MAX);
        if asked.stack != 0 {
            regs.rsp = asked.stack;
        }
        thread.set_regs(&regs)?;
        thread.set_sigmask(self.threads[t].mask)?;
        Ok(tid)
    }

    /// `exit` of one of several threads: at home first.
    pub fn end_thread(&mut self, t: usize, notification: Notification) -> io::Result<()> {
        self.threads[t].phase = Phase::Ending(notification);
        self.threads[t].deputy.end_thread(notification.args[0])
    }

    /// The deputy has ended; now the thread does.
    pub fn thread_ended(&mut self, t: usize) -> io::Result<()> {
        if self.threads.len() == 1 {
            self.ending = Some(Ending::HomeGone);
            return Ok(());
        }
        let thread = self.threads.remove(t);
        if let Phase::Ending(notification) = thread.phase {
            self.listener.send(notification.id, Response::Continue)?;
        }
        self.departed.push(thread.tid);
        self.retired.push((thread.deputy.base, thread.home_tid));
        self.channels.remove(thread.deputy.channel_fd);
        // What it had taken and not seen is for another.
        for info in thread.pending {
            let heir = self.any();
            self.signal_from_home(heir, info)?;
        }
        if self.leaving {
            self.leave_if_stopped()
        } else {
            Ok(())
        }
    }
}

/// Opens a descriptor at home under a high number. `None`: it has no more descriptors.
fn open_high(
    deputy: &mut Deputy,
    open: impl FnOnce(&mut Deputy) -> io::Result<u64>,
) -> io::Result<Option<u64>> {
    let low = match open(deputy) {
        Err(error) if error.raw_os_error() == Some(abi::EMFILE) => return Ok(None),
        other => other?,
    };
    let mut high = None;
    for least in HIGH_NUMBERS {
        if let Ok(fd) = deputy.call(abi::SYS_FCNTL, [low, abi::F_DUPFD_CLOEXEC, least, 0, 0, 0]) {
            high = Some(fd);
            break;
        }
    }
    deputy.call(abi::SYS_CLOSE, [low, 0, 0, 0, 0, 0])?;
    Ok(high)
}

/// Maps a stub at home and makes it ready for a thread that begins there with its channel open.
fn write_stub(deputy: &mut Deputy, base: u64, first: u64, channel_fd: i32) -> io::Result<()> {
    let prot = abi::PROT_READ | abi::PROT_WRITE | abi::PROT_EXEC;
    let flags = abi::MAP_PRIVATE | abi::MAP_ANONYMOUS | abi::MAP_NORESERVE | abi::MAP_FIXED;
    deputy.call(abi::SYS_MMAP, [base, STUB_SIZE, prot, flags, u64::MAX, 0])?;
    let data = stub::Data::new(channel_fd).follows(first).encode();
    let entry = (base + CODE + stub::ENTRY).to_le_bytes();
    for (place, bytes) in [
        (base + CODE, stub::code()),
        (base + DATA, &data[..]),
        (base + STACK_TOP - 8, &entry[..]),
    ] {
        deputy.write_memory(place, bytes)?;
    }
    Ok(())
}
