//! Memory on its way while its process runs on: the sender's stages, and what each is to the receiver.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::image::copier::{Copier, Files, is_anonymous};
use crate::image::{Meta, layout};
use crate::migrate::fault;
use crate::migrate::rounds::{LITTLE, Next, Rounds, WORTHWHILE};
use crate::migrate::source::{Stayed, Toll, reason};
use crate::sys::writes::WriteWatch;
use crate::sys::{procfs, socket};
use crate::wire::control::Figures;
use crate::wire::frame::write_frame;

/// Says how large a process must be to be moved while it runs, in bytes: for tests, which have little time.
pub const WORTHWHILE_VARIABLE: &str = "MOS_LIVE_FROM";

/// What the memory that follows is of.
#[derive(Debug, Serialize, Deserialize)]
pub enum Stage {
    /// A process that runs on at the sender: of its threads, there is but a number.
    Early(Box<Meta>),
    /// A process that has stopped; the receiver has all of it now.
    Last(Box<Meta>),
}

/// Whether to move a process while it runs: it is large, and nothing writes its memory that its kernel could not note.
pub fn worthwhile(pid: i32) -> io::Result<bool> {
    Ok(procfs::status(pid)?.vm_rss_bytes >= least() && !procfs::transfers_directly(pid)?)
}

/// How large a process is that is moved while it runs.
fn least() -> u64 {
    let given = std::env::var(WORTHWHILE_VARIABLE).ok();
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or(WORTHWHILE)
}

/// A process's memory on its way out.
pub struct Outgoing {
    copier: Copier,
    /// The last image of the running process that the receiver has.
    early: Option<Meta>,
    /// What has been sent so far.
    sent: Figures,
}

/// Most ranges that home is said to have.
const HOME_RANGES: usize = 1 << 18;

impl Outgoing {
    /// Of a process at home. With a `watch`, there can be rounds before it stops.
    pub fn from_home(pid: i32, watch: Option<Arc<WriteWatch>>) -> Outgoing {
        Outgoing {
            copier: Copier::new(pid, Files::Send, watch),
            early: None,
            sent: Figures::default(),
        }
    }

    /// Of a guest that has come with this image: from before it ran, its kernel has noted what it writes.
    pub fn of_guest(pid: i32, came: &Meta, watch: Option<Arc<WriteWatch>>) -> Outgoing {
        let home = match &came.home_has {
            _ if watch.is_none() => Vec::new(),
            Some(home) => home.clone(),
            None => came
                .areas
                .iter()
                .filter(|area| is_anonymous(area))
                .map(|area| (area.start, area.end))
                .collect(),
        };
        Outgoing {
            copier: Copier::new(pid, Files::SendCopies, watch).with_home(home),
            early: None,
            sent: Figures::default(),
        }
    }

    /// A guest, one of whose threads is `pid` here, moves home, or on to another node.
    pub fn begin(&mut self, pid: i32, to_home: bool) {
        let files = match to_home {
            true => Files::There,
            false => Files::SendCopies,
        };
        self.early = None;
        self.sent = Figures::default();
        self.copier.begin(pid, files);
    }

    /// Whether the network to the receiver may be slow: memory is packed then, while that is faster.
    pub fn set_distant(&mut self, conn: &TcpStream, distant: bool) -> io::Result<()> {
        log::debug!(
            "live: the receiver is {}",
            if distant { "distant" } else { "near" }
        );
        self.copier.set_distant(distant);
        // What waits in the kernel when the process stops, it waits for.
        socket::keep_little(conn)
    }

    /// Whether there can be rounds before the process stops.
    pub fn is_watched(&self) -> bool {
        self.copier.is_watched()
    }

    /// Sends memory while its process runs on, until it is better stopped; none if what is written is not known. `sketch` gives its image
    /// as it is now.
    pub fn rounds(
        &mut self,
        conn: &mut TcpStream,
        mut sketch: impl FnMut() -> Result<Meta, Stayed>,
    ) -> Result<(), Stayed> {
        let mut rounds = Rounds::new(LITTLE.min(least()));
        while self.copier.is_watched() {
            let meta = sketch()?;
            self.follow(&meta)?;
            let look = self.copier.look(&meta.areas)?;
            log::debug!("live: {} bytes to be sent", look.bytes());
            if rounds.next(look.bytes()) == Next::Stop {
                return Ok(());
            }
            let began = Instant::now();
            let stage = Stage::Early(Box::new(meta));
            fault::point("source.round")?;
            write_frame(conn, &stage)?;
            let Stage::Early(meta) = stage else { continue };
            let sent = self.copier.send_round(&meta.areas, &look, conn);
            let sent = sent.map_err(|error| reason(conn, error))?;
            rounds.sent(sent, began.elapsed());
            self.sent.bytes += sent;
            self.sent.rounds += 1;
            self.early = Some(*meta);
        }
        Ok(())
    }

    /// Sends all that the receiver still lacks of the process, which has stopped.
    pub fn last(&mut self, conn: &mut TcpStream, mut meta: Meta) -> Result<Meta, Stayed> {
        fault::point("source.meta")?;
        self.follow(&meta)?;
        let look = self.copier.look_stopped(&meta.areas)?;
        if self.copier.files() == Files::SendCopies {
            let home = self.copier.home_has();
            meta.home_has = Some(home[..home.len().min(HOME_RANGES)].to_vec());
        }
        log::debug!("live: {} bytes are the last", look.bytes());
        let stage = Stage::Last(Box::new(meta));
        write_frame(conn, &stage)?;
        fault::point("source.pages")?;
        let (Stage::Last(meta) | Stage::Early(meta)) = stage;
        let sent = self.copier.send_last(&meta.areas, &look, conn);
        self.sent.bytes += sent.map_err(|error| reason(conn, error))?;
        Ok(*meta)
    }

    /// What the move has taken so far, of a process that was told to stop at `since`.
    pub fn toll(&self, since: Instant) -> Toll {
        Toll::new(self.sent, since)
    }

    /// The receiver changes the layout that it has for this one, or begins anew.
    fn follow(&mut self, meta: &Meta) -> io::Result<()> {
        match &self.early {
            Some(early) if layout::continues(early, meta) => {
                let (before, now) = (layout::places(early)?, layout::places(meta)?);
                self.copier.limit(&layout::changes(&before, &now).kept);
            }
            Some(_) => self.copier.forget(),
            None => {}
        }
        Ok(())
    }
}
