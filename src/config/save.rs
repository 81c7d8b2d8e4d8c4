//! Writing files so that nobody ever reads half of one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// Replaces `file` by one with this text; its directory is made if need be. `mode` is that of a new file.
///
/// # Errors
///
/// Names the file and why it cannot be written; then the old one is still there.
pub fn save(file: &Path, text: &str, mode: u32) -> Result<(), ConfigError> {
    try_save(file, text, mode)
        .map_err(|error| ConfigError::new(file, 0, format!("cannot be written: {error}")))
}

/// Removes `file`, if it is there.
///
/// # Errors
///
/// As [`save`].
pub fn remove(file: &Path) -> Result<(), ConfigError> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ConfigError::new(
            file,
            0,
            format!("cannot be removed: {error}"),
        )),
        _ => Ok(()),
    }
}

fn try_save(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    // Where a link leads is what the administrator wants changed.
    let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    let dir = file.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir)?;
    let fresh = fresh_name(&file);
    let _ = std::fs::remove_file(&fresh);
    let mut options = OpenOptions::new();
    let mut out = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)?;
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.sync_all())
        .and_then(|()| std::fs::rename(&fresh, &file));
    match written {
        // The file is there; that the directory cannot be flushed (some file systems) takes nothing from it.
        Ok(()) => {
            let _ = File::open(dir).and_then(|dir| dir.sync_all());
            Ok(())
        }
        Err(error) => {
            let _ = std::fs::remove_file(&fresh);
            Err(error)
        }
    }
}

/// A name in the same directory that readers of the directory pass over.
fn fresh_name(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.{}", std::process::id()))
}
