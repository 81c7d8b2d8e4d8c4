//! The loop of mosd, and what it holds.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::Options;
use super::balancing::Balancing;
use super::channels::Channels;
use super::clients::LocalClient;
use super::daemon::{self, Lock};
use super::freezing::Freezing;
use super::incoming::Incoming;
use super::measure::Meter;
use super::neighbours::Neighbours;
use super::outgoing::Outgoing;
use super::processors::Processors;
use super::questions::Questions;
use super::settle::Policy;
use crate::config::Config;
use crate::event::local::Turn;
use crate::sys::unix::{self, SIGCHLD, SIGHUP, SIGINT, SIGTERM, SignalFd};
use crate::wire::control::NodeInfo;

/// How often connections are looked for that could not be accepted before.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

const LISTENER: usize = 0;
const CONTROL: usize = 1;
const GOSSIP: usize = 2;
const SIGNALS: usize = 3;
const FIRST_FREE: usize = 16;

/// All of a running mosd.
pub struct Server {
    pub(super) poll: Poll,
    pub(super) config: Config,
    pub(super) clients: HashMap<usize, LocalClient>,
    pub(super) incoming: HashMap<usize, Incoming>,
    pub(super) outgoing: HashMap<usize, Outgoing>,
    pub(super) channels: Channels<TcpStream>,
    pub(super) questions: Questions,
    pub(super) policy: Policy,
    /// Clients whose last turn of reading left something unread.
    pub(super) unread: Vec<usize>,
    pub(super) neighbours: Neighbours,
    pub(super) meter: Meter,
    pub(super) processors: Processors,
    pub(super) balancing: Balancing,
    pub(super) freezing: Freezing,
    next_accept: Instant,
    last_token: usize,
    listener: TcpListener,
    control: UnixListener,
    signals: SignalFd,
}

impl Server {
    /// Takes the ports and the control socket; its lock must be held.
    ///
    /// # Errors
    ///
    /// In words, naming what cannot be had.
    pub fn new(config: Config, policy: Policy, options: &Options) -> Result<Server, String> {
        let listener = listen_tcp(&config)?;
        let neighbours = Neighbours::new(&config, Instant::now())
            .map_err(|error| cannot_listen_udp(&config, &error))?;
        let control = daemon::control_socket(&config.paths)?;
        let prepared = || -> io::Result<(Poll, SignalFd)> {
            unix::raise_file_limit()?;
            Ok((
                Poll::new()?,
                SignalFd::new(&[SIGCHLD, SIGHUP, SIGINT, SIGTERM])?,
            ))
        };
        let (poll, signals) = prepared().map_err(|error| format!("cannot start: {error}"))?;
        let mut server = Server {
            poll,
            neighbours,
            meter: Meter::new(config.speed, options.cpus, options.memory),
            processors: Processors::new(&config),
            freezing: Freezing::default(),
            balancing: Balancing::new(options.balance, Instant::now()),
            config,
            clients: HashMap::new(),
            incoming: HashMap::new(),
            outgoing: HashMap::new(),
            channels: Channels::new(),
            questions: Questions::default(),
            policy,
            unread: Vec::new(),
            next_accept: Instant::now(),
            last_token: FIRST_FREE,
            listener,
            control,
            signals,
        };
        server
            .register()
            .map_err(|error| format!("cannot start: {error}"))?;
        Ok(server)
    }

