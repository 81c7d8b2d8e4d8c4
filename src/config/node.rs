//! What concerns this node itself, and all of it together.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::lines::{data_lines, node_address, number, read_optional};
use super::{
    ConfigError, FreezeConf, Hosts, MaxGuests, MosrunConf, Named, NodeMap, Partner, Paths,
    PrivateConf, Range, Secret, UserView, read_hidden, read_retainpri, read_secret, read_speed,
};
use crate::sys::unix;

/// The ports that all nodes of a cluster use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Connections between nodes.
    pub tcp: u16,
    /// What nodes tell each other about themselves.
    pub udp: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Ports { tcp: 253, udp: 253 }
    }
}

/// What takes the place of files (`mossetpe -m`, `-p`; `mos_in_job`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub map: Option<PathBuf>,
    pub address: Option<Ipv4Addr>,
    pub partners: Option<PathBuf>,
}

/// Everything that mosd must know to start.
#[derive(Clone, Debug)]
pub struct Config {
    pub paths: Paths,
    pub address: Ipv4Addr,
    pub ports: Ports,
    pub secret: Secret,
    pub map: NodeMap,
    pub view: UserView,
    /// The other clusters, in the order of their names.
    pub partners: Vec<Partner>,
    /// Relative speed of the processors; 10000 is usual.
    pub speed: u32,
    /// Features of the processor that count as absent.
    pub hidden: Vec<String>,
    pub max_guests: MaxGuests,
    /// Seconds after the last process of a priority before those of lower priority may come.
    pub retain_priority: u32,
    pub freeze: FreezeConf,
    pub private: PrivateConf,
    /// Runs and moves are noted in the system's log.
    pub log_mosrun: bool,
    pub hosts: Hosts,
}

/// Whose node it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// Of this cluster.
    Own,
    Partner(&'a Partner),
}

impl Config {
    /// Reads all files.
    ///
    /// # Errors
    ///
    /// Names the file that is missing or wrong, and what to do.
    pub fn read(paths: &Paths) -> Result<Config, ConfigError> {
        Config::read_with(paths, &Overrides::default())
    }

    /// Reads all files, some of them elsewhere.
    ///
    /// # Errors
    ///
    /// As [`Config::read`].
    pub fn read_with(paths: &Paths, instead: &Overrides) -> Result<Config, ConfigError> {
        let file = instead.map.clone().unwrap_or_else(|| paths.map());
        let map = NodeMap::read(&file, &Hosts::of(paths))?;
        Config::with_map(paths, instead, map, &file)
    }

    /// As [`Config::read_with`], with this node alone in place of a map.
    ///
    /// # Errors
    ///
    /// As [`Config::read`], and when it is not plain which address this node has.
    pub fn alone(paths: &Paths, instead: &Overrides) -> Result<Config, ConfigError> {
        let address = match instead.address {
            Some(address) => address,
            None => only_address(paths)?,
        };
        let range = Range::new(address, 1, true)
            .map_err(|what| ConfigError::new(&paths.mosip(), 0, what))?;
        let map = NodeMap {
            ranges: vec![range],
            aliases: Vec::new(),
        };
        Config::with_map(paths, instead, map, &paths.map())
    }

    fn with_map(
        paths: &Paths,
        instead: &Overrides,
        map: NodeMap,
        map_file: &Path,
    ) -> Result<Config, ConfigError> {
        let hosts = Hosts::of(paths);
        let partners_dir = instead.partners.clone().unwrap_or_else(|| paths.partners());
        let partners = Partner::read_all(&partners_dir, &hosts)?;
        check_aliases(&map, &partners, map_file)?;
        // A wrong mosrun.conf is mosrun's to obey, but the administrator is told of it here.
        MosrunConf::read(&paths.mosrun())?;
        Ok(Config {
            address: match instead.address {
                Some(address) => map.canonical(address).ok_or_else(|| {
                    ConfigError::new(map_file, 0, format!("{address} is not in it"))
                })?,
                None => own_address(paths, &map)?,
            },
            ports: read_ports(&paths.ports())?,
            secret: read_secret(&paths.secret())?,
            view: UserView::read(&paths.userview(), &hosts)?,
            speed: read_speed(&paths.speed())?,
            hidden: read_hidden(&paths.hidden())?,
            max_guests: MaxGuests::read(&paths.maxguests())?,
            retain_priority: read_retainpri(&paths.retainpri())?,
            freeze: FreezeConf::read(&paths.freeze())?,
            private: PrivateConf::read(&paths.private())?,
            log_mosrun: paths.log_mosrun().exists(),
            partners,
            map,
            hosts,
            paths: paths.clone(),
        })
    }

