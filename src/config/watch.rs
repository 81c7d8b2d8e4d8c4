//! Whether files have changed since they were read.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Overrides, Paths, partners};

/// What tells one version of the files from another: time, size and number of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Vec<(PathBuf, Option<Version>)>);

/// Seconds and nanoseconds of the last change, bytes, inode, mode.
type Version = (i64, i64, u64, u64, u32);

impl Fingerprint {
    /// Of all files that [`super::Config::read_with`] reads.
    pub fn of(paths: &Paths, instead: &Overrides) -> Fingerprint {
        let partners_dir = instead.partners.clone().unwrap_or_else(|| paths.partners());
        let mut files = vec![
            instead.map.clone().unwrap_or_else(|| paths.map()),
            paths.userview(),
            paths.secret(),
            paths.mosip(),
            paths.speed(),
            paths.hidden(),
            paths.ports(),
            paths.freeze(),
            paths.private(),
            paths.retainpri(),
            paths.maxguests(),
            paths.mosrun(),
            paths.log_mosrun(),
            paths.hosts(),
        ];
        let names = partners::names(&partners_dir).unwrap_or_default();
        files.extend(names.iter().map(|name| partners_dir.join(name)));
        Fingerprint(
            files
                .into_iter()
                .map(|file| {
                    let version = version(&file);
                    (file, version)
                })
                .collect(),
        )
    }
}

fn version(file: &Path) -> Option<Version> {
    let meta = std::fs::metadata(file).ok()?;
    Some((
        meta.mtime(),
        meta.mtime_nsec(),
        meta.size(),
        meta.ino(),
        meta.mode(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_and_a_new_partner_are_seen() {
        let name = format!("mos-watch-{:x}", crate::sys::unix::random_u64());
        let root = std::env::temp_dir().join(name);
        let paths = Paths::under(&root);
        let look = || Fingerprint::of(&paths, &Overrides::default());
        std::fs::create_dir_all(paths.partners()).unwrap();
        let empty = look();
        assert_eq!(look(), empty);
        std::fs::write(paths.map(), "10.0.0.1 1").unwrap();
        let with_map = look();
        assert_ne!(with_map, empty);
        std::fs::write(paths.partners().join("lab"), "x").unwrap();
        assert_ne!(look(), with_map);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
