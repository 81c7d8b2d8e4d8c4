//! What concerns this node itself, and all of it together.

use std::fmt;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::lines::{data_lines, node_address, number, read_optional};
use super::{ConfigError, Hosts, NodeMap, Paths, UserView};
use crate::sys::unix;

/// The cluster's password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

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

/// Everything that mosd must know to start.
#[derive(Clone, Debug)]
pub struct Config {
    pub paths: Paths,
    pub address: Ipv4Addr,
    pub ports: Ports,
    pub secret: Secret,
    pub map: NodeMap,
    pub view: UserView,
    /// Relative speed of the processors; 10000 is usual.
    pub speed: u32,
    pub hosts: Hosts,
}

impl Config {
    /// Reads all files.
    ///
    /// # Errors
    ///
    /// Names the file that is missing or wrong, and what to do.
    pub fn read(paths: &Paths) -> Result<Config, ConfigError> {
        let hosts = Hosts::of(paths);
        let map = NodeMap::read(&paths.map(), &hosts)?;
        Ok(Config {
            address: own_address(paths, &map)?,
            ports: read_ports(&paths.ports())?,
            secret: read_secret(&paths.secret())?,
            view: UserView::read(&paths.userview(), &hosts)?,
            speed: read_speed(&paths.speed())?,
            map,
            hosts,
            paths: paths.clone(),
        })
    }

    /// The node that a user means: a number, an address or a host name.
    ///
    /// # Errors
    ///
    /// In words, when it is none of the cluster.
    pub fn resolve(&self, name: &str) -> Result<Ipv4Addr, String> {
        use super::Lookup;
        let address = match name.parse::<u32>() {
            Ok(number) => self.view.address(number).ok_or_else(|| {
                format!(
                    "node {number} is not in {}",
                    self.paths.userview().display()
                )
            })?,
            Err(_) => self.hosts.address(name)?,
        };
        self.map
            .canonical(address)
            .ok_or_else(|| format!("{name}: not in map"))
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

/// Reads the cluster's password: the first line of its file.
///
/// # Errors
///
/// When it is missing, empty, or can be read by others than its owner.
pub fn read_secret(file: &Path) -> Result<Secret, ConfigError> {
    let Some(text) = read_optional(file)? else {
        return Err(ConfigError::new(
            file,
            0,
            "is missing: write one line with the cluster's password to it, the same on all nodes, and chmod 600 it",
        ));
    };
    let mode = std::fs::metadata(file)
        .map(|meta| meta.permissions().mode())
        .unwrap_or(0o777);
    if mode & 0o077 != 0 {
        let what = format!(
            "can be used by others (mode {:o}): chmod 600 {}",
            mode & 0o7777,
            file.display()
        );
        return Err(ConfigError::new(file, 0, what));
    }
    match text.lines().next().map(str::trim_end) {
        Some(line) if !line.is_empty() => Ok(Secret(line.as_bytes().to_vec())),
        _ => Err(ConfigError::new(
            file,
            0,
            "is empty: write one line with the cluster's password to it",
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

/// Reads the relative speed of this node's processors; 10000 without a file.
///
/// # Errors
///
/// When it is no number from 1 to 10,000,000.
pub fn read_speed(file: &Path) -> Result<u32, ConfigError> {
    let text = read_optional(file)?.unwrap_or_default();
    match data_lines(&text).next() {
        None => Ok(10_000),
        Some((line, data)) => number(data, "the speed", 1, 10_000_000)
            .map_err(|what| ConfigError::new(file, line, what)),
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(config.resolve("3"), Ok(Ipv4Addr::new(127, 7, 7, 3)));
        assert!(
            config
                .resolve("4")
                .unwrap_err()
                .starts_with("node 4 is not in")
        );
        assert_eq!(
            config.resolve("127.7.8.1").unwrap_err(),
            "127.7.8.1: not in map"
        );
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
