//! Local processes at the control socket: wardens, hosts, movers and tools. What they may do depends on whose they are.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Interest, Token};

use super::questions::{Listing, Owned, Purpose};
use super::report::Asker;
use super::server::Server;
use crate::balance::Bound;
use crate::config::Member;
use crate::event::local::{LocalConn, Turn};
use crate::sys::socket::{self, Peer};
use crate::sys::{process, procfs, unix};
use crate::wire::codec;
use crate::wire::control::{FromMosd, NodeInfo, Outcome, ProcInfo, Target, ToMosd};

/// Most connections of one user other than root and mosd's own.
const MAX_PER_USER: usize = 2000;

/// How old a process is at most that is taken for a mosrun which has not registered yet.
const STARTING: Duration = Duration::from_secs(3);

/// Who a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Tool,
    Warden { tree: u64 },
    Host { home: Ipv4Addr },
    Mover,
}

/// A connection at the control socket.
pub struct LocalClient {
    conn: LocalConn,
    pub peer: Peer,
    pub role: Role,
}

impl Server {
    pub(super) fn accept_clients(&mut self) {
        loop {
            match self.accept_control() {
                Ok(stream) => {
                    if let Err(error) = self.add_client(stream) {
                        log::info!("a local connection was refused: {error}");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    log::warn!("cannot accept a local connection: {error}");
                    return;
                }
            }
        }
    }

    fn add_client(&mut self, mut stream: UnixStream) -> io::Result<()> {
        let peer = socket::peer(&stream)?;
        let same = self
            .clients
            .values()
            .filter(|other| other.peer.uid == peer.uid)
            .count();
        if !self.trusts(peer.uid) && same >= MAX_PER_USER {
            return Err(io::Error::other(format!(
                "user {} has {same} already",
                peer.uid
            )));
        }
        let token = self.new_token();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(token), interest)?;
        self.clients.insert(
            token,
            LocalClient {
                conn: LocalConn::new(stream),
                peer,
                role: Role::Tool,
            },
        );
        self.client_ready(token);
        Ok(())
    }

    /// Root, and the user whose cluster this is.
    pub(super) fn trusts(&self, uid: u32) -> bool {
        uid == 0 || uid == unix::euid()
    }