    fn register(&mut self) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut self.listener, Token(LISTENER), Interest::READABLE)?;
        registry.register(&mut self.control, Token(CONTROL), Interest::READABLE)?;
        registry.register(self.neighbours.socket(), Token(GOSSIP), Interest::READABLE)?;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&self.signals);
        registry.register(&mut SourceFd(&fd), Token(SIGNALS), Interest::READABLE)
    }

    /// Listens as `config` says, where that is not what it does already; `config` is to be this node's next.
    ///
    /// # Errors
    ///
    /// In words; then it listens as before.
    pub(super) fn listen_as(&mut self, config: &Config) -> Result<(), String> {
        let same_address = config.address == self.config.address;
        let tcp = if same_address && config.ports.tcp == self.config.ports.tcp {
            None
        } else {
            Some(listen_tcp(config)?)
        };
        let another_socket = self
            .neighbours
            .follow(config, Instant::now())
            .map_err(|error| cannot_listen_udp(config, &error))?;
        let registry = self.poll.registry();
        let registered = || -> io::Result<()> {
            if let Some(mut tcp) = tcp {
                registry.register(&mut tcp, Token(LISTENER), Interest::READABLE)?;
                self.listener = tcp;
            }
            if another_socket {
                let socket = self.neighbours.socket();
                registry.register(socket, Token(GOSSIP), Interest::READABLE)?;
            }
            Ok(())
        };
        registered().map_err(|error| format!("cannot listen: {error}"))?;
        self.meter.set_speed(config.speed);
        self.processors.follow(config);
        Ok(())
    }

    /// Serves until a signal ends it.
    ///
    /// # Errors
    ///
    /// Only when the kernel cannot be waited on.
    pub fn serve(&mut self, _lock: Lock) -> Result<(), String> {
        log::info!(
            "node {} listens on TCP {}, UDP {}",
            self.config.address,
            self.config.ports.tcp,
            self.config.ports.udp
        );
        let mut events = Events::with_capacity(256);
        loop {
            match self
                .poll
                .poll(&mut events, Some(self.timeout(Instant::now())))
            {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot wait for events: {error}")),
                Ok(()) => {}
            }
            for event in &events {
                match event.token().0 {
                    SIGNALS => {
                        if self.signalled() {
                            let _ = std::fs::remove_file(self.config.paths.socket());
                            // Ended by order: the next start begins with the usual modes.
                            let _ = std::fs::remove_file(self.config.paths.state());
                            return Ok(());
                        }
                    }
                    LISTENER => self.accept_nodes(),
                    CONTROL => self.accept_clients(),
                    GOSSIP => self.hear(),
                    token => self.connection_ready(token),
                }
            }
            for token in std::mem::take(&mut self.unread) {
                self.client_ready(token);
            }
            self.tick(Instant::now());
        }
    }

    fn connection_ready(&mut self, token: usize) {
        if self.clients.contains_key(&token) {
            self.client_ready(token);
        } else if self.incoming.contains_key(&token) {
            self.incoming_ready(token);
        } else if self.outgoing.contains_key(&token) {
            self.outgoing_ready(token);
        }
    }

    /// True when mosd is to end.
    fn signalled(&mut self) -> bool {
        let mut end = false;
        while let Some(signal) = self.signals.take() {
            match signal {
                // Hosts that have ended.
                SIGCHLD => {
                    while let Ok(Some((pid, _))) = unix::reap(-1, false) {
                        self.policy.arriving.remove(&pid);
                    }
                }
                SIGHUP => self.policy.config_at = Instant::now(),
                _ => end = true,
            }
        }
        end
    }

    fn timeout(&self, now: Instant) -> Duration {
        if !self.unread.is_empty() {
            return Duration::ZERO;
        }
        let connections = self.incoming.values().map(|connection| connection.until);
        let connections =
            connections.chain(self.outgoing.values().map(|connection| connection.until));
        let others = [
            self.channels.next_deadline(),
            self.questions.next_deadline(),
            Some(self.next_accept),
            Some(self.neighbours.next()),
            Some(self.policy.next_deadline()),
            Some(self.balancing.next()),
        ];
        let next = connections
            .chain(others.into_iter().flatten())
            .min()
            .unwrap_or(self.next_accept);
        // Rounded up: the poll counts in milliseconds and must not end just before.
        next.saturating_duration_since(now) + Duration::from_millis(1)
    }

    fn tick(&mut self, now: Instant) {
        if now >= self.neighbours.next() {
            let (running, memory) = (self.balancing.running(), self.balancing.memory());
            self.meter.look(running, memory);
            let load = self.own_load();
            self.neighbours.tick(load, now);
            // What a turn of reading has left.
            self.hear();
        }
        self.balance_tick(now);
        if now >= self.next_accept {
            self.next_accept = now + ACCEPT_AGAIN;
            // Those that could not be accepted when descriptors had run out: nothing else would tell of them again.
            self.accept_nodes();
            self.accept_clients();
        }
        self.channels.expire(now);
        self.expire_connections(now);
        self.finish_listings(now);
        self.settle(now);
    }

    fn hear(&mut self) {
        let now = Instant::now();
        for note in self.neighbours.hear(now) {
            self.note(&note, now);
        }
    }

    /// What is known of a node.
    pub(super) fn node_info(&self, address: Ipv4Addr) -> NodeInfo {
        let alive = self.is_alive(address);
        let known = self.neighbours.known(address, Instant::now());
        NodeInfo {
            address,
            number: self.config.view.number(address),
            alive,
            load: known.map(|known| (known.info, known.age)),
        }
    }

    pub(super) fn is_alive(&self, node: Ipv4Addr) -> bool {
        self.neighbours.alive(node)
    }

    pub(super) fn accept_tcp(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.listener.accept()
    }

    pub(super) fn accept_control(&self) -> io::Result<UnixStream> {
        self.control.accept().map(|(stream, _)| stream)
    }

    /// A token that no connection has.
    pub(super) fn new_token(&mut self) -> usize {
        self.last_token += 1;
        self.last_token
    }

    /// Notes what a client's turn of reading ended with.
    pub(super) fn after_turn(&mut self, token: usize, turn: Turn) {
        if turn == Turn::More {
            self.unread.push(token);
        }
    }
}

fn listen_tcp(config: &Config) -> Result<TcpListener, String> {
    let address = SocketAddr::from((config.address, config.ports.tcp));
    TcpListener::bind(address).map_err(|error| cannot_listen("TCP", address, config, &error))
}

fn cannot_listen_udp(config: &Config, error: &io::Error) -> String {
    let address = SocketAddr::from((config.address, config.ports.udp));
    cannot_listen("UDP", address, config, error)
}

fn cannot_listen(what: &str, address: SocketAddr, config: &Config, error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => " (does another program use it?)".to_string(),
        io::ErrorKind::PermissionDenied => {
            format!(
                " (ports below 1024 need root; others can be set in {})",
                config.paths.ports().display()
            )
        }
        io::ErrorKind::AddrNotAvailable => format!(
            " (it is no address of this machine: see {})",
            config.paths.mosip().display()
        ),
        _ => String::new(),
    };
    format!("cannot listen on {what} {address}: {error}{advice}")
}
