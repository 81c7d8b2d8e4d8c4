//! Shared views of files. A process that is away sees its files as they were when it left, so it leaves only while nobody writes
//! those that it shares: a lease on each tells the warden when somebody is about to, who then waits until it is home.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use crate::home::mover::seize::in_stub;
use crate::home::mover::{Leases, View};
use crate::home::warden::safe::{Kept, Lease};
use crate::home::warden::state::{Moving, Proc, Warden};
use crate::sys::{abi, lease, procfs, unix};
use crate::wire::control::{Place, Target};
use crate::wire::frame::write_frame;

/// A lease on a file; `None` where the file is not this user's to write, and nobody can tell.
fn lease(view: &View) -> Result<Option<File>, String> {
    let why = || format!("it shares memory: {}", view.path);
    let mut open = File::options();
    open.read(true).custom_flags(abi::O_NONBLOCK as i32);
    let file = open.open(&view.path).map_err(|_| why())?;
    if !file.metadata().is_ok_and(|meta| meta.ino() == view.inode) {
        return Err(why());
    }
    match lease::take(&file) {
        Ok(()) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(format!(
            "it shares memory that is being written: {}",
            view.path
        )),
        Err(_) if !unix::may_write(&view.path) => Ok(None),
        Err(_) => Err(why()),
    }
}

impl Warden {
    /// A mover asks before it stops its process; when it is away, the leases are the process's.
    pub fn lend(&mut self, id: u64, views: &[View]) {
        let Some(mover) = self.movers.get_mut(&id) else {
            return;
        };
        let pid = mover.pid;
        let born = self.procs.get(&pid).map_or(0, |proc| proc.born);
        let taken: Result<Vec<Option<File>>, String> = views.iter().map(lease).collect();
        let answer = match taken {
            Ok(files) => {
                let kept = files.into_iter().flatten();
                let kept = kept.map(|file| self.lender.keep(Kept { pid, born, file }));
                mover.leases = kept.collect();
                Leases::Taken
            }
            Err(why) => Leases::Refused(why),
        };
        if let Err(error) = write_frame(&mut mover.stream, &answer) {
            log::debug!("the mover of {} is gone: {error}", mover.pid);
        }
    }

    /// A host asks before its guest maps another file shared, of which a descriptor of thread `tid` is given.
    pub fn lend_view(&mut self, ctl: u64, pid: i32, (tid, fd): (i32, i32)) -> bool {
        let link = format!("/proc/{pid}/task/{tid}/fd/{fd}");
        let Some(proc) = self.procs.get_mut(&pid) else {
            return false;
        };
        let (Ok(path), Ok(meta)) = (std::fs::read_link(&link), std::fs::metadata(&link)) else {
            return false;
        };
        let (Some(path), inode) = (path.to_str().map(str::to_owned), meta.ino()) else {
            return false;
        };
        // Nobody else than its host speaks for it.
        match lease(&View { path, inode }) {
            Ok(file) if proc.ctl == Some(ctl) => {
                let born = proc.born;
                let kept = file.map(|file| self.lender.keep(Kept { pid, born, file }));
                proc.leases.extend(kept);
                true
            }
            _ => false,
        }
    }

    /// What a warden before this one has lent. Where its processes are their hosts will say; it is given back when they are at home.
    pub fn inherit(&mut self) {
        for (pid, born, lease) in self.lender.inherit() {
            if procfs::stat(pid).is_ok_and(|stat| stat.start_time == born) {
                self.know(pid);
            }
            let proc = self.procs.get_mut(&pid);
            if let Some(proc) = proc.filter(|proc| proc.born == born) {
                proc.leases.push(lease);
            }
        }
    }

    /// What a mover has lent goes with its process, if that may be away.
    pub fn hand_on(&mut self, id: u64) {
        let Some(mover) = self.movers.get_mut(&id) else {
            return;
        };
        if let Some(proc) = self.procs.get_mut(&mover.pid) {
            proc.leases = std::mem::take(&mut mover.leases);
            proc.seen_home = false;
        }
    }

    /// Away processes whose leases are wanted come home.
    pub fn recall(&mut self) {
        let wanted =
            |proc: &Proc| proc.moving.is_none() && proc.leases.iter().any(Lease::is_wanted);
        // A host that has not connected yet cannot be told; it is when it does.
        let away = |proc: &Proc| proc.ctl.is_some() && wanted(proc);
        let called = self.procs.iter().filter(|(_, proc)| away(proc));
        let called: Vec<i32> = called.map(|(pid, _)| *pid).collect();
        for pid in called {
            self.order(pid, Moving::new(None, Target::Home));
        }
    }

    /// It is at home for sure.
    pub fn give_back(&mut self, pid: i32) {
        if let Some(proc) = self.procs.get_mut(&pid) {
            proc.leases.clear();
        }
    }

    /// Gives back what processes had that ended, or came home without a mover because their host died: those that have been at home for
    /// two looks in a row, and are in nobody's hands (a mover may be that of a warden before this one).
    pub fn sweep(&mut self) {
        let leased = self
            .procs
            .iter()
            .filter(|(_, proc)| !proc.leases.is_empty());
        let leased: Vec<i32> = leased.map(|(pid, _)| *pid).collect();
        for pid in leased {
            let alive = self.alive(pid);
            let traced = procfs::status(pid).is_ok_and(|status| status.tracer != 0);
            let held = self.movers.values().any(|mover| mover.pid == pid);
            let busy = held || traced || in_stub(pid);
            let Some(proc) = self.procs.get_mut(&pid) else {
                continue;
            };
            let home = proc.place == Place::Home && proc.moving.is_none() && !busy;
            if !alive || (home && proc.seen_home) {
                proc.leases.clear();
            }
            proc.seen_home = home;
        }
    }
}
