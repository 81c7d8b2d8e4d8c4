//! A move of the guest that begins while it runs on: a thread sends its memory, round by round, and the host goes on serving it.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::guest::host::{self, Host, Order, Phase};
use crate::guest::maps::FileMaps;
use crate::image::clocks::Moment;
use crate::image::{Meta, Resume, Thread, areas};
use crate::migrate::live::{Outgoing, worthwhile};
use crate::migrate::source::Stayed;
use crate::sys::abi;
use crate::sys::poll::Source;
use crate::wire::channel::{BIG_AREAS, STUB_SIZE};
use crate::wire::control::Outcome;

/// The part of a move in which the guest runs on.
pub struct Live {
    order: Order,
    conn: TcpStream,
    thread: JoinHandle<Result<(), Stayed>>,
    /// Ends when the thread does.
    end: UnixStream,
    source: Source,
}

impl Live {
    /// What is to be watched for its end.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Ends it at once: whoever receives goes without.
    pub fn give_up(self) {
        // It may be closed already.
        let _ = self.conn.shutdown(Shutdown::Both);
        let _ = self.sent();
    }

    fn sent(self) -> Result<(Order, TcpStream), (Order, Stayed)> {
        let order = self.order;
        drop(self.end);
        match self.thread.join() {
            Ok(Ok(())) => Ok((order, self.conn)),
            Ok(Err(why)) => Err((order, why)),
            Err(_) => Err((order, Stayed("its memory could not be sent".to_owned()))),
        }
    }
}

/// Whoever held it may have ended in the middle: what it says of the receiver is void then, and the move has failed.
pub fn lock(outgoing: &Mutex<Outgoing>) -> MutexGuard<'_, Outgoing> {
    outgoing.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    /// Begins a move while the guest runs on, if that is worth while. False: it is to be stopped at once.
    pub fn begin_live(&mut self, order: Order) -> io::Result<bool> {
        let guest = self.guest();
        let to_home = self.goal(order.to) == self.meta.home.node;
        let can = lock(&self.outgoing).is_watched() && !(to_home && self.home_is_in_use());
        if !can || !worthwhile(guest).unwrap_or(false) {
            return Ok(false);
        }
        match self.try_begin(order, guest) {
            Ok(live) => self.live = Some(live),
            Err(why) => self.report(&order, Outcome::Stayed(why.0))?,
        }
        Ok(true)
    }

    /// Whether the deputies use the program's own memory at home, which would be written meanwhile: for a call that began there, or
    /// because there is not room for all behind the stubs.
    fn home_is_in_use(&self) -> bool {
        let began_there = |thread: &host::Thread| match &thread.phase {
            Phase::InCall(call) => call.forward.request.nr == abi::SYS_RESTART_SYSCALL,
            _ => matches!(thread.resume, Resume::RestartBlock { .. }),
        };
        self.threads.len() as u64 > BIG_AREAS || self.threads.iter().any(began_there)
    }

    /// Whether the guest's memory is on its way home while it runs.
    pub fn comes_home_live(&self) -> bool {
        let home = |live: &Live| self.goal(live.order.to) == self.meta.home.node;
        self.live.as_ref().is_some_and(home)
    }

    fn try_begin(&mut self, order: Order, guest: i32) -> Result<Live, Stayed> {
        let node = self.goal(order.to);
        let (conn, distant) = self.connect(node)?;
        let to_home = node == self.meta.home.node;
        let mut theirs = conn.try_clone()?;
        let outgoing = Arc::clone(&self.outgoing);
        let (meta, files, ahead) = (self.meta.clone(), self.files.clone(), self.ahead.0);
        let (end, till_then) = UnixStream::pair()?;
        let thread = std::thread::Builder::new().name("live".to_owned());
        let thread = thread.spawn(move || {
            let mut outgoing = lock(&outgoing);
            outgoing.begin(guest, to_home);
            let told = outgoing.set_distant(&theirs, distant);
            let sketch = || {
                let sent = Moment::now(ahead);
                Ok(Meta {
                    sent,
                    ..sketch(guest, &meta, &files)?
                })
            };
            let rounds = |()| outgoing.rounds(&mut theirs, sketch);
            let sent = told.map_err(Stayed::from).and_then(rounds);
            drop((outgoing, till_then));
            sent
        })?;
        let source = Source::new(&end);
        Ok(Live {
            order,
            conn,
            thread,
            end,
            source,
        })
    }

    /// The memory has been sent, as far as it can be of a guest that runs: it stops now. Or it stays.
    pub fn live_over(&mut self) -> io::Result<()> {
        let Some(live) = self.live.take() else {
            return Ok(());
        };
        match live.sent() {
            // It has to go home: that comes first.
            _ if self.leaving => Ok(()),
            Ok((order, _)) if self.halted => {
                self.report(&order, Outcome::Stayed("it is stopped".to_owned()))
            }
            Ok((order, conn)) => {
                self.begun = Some((order.to, conn));
                self.order = Some(order);
                self.stop_all(None)
            }
            Err((order, why)) => self.report(&order, Outcome::Stayed(why.0)),
        }
    }
}

/// The image of the guest that runs on.
fn sketch(guest: i32, came: &Meta, files: &FileMaps) -> Result<Meta, Stayed> {
    let ours = came.stub..came.stub + STUB_SIZE;
    let mut areas = areas::ascending(areas::of_guest(guest, &came.areas)?);
    areas.retain(|area| !ours.contains(&area.start));
    files.label_known(&mut areas);
    let first = Thread {
        tid: came.threads[0].tid,
        ..Thread::default()
    };
    Ok(Meta {
        threads: vec![first],
        areas,
        home_has: None,
        ..came.clone()
    })
}
