//! The ledger of CPU time kept up with what happens: who is whose child, who has ended, who was waited for.

use std::os::fd::{AsRawFd, RawFd};

use crate::home::warden::state::Warden;
use crate::sys::poll::{self, Interest};
use crate::sys::{process, procfs};

impl Warden {
    /// Opens the accounts of a process and its ancestors in the tree.
    pub fn account(&mut self, pid: i32) {
        let mut at = pid;
        while at > 1 {
            let Ok(stat) = procfs::stat(at) else { return };
            if self
                .ledger
                .get(at)
                .is_some_and(|account| account.born == stat.start_time)
            {
                return;
            }
            if !procfs::status(at).is_ok_and(|status| status.filters >= self.filters) {
                return;
            }
            let Ok(pidfd) = process::pidfd_open(at) else {
                return;
            };
            self.ledger.open(at, stat.start_time, stat.ppid);
            self.pidfds.insert(at, pidfd);
            self.wake_waiter(stat.ppid);
            at = stat.ppid;
        }
    }

    /// `pid` has used this much away, in all.
    pub fn used_away(&mut self, pid: i32, total: u64) {
        if total > self.ledger.own(pid) {
            self.account(pid);
            self.ledger.used(pid, total);
        }
        self.seen_alive(pid);
    }

    /// `pid` is away (what it uses there is told later), or is not any more (everything has been told).
    pub fn set_away(&mut self, pid: i32, away: bool) {
        if away {
            self.account(pid);
        }
        if let Some(account) = self.ledger.get_mut(pid) {
            account.away = away;
        }
        self.seen_alive(pid);
    }

    /// Notes how many faults its parent's children had: whether they are more later tells if the parent waited for it.
    fn seen_alive(&mut self, pid: i32) {
        let Some(account) = self.ledger.get(pid) else {
            return;
        };
        let Ok(parent) = procfs::stat(account.parent) else {
            return;
        };
        let born = account.born;
        if procfs::stat(pid).is_ok_and(|stat| stat.start_time == born && stat.state != b'Z')
            && let Some(account) = self.ledger.get_mut(pid)
        {
            account.faults = parent.child_faults;
        }
    }

    /// Brings the ledger up to date with what has ended.
    pub fn settle(&mut self) {
        self.find_ended();
        for pid in self.ledger.ended() {
            let Some(account) = self.ledger.get(pid) else {
                continue;
            };
            let zombie = procfs::stat(pid).is_ok_and(|stat| stat.start_time == account.born);
            // What its own children have used comes first.
            let children = self.ledger.ended_children(pid).next().is_some();
            if zombie || account.away || children {
                continue;
            }
            // A child that was not waited for (SIGCHLD is ignored) leaves no trace in its parent.
            let parent = procfs::stat(account.parent).ok();
            let waited_for = parent.is_none_or(|parent| parent.child_faults > account.faults);
            self.ledger.close(pid, waited_for);
            self.pidfds.remove(&pid);
        }
    }

    fn find_ended(&mut self) {
        let fds: Vec<(i32, RawFd)> = self
            .pidfds
            .iter()
            .map(|(pid, fd)| (*pid, fd.as_raw_fd()))
            .collect();
        let waits: Vec<(RawFd, Interest)> =
            fds.iter().map(|(_, fd)| (*fd, Interest::Read)).collect();
        let Ok(ready) = poll::wait(&waits, Some(std::time::Duration::ZERO)) else {
            return;
        };
        for ((pid, _), ready) in fds.into_iter().zip(ready) {
            if ready {
                self.process_ended(pid);
            }
        }
    }

    /// A process with an account has ended; children that it has not waited for have another parent now.
    pub fn process_ended(&mut self, pid: i32) {
        self.pidfds.remove(&pid);
        let orphans: Vec<i32> = self
            .ledger
            .children_of(pid)
            .map(|(child, _)| child)
            .collect();
        if let Some(account) = self.ledger.get_mut(pid) {
            account.ended = true;
            if let Ok(stat) = procfs::stat(pid)
                && stat.start_time == account.born
            {
                account.parent = stat.ppid;
            }
        }
        for orphan in orphans {
            if let Ok(stat) = procfs::stat(orphan)
                && let Some(account) = self.ledger.get_mut(orphan)
                && account.born == stat.start_time
            {
                account.parent = stat.ppid;
                self.account(stat.ppid);
                self.wake_waiter(stat.ppid);
            }
        }
    }
}
