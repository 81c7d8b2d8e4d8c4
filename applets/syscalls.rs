//! mos syscalls: what each system call of a migrated program means.

use std::ffi::OsString;

use clap::Command;

pub fn command() -> Command {
    Command::new("syscalls")
        .about("lists every system call and where it is done for a process that is away")
}

pub fn run(args: &[OsString]) -> i32 {
    if let Err(error) = command().try_get_matches_from(args) {
        let status = error.exit_code();
        // Nothing more can be said when even this cannot be printed.
        let _ = error.print();
        return status;
    }
    print!("{}", mos::syscall::print::table());
    0
}
