//! CPU time, as the guest's calls tell it: what the home process has used (the deputy's answer), what was used here and at other nodes
//! before, and what the warden knows of others.

use std::io;

use crate::guest::host::{Call, Host};
use crate::sys::abi::{self, EINTR};
use crate::syscall::usage::{self, Elsewhere, Whose};
use crate::wire::channel::ABORTED;
use crate::wire::ctl::AWAY_TIME;

/// What the warden is asked for (`warden::usage::host_asks`).
const BY_PROCESS: u64 = 0;
const BY_CHILDREN: u64 = 1;
const BY_CHILD: u64 = 2;

impl Host {
    /// Adds to the answer of a call that has succeeded what was used elsewhere.
    pub fn add_cpu_time(&mut self, t: usize, call: &Call, result: i64) -> io::Result<()> {
        let (nr, args) = (call.notification.nr as u64, call.notification.args);
        let Some(whose) = usage::whose(nr, &args, self.home_pid()) else {
            return Ok(());
        };
        if usage::of_this_thread(nr, &args) && self.threads.len() > 1 {
            // What was used elsewhere is known of the process only.
            return Ok(());
        }
        let child = usage::waited_child(nr, &args, result, &self.memory(t));
        let elsewhere = match whose {
            Whose::Own => Elsewhere {
                own: self.cpu_away(),
                children: 0,
            },
            Whose::Children => Elsewhere {
                own: 0,
                children: self.ask_home(t, BY_CHILDREN, 0)?,
            },
            Whose::Family => Elsewhere {
                own: self.cpu_away(),
                children: self.ask_home(t, BY_CHILDREN, 0)?,
            },
            Whose::Of(pid) => Elsewhere {
                own: self.ask_home(t, BY_PROCESS, pid)?,
                children: 0,
            },
            Whose::Waited => match child {
                Some(child) => Elsewhere {
                    own: self.ask_home(t, BY_CHILD, child)?,
                    children: 0,
                },
                None => return Ok(()),
            },
        };
        // The deputy's answer has just been stored there; if it is gone again nobody misses this.
        let _ = usage::add(nr, &args, elsewhere, &self.memory(t));
        self.take_queued_signals(t)
    }

    /// Asks the warden through the deputy, so that what happened at home before is known there.
    fn ask_home(&mut self, t: usize, what: u64, pid: i32) -> io::Result<u64> {
        let path = format!("/proc/self/{AWAY_TIME}\0");
        loop {
            let value = self.threads[t].deputy.try_call_with(
                abi::SYS_OPEN,
                [0, what, pid as u64, 0, 0, 0],
                0,
                path.as_bytes(),
            )?;
            match value {
                // A caught signal; the program gets it later.
                _ if value == ABORTED || value == -i64::from(EINTR) => {}
                // Without a warden nobody knows.
                _ => return Ok(value.max(0) as u64),
            }
        }
    }
}
