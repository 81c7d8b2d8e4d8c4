//! `mos --install`: links by which each command has its own name.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use crate::APPLETS;
use crate::common::{USAGE, fail};

/// `args`: `--install` and, at most, a directory.
pub fn run(args: &[OsString]) -> i32 {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return fail("mos", format!("cannot find this program's file: {error}")),
    };
    let dir = match args {
        [_] => program.parent().map(Path::to_path_buf).unwrap_or_default(),
        [_, dir] if !dir.to_string_lossy().starts_with('-') => PathBuf::from(dir),
        _ => {
            eprintln!("usage: mos --install [DIR]");
            return USAGE;
        }
    };
    match links(&program, &dir) {
        Ok(()) => {
            println!("mos: {} commands in {}", APPLETS.len(), dir.display());
            0
        }
        Err(error) => fail("mos", error),
    }
}

/// Makes (or replaces) a link for each command in `dir`, `mos` included unless the program is there itself. What is there and no link is left alone and is an error.
///
/// # Errors
///
/// Names the file that cannot be made.
pub fn links(program: &Path, dir: &Path) -> io::Result<()> {
    let named = |path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    };
    let own = (program != dir.join("mos")).then_some("mos");
    for name in APPLETS.iter().map(|applet| applet.name).chain(own) {
        let link = dir.join(name);
        match std::fs::symlink_metadata(&link) {
            Ok(meta) if meta.is_symlink() => {
                std::fs::remove_file(&link).map_err(|error| named(&link, error))?
            }
            Ok(_) => {
                return Err(io::Error::other(format!(
                    "{} is there already and is no link",
                    link.display()
                )));
            }
            Err(_) => {}
        }
        std::os::unix::fs::symlink(program, &link).map_err(|error| named(&link, error))?;
    }
    Ok(())
}