    pub(super) fn client_ready(&mut self, token: usize) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        let turn = client.conn.flush().and_then(|()| client.conn.read());
        match turn {
            Ok(turn) => {
                self.after_turn(token, turn);
                let served = self.serve_frames(token);
                if let Err(error) = &served {
                    log::debug!("client {token} dropped: {error}");
                }
                if turn == Turn::Closed || served.is_err() {
                    self.drop_client(token);
                }
            }
            Err(error) => {
                log::debug!("client {token}: {error}");
                self.drop_client(token);
            }
        }
    }

    fn serve_frames(&mut self, token: usize) -> io::Result<()> {
        while let Some(client) = self.clients.get_mut(&token) {
            let Some(frame) = client.conn.take()? else {
                break;
            };
            let message = codec::decode(&frame.payload)?;
            self.message(token, message);
        }
        Ok(())
    }

    /// Sends a message; a client that cannot be sent to is dropped.
    pub(super) fn send(&mut self, token: usize, message: &FromMosd, fd: Option<OwnedFd>) {
        let Some(client) = self.clients.get_mut(&token) else {
            return;
        };
        if let Err(error) = client.conn.send(message, fd) {
            log::info!("client {token} dropped: {error}");
            self.drop_client(token);
        }
    }

    fn drop_client(&mut self, token: usize) {
        let Some(mut client) = self.clients.remove(&token) else {
            return;
        };
        let _ = self.poll.registry().deregister(&mut client.conn.stream);
        self.channels.owner_gone(token);
        self.forget_waits(token);
        if let Role::Host { home } = client.role {
            self.guest_gone(home);
        }
        self.balancing.starts.client_gone(token);
        self.outgoing
            .retain(|_, connection| connection.client != token);
        let stayed =
            Outcome::Stayed("its warden or host ended before it said what became of it".into());
        for asker in self.questions.client_gone(token) {
            self.send(asker, &FromMosd::Result(stayed.clone()), None);
        }
    }

    fn message(&mut self, token: usize, message: ToMosd) {
        let Some(client) = self.clients.get(&token) else {
            return;
        };
        let uid = client.peer.uid;
        match message {
            ToMosd::Warden { tree, .. } => self.register_warden(token, tree, uid),
            ToMosd::Host { home } => {
                self.policy.arriving.remove(&client.peer.pid);
                self.policy.hurry();
                self.welcome(token, Role::Host { home });
            }
            ToMosd::Mover => self.welcome(token, Role::Mover),
            ToMosd::Expect { token: name } => {
                match self.channels.expect(token, name.clone(), Instant::now()) {
                    Ok(Some(stream)) => self.give_channel(token, name, stream),
                    Ok(None) => {}
                    Err(why) => self.send(token, &FromMosd::Error(why), None),
                }
            }
            ToMosd::Forget { token: name } => self.channels.forget(token, &name),
            ToMosd::Mine { id, procs } => self.mine(token, id, procs),
            ToMosd::Moved { id, outcome } => {
                self.balance_moved(id, &outcome);
                self.freeze_moved(id, &outcome);
                if let Some(asker) = self.questions.moved(id, token) {
                    self.send(asker, &FromMosd::Result(outcome), None);
                }
            }
            ToMosd::List { local, guests } => self.list(token, Purpose::List, local, guests),
            ToMosd::Move { pid, to, wait } => match self.check_target(to) {
                Ok(to) => self.list(token, Purpose::Move { pid, to, wait }, true, true),
                Err(why) => self.send(token, &FromMosd::Result(Outcome::Stayed(why)), None),
            },
            ToMosd::Shake => self.shake(token, uid),
            ToMosd::Status => self.status(token),
            ToMosd::Resolve { node } => {
                let answer = match self.config.resolve(node) {
                    Ok(address) => FromMosd::Node(Some(self.node_info(address))),
                    Err(why) => FromMosd::Error(why),
                };
                self.send(token, &answer, None);
            }
            ToMosd::Weights { id, procs } => self.weights(token, id, procs),
            ToMosd::Best {
                memory,
                wait,
                starts,
                needs,
            } => {
                let bound = Bound {
                    needs: needs.unwrap_or(self.processors.own()),
                    begins: needs.is_none(),
                };
                self.best(token, (memory, bound), wait, starts);
            }
            ToMosd::Connect { id, node } => self.connect(token, id, node, uid),
            ToMosd::ConnectToSend { id, node, home } => {
                self.connect_to_send(token, id, (node, home), uid);
            }
            ToMosd::Admin(order) => self.admin(token, uid, order),
            ToMosd::Report => self.asks_report(Asker::Tool(token)),
            ToMosd::World => self.world(token),
            ToMosd::Relation { node } => self.relation(token, node),
            ToMosd::Common => self.common(token),
            ToMosd::FreezeFile { tried } => self.freeze_file(token, &tried),
        }
    }

    /// All wardens and hosts.
    pub(super) fn owners(&self) -> Vec<usize> {
        let owner = |role: Role| matches!(role, Role::Warden { .. } | Role::Host { .. });
        let owners = self.clients.iter().filter(|(_, client)| owner(client.role));
        owners.map(|(token, _)| *token).collect()
    }

    fn welcome(&mut self, token: usize, role: Role) {
        if let Some(client) = self.clients.get_mut(&token) {
            client.role = role;
            client.conn.trust();
        }
        let welcome = FromMosd::Welcome {
            address: self.config.address,
            port: self.config.ports.tcp,
            cpu: self.processors.own(),
        };
        self.send(token, &welcome, None);
        if let Role::Warden { .. } = role {
            for early in self.questions.early() {
                self.list(early.asker, early.purpose, true, true);
            }
        }
    }

    fn register_warden(&mut self, token: usize, tree: u64, uid: u32) {
        let role = Role::Warden { tree };
        let other = self
            .clients
            .iter()
            .find(|(other, client)| **other != token && client.role == role);
        match other.map(|(other, client)| (*other, client.peer.uid)) {
            Some((_, owner)) if owner != uid && uid != 0 => {
                self.send(
                    token,
                    &FromMosd::Error(format!("tree {tree:x} is another user's")),
                    None,
                );
            }
            // A warden that connects again is faster than the end of its old connection.
            Some((old, _)) => {
                self.drop_client(old);
                self.welcome(token, role);
                self.warden_came();
            }
            None => {
                self.welcome(token, role);
                self.warden_came();
            }
        }
    }

    /// The warden of `tree`, if it is of the user for whom the other node opened the connection.
    pub(super) fn warden_for(&self, tree: u64, uid: u32) -> Option<usize> {
        let (token, client) = self
            .clients
            .iter()
            .find(|(_, client)| client.role == Role::Warden { tree })?;
        (client.peer.uid == uid).then_some(*token)
    }

    fn mine(&mut self, token: usize, id: u64, mut procs: Vec<ProcInfo>) {
        let Some(client) = self.clients.get(&token) else {
            return;
        };
        // A user's warden cannot speak for other users.
        if !self.trusts(client.peer.uid) {
            procs.iter_mut().for_each(|info| info.uid = client.peer.uid);
        }
        self.questions.mine(id, token, procs);
    }

    fn list(&mut self, asker: usize, purpose: Purpose, local: bool, guests: bool) {
        self.collect(asker, purpose, (local, guests), Instant::now());
    }

    /// Asks wardens (`local`) and hosts (`guests`) for their processes.
    pub(super) fn collect(
        &mut self,
        asker: usize,
        purpose: Purpose,
        (local, guests): (bool, bool),
        now: Instant,
    ) {
        let wanted = |role: Role| match role {
            Role::Warden { .. } => local,
            Role::Host { .. } => guests,
            Role::Tool | Role::Mover => false,
        };
        let owners: Vec<usize> = self
            .clients
            .iter()
            .filter(|(_, client)| wanted(client.role))
            .map(|(token, _)| *token)
            .collect();
        let id = self.questions.list(asker, purpose, &owners, now);
        for owner in owners {
            self.send(owner, &FromMosd::ListYours { id }, None);
        }
    }

    /// Answers the listings that are whole, or have taken long enough.
    pub(super) fn finish_listings(&mut self, now: Instant) {
        for early in self.questions.overdue(now) {
            if let Purpose::Move { pid, .. } = early.purpose {
                self.unknown(early.asker, pid);
            }
        }
        for listing in self.questions.finished(now) {
            match listing.purpose {
                Purpose::List => {
                    let mut procs: Vec<ProcInfo> =
                        listing.procs.into_iter().map(|owned| owned.info).collect();
                    procs.sort_by_key(|info| info.pid);
                    self.send(listing.asker, &FromMosd::Procs(procs), None);
                }
                Purpose::Look => self.looked(&listing),
                Purpose::Move { pid, to, wait } => self.order_move(&listing, pid, to, wait),
            }
        }
    }

    fn order_move(&mut self, listing: &Listing, pid: i32, to: Target, wait: bool) {
        let asker = listing.asker;
        let Some(uid) = self.clients.get(&asker).map(|client| client.peer.uid) else {
            return;
        };
        let Some(Owned { owner, info }) = listing.procs.iter().find(|owned| owned.info.pid == pid)
        else {
            let now = Instant::now();
            match starting(pid, now) {
                Some(until) => {
                    let purpose = Purpose::Move { pid, to, wait };
                    self.questions.postpone(asker, purpose, until);
                }
                None => self.unknown(asker, pid),
            }
            return;
        };
        let guest = info.from.is_some();
        if !self.trusts(uid) && (uid != info.uid || guest) {
            let what = if guest {
                "only root can move guests"
            } else {
                "it is another user's"
            };
            self.send(
                asker,
                &FromMosd::Error(format!("process {pid}: {what}")),
                None,
            );
            return;
        }
        if guest && matches!(to, Target::Freeze { .. } | Target::Continue) {
            let what = format!("process {pid} is a guest: it is frozen at its home node only");
            self.send(asker, &FromMosd::Error(what), None);
            return;
        }
        let id = if wait {
            self.questions.order(asker, *owner)
        } else {
            self.questions.unasked()
        };
        self.send(*owner, &FromMosd::Move { id, pid, to }, None);
        if !wait {
            self.send(asker, &FromMosd::Result(Outcome::Done), None);
        }
    }

    fn unknown(&mut self, asker: usize, pid: i32) {
        let what = format!("{pid} is no process that was started by mosrun here");
        self.send(asker, &FromMosd::Error(what), None);
    }

    /// Refuses targets that are certain to fail.
    fn check_target(&self, to: Target) -> Result<Target, String> {
        match to {
            Target::Home | Target::Freeze { .. } | Target::Continue => Ok(to),
            Target::Best => Err("there is no placement policy: name a node".into()),
            Target::Node(node) => {
                let address = self
                    .config
                    .canonical(node)
                    .ok_or_else(|| format!("{node}: not in map"))?;
                if let Some(why) = self.forbidden(address) {
                    return Err(format!("{address}: {why}"));
                }
                if !self.is_alive(address) {
                    return Err(format!("{address}: no response"));
                }
                Ok(Target::Node(address))
            }
        }
    }

    fn shake(&mut self, asker: usize, uid: u32) {
        let nodes: Vec<Ipv4Addr> = self
            .config
            .world()
            .filter(|node| *node != self.config.address && self.is_alive(*node))
            .filter(|node| self.forbidden(*node).is_none())
            .collect();
        if !self.policy.modes.may_leave().0 {
            self.send(asker, &FromMosd::Result(Outcome::Done), None);
            return;
        }
        let trusted = self.trusts(uid);
        let wardens: Vec<usize> = self
            .clients
            .iter()
            .filter(|(_, client)| {
                matches!(client.role, Role::Warden { .. }) && (trusted || client.peer.uid == uid)
            })
            .map(|(token, _)| *token)
            .collect();
        for warden in wardens {
            self.send(
                warden,
                &FromMosd::Shake {
                    nodes: nodes.clone(),
                },
                None,
            );
        }
        self.send(asker, &FromMosd::Result(Outcome::Done), None);
    }

    fn relation(&mut self, asker: usize, node: Ipv4Addr) {
        let answer = match self.config.canonical(node) {
            None => FromMosd::Error(format!("{node}: not in map")),
            Some(node) => FromMosd::Relation {
                partner: match self.config.member(node) {
                    Some(Member::Partner(partner)) => Some(partner.name.clone()),
                    _ => None,
                },
                forbidden: self.forbidden(node),
            },
        };
        self.send(asker, &answer, None);
    }

    fn status(&mut self, asker: usize) {
        let nodes: Vec<NodeInfo> = self
            .config
            .world()
            .take(65_536)
            .map(|node| self.node_info(node))
            .collect();
        let answer = FromMosd::Status {
            me: self.node_info(self.config.address),
            nodes,
            port: self.config.ports.tcp,
            version: env!("CARGO_PKG_VERSION").into(),
        };
        self.send(asker, &answer, None);
    }
}

/// Until when this process may still be a mosrun that has not registered: a shell that has it in its background gives orders at once.
fn starting(pid: i32, now: Instant) -> Option<Instant> {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = procfs::stat(pid).ok()?;
    let born = Duration::from_millis(stat.start_time * 1000 / TICKS_PER_SECOND);
    let age = Duration::from_nanos(process::boottime_ns().max(0) as u64).saturating_sub(born);
    let left = STARTING.checked_sub(age)?;
    (!matches!(stat.state, b'Z' | b'X')).then(|| now + left)
}
