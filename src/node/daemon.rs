//! What makes a process a daemon: one for each root, in the background, with a log.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use mio::net::UnixListener;

use crate::config::Paths;
use crate::sys::unix::{self, Fork};
use crate::wire::client::with_short_path;

/// Held by the only mosd of a root.
pub struct Lock {
    file: File,
}

impl Lock {
    /// Writes this process's pid to the file, for those who look for mosd.
    ///
    /// # Errors
    ///
    /// When the file system is full.
    pub fn note_pid(&self) -> io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    }
}

/// Takes the lock of this root.
///
/// # Errors
///
/// In words: another mosd runs, or the directory cannot be written.
pub fn lock(paths: &Paths) -> Result<Lock, String> {
    let var = paths.var();
    let cannot = |what: &str, error: io::Error| format!("cannot {what}: {error}{}", hint(&error));
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&var)
        .map_err(|error| cannot(&format!("make the directory {}", var.display()), error))?;
    let path = paths.lock();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| cannot(&format!("write {}", path.display()), error))?;
    if !unix::try_lock(&file).map_err(|error| cannot(&format!("lock {}", path.display()), error))? {
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        return Err(format!(
            "mosd runs already here (pid {}, {} is locked)",
            pid.trim(),
            path.display()
        ));
    }
    let lock = Lock { file };
    lock.note_pid()
        .map_err(|error| cannot(&format!("write {}", path.display()), error))?;
    Ok(lock)
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (run as root, or give a directory of your own with --root)"
        }
        io::ErrorKind::StorageFull => " (make room on that file system)",
        _ => "",
    }
}

/// Makes the control socket, in place of one that a dead mosd has left. Any user may connect: who they are decides.
///
/// # Errors
///
/// In words.
pub fn control_socket(paths: &Paths) -> Result<UnixListener, String> {
    let path = paths.socket();
    let cannot = |error: io::Error| {
        format!(
            "cannot make the socket {}: {error}{}",
            path.display(),
            hint(&error)
        )
    };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(error)),
        _ => {}
    }
    let listener = with_short_path(&path, |short| UnixListener::bind(short)).map_err(cannot)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).map_err(cannot)?;
    Ok(listener)
}

/// In the daemon: tells the process that was started whether all went well, and leaves the terminal.
pub struct Report {
    pipe: File,
    log: File,
}

/// What this process is after [`background`].
pub enum Side {
    /// The process that the user has started; the error that the daemon had, if any.
    Starter(Option<String>),
    Daemon(Report),
}

/// Goes on in the background.
///
/// # Errors
///
/// In words, before anything is in the background.
pub fn background(paths: &Paths) -> Result<Side, String> {
    let path = paths.log();
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .map_err(|error| format!("cannot write {}: {error}{}", path.display(), hint(&error)))?;
    let (mut reader, writer) = io::pipe().map_err(|error| format!("no pipe: {error}"))?;
    match unix::fork().map_err(|error| format!("cannot go to the background: {error}"))? {
        Fork::Parent { .. } => {
            drop(writer);
            let mut text = String::new();
            let _ = reader.read_to_string(&mut text);
            Ok(Side::Starter(match text.strip_suffix('\n') {
                Some("") => None,
                Some(error) => Some(error.to_string()),
                None => Some("mosd ended while it started; its log may say why".into()),
            }))
        }
        Fork::Child => {
            let _ = unix::new_session();
            Ok(Side::Daemon(Report {
                pipe: File::from(OwnedFd::from(writer)),
                log,
            }))
        }
    }
}

impl Report {
    /// It runs: the starter ends well, and from now on messages go to the log.
    ///
    /// # Errors
    ///
    /// When the descriptors cannot be replaced.
    pub fn up(mut self) -> io::Result<()> {
        let null = OpenOptions::new().read(true).open("/dev/null")?;
        unix::dup_onto(null.as_raw_fd(), 0)?;
        unix::dup_onto(self.log.as_raw_fd(), 1)?;
        unix::dup_onto(self.log.as_raw_fd(), 2)?;
        self.pipe.write_all(b"\n")
    }

    /// It does not: the starter says why.
    pub fn failed(mut self, why: &str) {
        let _ = writeln!(self.pipe, "{}", why.replace('\n', " "));
    }
}
