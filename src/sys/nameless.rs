//! Files that no name leads to, and whose rights are used to make them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::unix::{check, euid, random_u64};

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

/// Waits until no other process has this file for itself, and has it from then on: until this process ends, or closes any descriptor
/// of it. Who shares the open file with others is told from them all the same.
///
/// # Errors
///
/// When the file system has no locks.
pub fn have(file: &File) -> io::Result<()> {
    // SAFETY: a `flock` is plain numbers.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as i16;
    lock.l_whence = libc::SEEK_SET as i16;
    loop {
        // SAFETY: `lock` outlives the call; all of the file is meant by length 0.
        let locked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLKW, &raw const lock) };
        match check(locked) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
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
    fn one_process_has_it() {
        let file = create(&std::env::temp_dir()).unwrap();
        have(&file).unwrap();
        have(&file).unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let script = "import fcntl, sys\nf = open(sys.argv[1], 'r+')\ntry:\n    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\nexcept OSError:\n    sys.exit(7)";
        let tried = std::process::Command::new("python3")
            .args(["-c", script, &path])
            .status();
        assert!(tried.is_err() || tried.unwrap().code() == Some(7));
    }

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