    /// Whose node this is, if it is one: of this cluster first, otherwise of the first partner that has it.
    pub fn member(&self, node: Ipv4Addr) -> Option<Member<'_>> {
        if self.map.canonical(node) == Some(node) {
            return Some(Member::Own);
        }
        let partner = self.partners.iter().find(|partner| partner.contains(node));
        partner.map(Member::Partner)
    }

    /// The address by which a node of this cluster or a partner is known: itself, or what it is an alias of.
    pub fn canonical(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let known = |node: &Ipv4Addr| self.member(*node).is_some();
        Some(address)
            .filter(known)
            .or_else(|| self.map.alias_of(address).filter(known))
    }

    /// All nodes of this cluster and its partners; one that a partner shares with us comes once.
    pub fn world(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let others = self.partners.iter().flat_map(Partner::nodes);
        let others = others.filter(|node| self.map.canonical(*node) != Some(*node));
        self.map.nodes().chain(others)
    }

    /// The network to this node is fast.
    pub fn proximate(&self, node: Ipv4Addr) -> bool {
        match self.member(node) {
            Some(Member::Own) => self.map.proximate(node),
            Some(Member::Partner(partner)) => partner
                .ranges
                .iter()
                .any(|range| range.proximate && range.contains(node)),
            None => false,
        }
    }

    /// The node that a user means.
    ///
    /// # Errors
    ///
    /// In words, when it is none of the cluster or its partners.
    pub fn resolve(&self, node: Named) -> Result<Ipv4Addr, String> {
        let address = match node {
            Named::Number(number) => self.view.address(number).ok_or_else(|| {
                format!(
                    "node {number} is not in {}",
                    self.paths.userview().display()
                )
            })?,
            Named::Address(address) => address,
        };
        self.canonical(address)
            .ok_or_else(|| format!("{node}: not in map"))
    }
}

/// An alias must be of a node of this cluster or of a partner.
///
/// # Errors
///
/// Names the first that is not.
pub fn check_aliases(map: &NodeMap, partners: &[Partner], file: &Path) -> Result<(), ConfigError> {
    let known = |node: Ipv4Addr| {
        map.canonical(node) == Some(node) || partners.iter().any(|partner| partner.contains(node))
    };
    match map.aliases.iter().find(|alias| !known(alias.node)) {
        Some(alias) => Err(ConfigError::new(
            file,
            alias.line,
            format!(
                "{} is an alias of {}, which is neither in this map nor of a partner",
                alias.other, alias.node
            ),
        )),
        None => Ok(()),
    }
}

/// This node's address: what `mosip` says, or the one address of this machine that is in the map.
///
/// # Errors
///
/// When there is no such address, or more than one.
pub fn own_address(paths: &Paths, map: &NodeMap) -> Result<Ipv4Addr, ConfigError> {
    let file = paths.mosip();
    if let Some(text) = read_optional(&file)? {
        let Some((line, data)) = data_lines(&text).next() else {
            return Err(ConfigError::new(
                &file,
                0,
                "is empty: write this node's address in it, or remove it",
            ));
        };
        let address = node_address(data).map_err(|what| ConfigError::new(&file, line, what))?;
        return map.canonical(address).ok_or_else(|| {
            ConfigError::new(
                &file,
                line,
                format!("{address} is not in {}", paths.map().display()),
            )
        });
    }
    let local = unix::local_addresses().unwrap_or_default();
    let mut own: Vec<Ipv4Addr> = local
        .into_iter()
        .filter_map(|address| map.canonical(address))
        .collect();
    own.sort_unstable();
    own.dedup();
    match own[..] {
        [address] => Ok(address),
        [] => Err(ConfigError::new(
            &paths.map(),
            0,
            format!(
                "none of this machine's addresses is in it: add this node, or write its address to {}",
                file.display()
            ),
        )),
        _ => Err(ConfigError::new(
            &paths.map(),
            0,
            format!(
                "several of this machine's addresses are in it: write the one to use to {}",
                file.display()
            ),
        )),
    }
}

/// This node's address where no map can tell: what `mosip` says, or the one address of this machine beside its loopback ones.
fn only_address(paths: &Paths) -> Result<Ipv4Addr, ConfigError> {
    let file = paths.mosip();
    if let Some(text) = read_optional(&file)?
        && let Some((line, data)) = data_lines(&text).next()
    {
        return node_address(data).map_err(|what| ConfigError::new(&file, line, what));
    }
    let mut addresses = unix::local_addresses().unwrap_or_default();
    addresses.retain(|address| !address.is_loopback());
    match addresses[..] {
        [address] => Ok(address),
        _ => Err(ConfigError::new(
            &file,
            0,
            "is missing: this machine has several addresses, or none; write the one to use to it",
        )),
    }
}

