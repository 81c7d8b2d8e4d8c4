//! Freezing: where the memory of frozen processes goes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::server::Server;
use crate::sys::unix::{self, O_TMPFILE, random_u64};
use crate::wire::control::FromMosd;

impl Server {
    /// A mover wants a file, after these directories were full.
    pub(super) fn freeze_file(&mut self, token: usize, tried: &[PathBuf]) {
        let mut tried = tried.to_vec();
        let mut failed = None;
        while let Some(dir) = self.config.freeze.choose(&tried, chance()) {
            match nameless(&dir) {
                Ok(file) => {
                    let answer = FromMosd::FreezeFile { dir: Some(dir) };
                    return self.send(token, &answer, Some(file.into()));
                }
                Err(error) => {
                    let why = format!("cannot freeze to {}: {error}", dir.display());
                    log::info!("{why}");
                    failed = Some(why);
                    tried.push(dir);
                }
            }
        }
        let answer = match failed {
            Some(why) => FromMosd::Error(why),
            None => FromMosd::FreezeFile { dir: None },
        };
        self.send(token, &answer, None);
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    (random_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A new file that no name leads to.
fn nameless(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(O_TMPFILE).open(dir) {
        // Not every file system can do that.
        Err(error) if unix::lacks_tmpfile(&error) => {}
        result => return result,
    }
    let path = dir.join(format!("mos-{:016x}", random_u64()));
    let file = options.create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
