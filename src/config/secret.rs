//! `secret`: the password that all nodes of all clusters share.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::ConfigError;
use super::lines::read_optional;

/// The cluster's password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
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