/// Reads the ports: lines `tcp N` and `udp N`, both optional, as is the file.
///
/// # Errors
///
/// Names the line that is wrong.
pub fn read_ports(file: &Path) -> Result<Ports, ConfigError> {
    let mut ports = Ports::default();
    for (line, data) in data_lines(&read_optional(file)?.unwrap_or_default()) {
        let fields: Vec<&str> = data.split_whitespace().collect();
        let port = |text| {
            number(text, "the port", 1, 65535)
                .map(|port| port as u16)
                .map_err(|what| ConfigError::new(file, line, what))
        };
        match fields[..] {
            ["tcp", text] => ports.tcp = port(text)?,
            ["udp", text] => ports.udp = port(text)?,
            _ => {
                return Err(ConfigError::new(
                    file,
                    line,
                    "must be \"tcp PORT\" or \"udp PORT\"",
                ));
            }
        }
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A root directory that is removed at the end.
    struct Root(std::path::PathBuf);

    impl Root {
        fn new(files: &[(&str, &str)]) -> Root {
            let root = std::env::temp_dir().join(format!("mos-config-{:x}", unix::random_u64()));
            let etc = Paths::under(&root).etc();
            std::fs::create_dir_all(&etc).unwrap();
            for (name, text) in files {
                std::fs::write(etc.join(name), text).unwrap();
                std::fs::set_permissions(etc.join(name), std::fs::Permissions::from_mode(0o600))
                    .unwrap();
            }
            Root(root)
        }

        fn read(&self) -> Result<Config, String> {
            Config::read(&Paths::under(&self.0)).map_err(|error| error.to_string())
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_whole_configuration() {
        let root = Root::new(&[
            ("mosix.map", "127.7.7.1 3"),
            ("userview.map", "1 127.7.7.1 3"),
            ("secret", "xyz\n"),
            ("mosip", "127.7.7.2\n"),
            ("ports", "tcp 5000 # ours\nudp 5001\n"),
        ]);
        let config = root.read().unwrap();
        assert_eq!(config.address, Ipv4Addr::new(127, 7, 7, 2));
        assert_eq!(
            config.ports,
            Ports {
                tcp: 5000,
                udp: 5001
            }
        );
        assert_eq!(config.secret, Secret(b"xyz".to_vec()));
        assert_eq!(config.speed, 10_000);
        assert_eq!(
            config.resolve(Named::Number(3)),
            Ok(Ipv4Addr::new(127, 7, 7, 3))
        );
        assert!(
            config
                .resolve(Named::Number(4))
                .unwrap_err()
                .starts_with("node 4 is not in")
        );
        assert_eq!(
            config
                .resolve(Named::Address(Ipv4Addr::new(127, 7, 8, 1)))
                .unwrap_err(),
            "127.7.8.1: not in map"
        );
    }

    #[test]
    fn partners_belong_to_the_world() {
        let root = Root::new(&[
            ("mosix.map", "127.7.7.1 2\n127.9.9.9=127.8.8.2"),
            ("secret", "xyz\n"),
            ("mosip", "127.7.7.1"),
            ("maxguests", "3"),
            ("retainpri", "20"),
        ]);
        let error = root.read().unwrap_err();
        assert!(
            error.contains("mosix.map:2: 127.9.9.9 is an alias"),
            "{error}"
        );
        let partners = Paths::under(&root.0).partners();
        std::fs::create_dir(&partners).unwrap();
        let text = "The lab\n50 1 0\n127.8.8.1 2 1 1 1\n127.7.7.2 1 1 1 0\n";
        std::fs::write(partners.join("lab"), text).unwrap();
        std::fs::write(partners.join(".lab.swp"), "an editor's").unwrap();
        let config = root.read().unwrap();
        let node = |text: &str| -> Ipv4Addr { text.parse().unwrap() };
        assert_eq!(config.member(node("127.7.7.2")), Some(Member::Own));
        assert!(matches!(
            config.member(node("127.8.8.2")),
            Some(Member::Partner(partner)) if partner.name == "lab"
        ));
        assert_eq!(config.member(node("127.8.8.3")), None);
        assert_eq!(config.canonical(node("127.9.9.9")), Some(node("127.8.8.2")));
        assert_eq!(config.world().count(), 4);
        assert!(config.proximate(node("127.8.8.1")) && !config.proximate(node("127.7.7.2")));
        assert_eq!(
            (config.max_guests.now, config.retain_priority),
            (Some(3), 20)
        );
        std::fs::write(partners.join("lab"), "The lab\n50 1\n").unwrap();
        assert!(root.read().unwrap_err().contains("partners/lab:2: must be"));
    }

    #[test]
    fn the_secret_must_be_secret() {
        let root = Root::new(&[("mosix.map", "127.0.0.1 1"), ("secret", "xyz\n")]);
        assert_eq!(root.read().unwrap().address, Ipv4Addr::LOCALHOST);
        let file = Paths::under(&root.0).secret();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = root.read().unwrap_err();
        assert!(error.contains("(mode 640): chmod 600"), "{error}");
        std::fs::remove_file(&file).unwrap();
        assert!(root.read().unwrap_err().contains("secret: is missing"));
    }

    #[test]
    fn an_address_must_be_plain() {
        let root = Root::new(&[("mosix.map", "10.255.254.1 2"), ("secret", "x")]);
        assert!(
            root.read()
                .unwrap_err()
                .contains("none of this machine's addresses")
        );
        let root = Root::new(&[
            ("mosix.map", "127.0.0.1 1"),
            ("mosip", "127.0.0.9"),
            ("secret", "x"),
        ]);
        assert!(
            root.read()
                .unwrap_err()
                .contains("mosip:1: 127.0.0.9 is not in")
        );
    }
}
