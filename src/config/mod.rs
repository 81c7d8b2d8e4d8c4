//! The files of `/etc/mosix`: where they are, and what they say. Formats are MOSIX 4's; `ports` is ours.

mod hosts;
mod lines;
mod map;
mod node;
mod paths;
mod userview;

use std::fmt;
use std::path::{Path, PathBuf};

pub use hosts::{Hosts, Lookup};
pub use map::{NodeMap, Range};
pub use node::{Config, Ports, Secret, own_address, read_ports, read_secret, read_speed};
pub use paths::Paths;
pub use userview::UserView;

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
