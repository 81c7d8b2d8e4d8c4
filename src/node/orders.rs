//! What an administrator orders of this node, and the files' new versions.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::clients::Role;
use super::server::Server;
use super::settle::Which;
use crate::config::{
    Config, ConfigError, Fingerprint, Member, NodeMap, Overrides, Paths, Range, UserView, save,
};
use crate::wire::control::{Admin, FromMosd, Mode, Outcome};

/// How often the files are looked at.
const FILES: Duration = Duration::from_secs(10);

/// Reads the configuration; where it may be awaited and there is no map, that of this node alone.
pub fn read_config(paths: &Paths, instead: &Overrides, await_map: bool) -> Result<Config, String> {
    let alone = await_map && instead.map.is_none() && !paths.map().exists();
    let read = if alone {
        Config::alone(paths, instead)
    } else {
        Config::read_with(paths, instead)
    };
    read.map_err(|error| error.to_string())
}

impl Server {
    pub(super) fn admin(&mut self, token: usize, uid: u32, order: Admin) {
        if !self.trusts(uid) {
            let what = "only the super-user of this node can do that";
            self.send(token, &FromMosd::Error(what.into()), None);
            return;
        }
        match order {
            Admin::Set { mode, on } => {
                if self.policy.modes.set(mode, on) {
                    log::info!("{mode:?} is {}", if on { "on" } else { "off" });
                    self.save_modes();
                    self.policy.unsettle();
                }
                if mode == Mode::Isolate && on {
                    self.wait_settled(token, Which::Misplaced, Which::Misplaced);
                } else {
                    self.send(token, &FromMosd::Result(Outcome::Done), None);
                }
            }
            Admin::Expel => self.wait_settled(token, Which::All, Which::None),
            Admin::Bring => self.wait_settled(token, Which::None, Which::All),
            Admin::Off { wait } => {
                log::info!("turned off");
                self.policy.modes.off = true;
                self.save_modes();
                self.policy.unsettle();
                self.done_or_wait(token, wait);
            }
            Admin::Configure {
                map,
                address,
                partners,
                wait,
            } => {
                let instead = Overrides {
                    map,
                    address,
                    partners,
                };
                self.configure(token, instead, wait);
            }
            Admin::Reread { wait } => match self.reread(self.policy.modes.overrides()) {
                Ok(()) => self.done_or_wait(token, wait),
                Err(why) => self.send(token, &FromMosd::Error(why), None),
            },
        }
    }

    fn done_or_wait(&mut self, token: usize, wait: bool) {
        if wait {
            self.wait_settled(token, Which::Misplaced, Which::Misplaced);
        } else {
            self.send(token, &FromMosd::Result(Outcome::Done), None);
        }
    }

    /// mossetpe: reads the files anew, some of them elsewhere, and turns this node on.
    fn configure(&mut self, token: usize, instead: Overrides, wait: bool) {
        match self.reread(instead.clone()) {
            Ok(()) => {
                self.policy.modes.set_overrides(instead);
                self.policy.modes.off = false;
                self.save_modes();
                self.done_or_wait(token, wait);
            }
            Err(why) => self.send(token, &FromMosd::Error(why), None),
        }
    }

    fn save_modes(&self) {
        self.policy.modes.save(&self.config.paths.state());
    }

    /// Looks whether the files have changed. A version with a mistake is said to be wrong, once, and not used.
    pub(super) fn check_files(&mut self, now: Instant) {
        self.policy.config_at = now + FILES;
        let instead = self.policy.modes.overrides();
        let same = Fingerprint::of(&self.config.paths, &instead) == self.policy.fingerprint;
        if same && self.policy.complaint.is_none() {
            return;
        }
        let before = self.policy.complaint.clone();
        match self.reread(instead) {
            Ok(()) => log::info!("the configuration was read anew"),
            Err(why) if before.as_ref() != Some(&why) => {
                log::warn!("the configuration stays as it was: {why}");
            }
            Err(_) => {}
        }
    }

    fn reread(&mut self, instead: Overrides) -> Result<(), String> {
        // Taken first: what changes while we read is read again.
        self.policy.fingerprint = Fingerprint::of(&self.config.paths, &instead);
        let adopted = read_config(&self.config.paths, &instead, self.policy.await_map)
            .and_then(|config| self.adopt(config));
        self.policy.complaint = adopted.as_ref().err().cloned();
        adopted
    }

    /// This node waits for its first map: then others that know the password may give it one.
    pub(super) fn awaits_map(&self) -> bool {
        self.policy.await_map && !self.config.paths.map().exists()
    }

    /// Another node gives this one its map and numbers (`mos_autoconf`).
    ///
    /// # Errors
    ///
    /// Why they are not taken, in words.
    pub(super) fn configured_by(
        &mut self,
        from: Ipv4Addr,
        uid: u32,
        (map, view): (&str, Option<&str>),
    ) -> Result<(), String> {
        let ours = self.config.canonical(from);
        let ours = ours.is_some_and(|node| self.config.member(node) == Some(Member::Own));
        if !self.trusts(uid) || !(ours || self.awaits_map()) {
            return Err(format!(
                "{from} is not of this node's cluster, and this node has a map already"
            ));
        }
        let paths = self.config.paths.clone();
        let words = |error: ConfigError| error.to_string();
        let parsed = NodeMap::parse(map, &paths.map(), &self.config.hosts).map_err(words)?;
        if parsed.canonical(self.config.address).is_none() {
            return Err(format!("{} is not in that map", self.config.address));
        }
        if let Some(view) = view {
            UserView::parse(view, &paths.userview(), &self.config.hosts).map_err(words)?;
            save(&paths.userview(), view, 0o644).map_err(words)?;
        }
        save(&paths.map(), map, 0o644).map_err(words)?;
        log::info!("configured by {from}");
        self.reread(self.policy.modes.overrides())
    }

    fn adopt(&mut self, config: Config) -> Result<(), String> {
        let moved = config.address != self.config.address || config.ports != self.config.ports;
        if moved && self.is_in_use() {
            return Err("this node's address or ports cannot change while it has guests, or programs run under mosrun".into());
        }
        self.listen_as(&config)?;
        self.policy
            .former
            .push(std::mem::replace(&mut self.config, config));
        self.policy.unsettle();
        Ok(())
    }

    fn is_in_use(&self) -> bool {
        let mut clients = self.clients.values();
        let process = |role| matches!(role, Role::Warden { .. } | Role::Host { .. });
        clients.any(|client| process(client.role)) || !self.policy.arriving.is_empty()
    }

    /// The address by which a node is known, now or until the processes that concern it are where they belong.
    pub(super) fn known(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let now = self.config.canonical(address);
        now.or_else(|| {
            let mut former = self.policy.former.iter();
            former.find_map(|config| config.canonical(address))
        })
    }

    /// All clusters' ranges.
    pub(super) fn world(&mut self, token: usize) {
        let pairs = |ranges: &[Range]| -> Vec<(Ipv4Addr, u32)> {
            ranges
                .iter()
                .map(|range| (range.first, range.count))
                .collect()
        };
        let partners = self.config.partners.iter();
        let answer = FromMosd::World {
            own: pairs(&self.config.map.ranges),
            partners: partners
                .map(|partner| (partner.name.clone(), pairs(&partner.ranges)))
                .collect(),
        };
        self.send(token, &answer, None);
    }
}
