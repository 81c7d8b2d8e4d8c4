//! Where the memory of a frozen process may go: to the user's own directories if there are any, else to the administrator's, which
//! mosd opens.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::FreezeConf;
use crate::sys::nameless::{self, as_user};
use crate::sys::unix::chance;
use crate::wire::client::Client;
use crate::wire::control::{FromMosd, ToMosd};

/// The user's list of directories, in the home directory.
const LIST: &str = ".freeze_dirs";

/// The files that an image may go to, one after the other.
pub struct Places<'a> {
    client: &'a mut Client,
    uid: u32,
    /// The user's own directories.
    own: Option<FreezeConf>,
    tried: Vec<PathBuf>,
}

impl<'a> Places<'a> {
    /// Those for process `pid` of user `uid`.
    ///
    /// # Errors
    ///
    /// When the user's list of directories is wrong.
    pub fn of(pid: i32, uid: u32, client: &'a mut Client) -> io::Result<Places<'a>> {
        let environment = std::fs::read(format!("/proc/{pid}/environ"))?;
        Ok(Places {
            client,
            uid,
            own: own(&environment, uid)?,
            tried: Vec::new(),
        })
    }

    /// The next file; `None` when all directories have been tried.
    ///
    /// # Errors
    ///
    /// Why none of those that are left can be used.
    pub fn next(&mut self) -> io::Result<Option<File>> {
        let Some(own) = &self.own else {
            return self.next_of_mosd();
        };
        let mut failed = None;
        while let Some(dir) = own.choose(&self.tried, chance()) {
            let made = as_user(self.uid, || nameless::create(&dir));
            let why = |error: &io::Error| format!("cannot freeze to {}: {error}", dir.display());
            failed = made.as_ref().err().map(why);
            self.tried.push(dir);
            if let Ok(file) = made {
                return Ok(Some(file));
            }
        }
        failed.map_or(Ok(None), |why| Err(io::Error::other(why)))
    }

    fn next_of_mosd(&mut self) -> io::Result<Option<File>> {
        let tried = self.tried.clone();
        self.client.send(&ToMosd::FreezeFile { tried })?;
        loop {
            match self.client.recv()? {
                (FromMosd::FreezeFile { dir: Some(dir) }, Some(fd)) => {
                    self.tried.push(dir);
                    return Ok(Some(File::from(fd)));
                }
                (FromMosd::FreezeFile { .. }, _) => return Ok(None),
                (FromMosd::Error(why), _) => return Err(io::Error::other(why)),
                _ => {}
            }
        }
    }
}

/// `FREEZE_DIR`, or the directories in the list.
fn own(environment: &[u8], uid: u32) -> io::Result<Option<FreezeConf>> {
    let value = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0);
        let value = variables.find_map(|text| text.strip_prefix(name.as_bytes()));
        value.and_then(|value| std::str::from_utf8(value).ok())
    };
    if let Some(dir) = value("FREEZE_DIR=").filter(|dir| dir.starts_with('/')) {
        let dirs = vec![(dir.into(), 1.0)];
        return Ok(Some(FreezeConf {
            dirs,
            ..FreezeConf::default()
        }));
    }
    let Some(home) = value("HOME=").filter(|home| home.starts_with('/')) else {
        return Ok(None);
    };
    let list = Path::new(home).join(LIST);
    let conf = as_user(uid, || {
        FreezeConf::read_dirs(&list).map_err(io::Error::other)
    })?;
    Ok(Some(conf).filter(|conf| !conf.dirs.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::unix::euid;

    #[test]
    fn the_users_directories_come_from_variable_or_list() {
        let home = std::env::temp_dir().join(format!("mos-places-{}", std::process::id()));
        std::fs::create_dir(&home).unwrap();
        let list = home.join(LIST);
        let variables = format!("A=b\0HOME={}\0", home.display());
        let dirs = |variables: &str| {
            let conf = own(variables.as_bytes(), euid()).unwrap();
            conf.map(|conf| conf.dirs)
        };
        assert_eq!(dirs(&variables), None);
        std::fs::write(&list, "/a 2\n/b\n").unwrap();
        let listed = vec![("/a".into(), 2.0), ("/b".into(), 1.0)];
        assert_eq!(dirs(&variables), Some(listed));
        let both = format!("{variables}FREEZE_DIR=/c\0");
        assert_eq!(dirs(&both), Some(vec![("/c".into(), 1.0)]));
        assert!(dirs(&format!("{variables}FREEZE_DIR=c\0")).is_some());
        for wrong in ["1 0 6 4\n", "U 3\n", "a\n"] {
            std::fs::write(&list, wrong).unwrap();
            let error = own(variables.as_bytes(), euid()).unwrap_err();
            assert!(error.to_string().contains(".freeze_dirs:1:"), "{error}");
        }
        std::fs::remove_dir_all(&home).unwrap();
    }
}
