//! Files that no name leads to, and whose rights are used to make them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::unix::{euid, random_u64};

/// A new file in this directory, for reading and writing.
///
/// # Errors
///
/// Those of making files there.
pub fn create(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(dir) {
        // Not every file system can do that.
        Err(error) if has_none(&error) => {}
        result => return result,
    }
    let path = dir.join(format!("mos-{:016x}", random_u64()));
    let file = options.create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn has_none(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)
    )
}

/// Does something with files with the rights of user `uid`; of this process's user where they are the same.
///
/// # Errors
///
/// `PermissionDenied` when this process cannot act for others.
pub fn as_user<T>(uid: u32, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if uid == euid() {
        return action();
    }
    // SAFETY: takes no pointers; concerns this thread only, and is undone below.
    let is = unsafe {
        libc::setfsuid(uid);
        // An impossible user changes nothing, and tells whose rights there are.
        libc::setfsuid(u32::MAX)
    };
    let result = if is as u32 == uid {
        action()
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    };
    // SAFETY: as above.
    unsafe { libc::setfsuid(euid()) };
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_new_file_has_no_name_and_its_makers_rights() {
        let file = create(&std::env::temp_dir()).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.nlink(), metadata.uid()), (0, euid()));
        assert!(create(Path::new("/nonexistent")).is_err());
        let nobody = 65534;
        let made = as_user(nobody, || create(&std::env::temp_dir()));
        match (euid(), made) {
            (0, Ok(file)) => assert_eq!(file.metadata().unwrap().uid(), nobody),
            (0, Err(error)) => panic!("{error}"),
            (_, made) => assert!(made.is_err()),
        }
        assert_eq!(
            create(&std::env::temp_dir())
                .unwrap()
                .metadata()
                .unwrap()
                .uid(),
            euid()
        );
    }
}
