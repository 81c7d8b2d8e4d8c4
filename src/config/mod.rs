//! The files of `/etc/mosix`: where they are, and what they say. Formats are MOSIX 4's; `ports` is ours.

pub mod freeze;
mod hosts;
pub mod journal;
mod limits;
mod lines;
mod map;
mod node;
pub mod partners;
mod paths;
pub mod private;
mod save;
mod secret;
mod userview;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};

pub use freeze::FreezeConf;
pub use hosts::{Hosts, Lookup, Named};
pub use limits::{BestNode, MaxGuests, MosrunConf, read_hidden, read_retainpri, read_speed};
pub use map::{NodeMap, Range};
pub use node::{Config, Member, Overrides, Ports, check_aliases, own_address, read_ports};
pub use partners::Partner;
pub use paths::Paths;
pub use private::PrivateConf;
pub use save::{remove, save};
pub use secret::{Secret, read_secret};
pub use userview::UserView;
pub use watch::Fingerprint;

/// What is wrong with a file, and where.
#[derive(Debug)]
pub struct ConfigError {
    pub file: PathBuf,
    /// Line from 1; 0 when it is about the file as a whole.
    pub line: usize,
    pub what: String,
}

impl ConfigError {
    fn new(file: &Path, line: usize, what: impl Into<String>) -> ConfigError {
        ConfigError {
            file: file.to_path_buf(),
            line,
            what: what.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.what),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for std::io::Error {
    fn from(error: ConfigError) -> Self {
        std::io::Error::other(error)
    }
}
