//! The multi-call binary: acts by `argv[0]`, or by its first argument when called as `mos`.

mod at;
mod bench;
mod cluster;
mod common;
mod install;
mod internal;
mod mos_autoconf;
mod mos_in_job;
mod mosbestnode;
mod mosconf;
mod mosctl;
mod mosd;
mod moskillall;
mod mosmigrate;
mod mosmon;
mod mosps;
mod mosrun;
mod mossetpe;
mod mostimeof;
mod playground;
mod proc;
mod simulate;
mod syscalls;

use std::ffi::OsString;
use std::path::Path;

use clap::Command;
use mos::sys::unix;

/// Given all arguments, the name first; gives the exit status.
type Run = fn(&[OsString]) -> i32;

/// One command.
struct Applet {
    name: &'static str,
    command: fn() -> Command,
    run: Run,
}

/// Commands that only ask and show: they end when nobody reads what they write.
const SHOWING: &[&str] = &["mosps", "mosctl", "mossetpe", "mostimeof", "syscalls"];

impl Applet {
    fn start(&self, args: &[OsString]) -> i32 {
        if SHOWING.contains(&self.name) {
            unix::end_by_closed_pipes();
        }
        (self.run)(args)
    }
}

/// All commands, in the order in which they are listed.
const APPLETS: &[Applet] = &[
    Applet {
        name: "mosrun",
        command: mosrun::command,
        run: mosrun::run,
    },
    Applet {
        name: "mosenv",
        command: mosrun::command_env,
        run: mosrun::run_env,
    },
    Applet {
        name: "mosnative",
        command: mosrun::command_native,
        run: mosrun::run_native,
    },
    Applet {
        name: "mosd",
        command: mosd::command,
        run: mosd::run,
    },
    Applet {
        name: "mosps",
        command: mosps::command,
        run: mosps::run,
    },
    Applet {
        name: "mosmigrate",
        command: mosmigrate::command,
        run: mosmigrate::run,
    },
    Applet {
        name: "moskillall",
        command: moskillall::command,
        run: moskillall::run,
    },
    Applet {
        name: "mostimeof",
        command: mostimeof::command,
        run: mostimeof::run,
    },
    Applet {
        name: "mosbestnode",
        command: mosbestnode::command,
        run: mosbestnode::run,
    },
    Applet {
        name: "mosctl",
        command: mosctl::command,
        run: mosctl::run,
    },
    Applet {
        name: "mosmon",
        command: mosmon::command,
        run: mosmon::run,
    },
    Applet {
        name: "mossetpe",
        command: mossetpe::command,
        run: mossetpe::run,
    },
    Applet {
        name: "mosconf",
        command: mosconf::command,
        run: mosconf::run,
    },
    Applet {
        name: "mos_autoconf",
        command: mos_autoconf::command,
        run: mos_autoconf::run,
    },
    Applet {
        name: "mos_in_job",
        command: mos_in_job::command,
        run: mos_in_job::run,
    },
    Applet {
        name: "playground",
        command: playground::command,
        run: playground::run,
    },
    Applet {
        name: "at",
        command: at::command,
        run: at::run,
    },
    Applet {
        name: "bench",
        command: bench::command,
        run: bench::run,
    },
    Applet {
        name: "simulate",
        command: simulate::command,
        run: simulate::run,
    },
    Applet {
        name: "syscalls",
        command: syscalls::command,
        run: syscalls::run,
    },
];

fn main() {
    let args: Vec<OsString> = std::env::args_os().collect();
    std::process::exit(dispatch(&args));
}

/// Programs that mos starts itself, by `argv[0]` only.
const INTERNAL: &[(&str, Run)] = &[
    (playground::spin::NAME, playground::spin::run),
    (bench::INSIDE, bench::run_inside),
    (bench::worker::NAME, bench::worker::run),
    (bench::makespan::OUTSIDE, bench::makespan::run_outside),
    (bench::makespan::NAME, bench::makespan::run),
];

/// Finds the applet that is meant and runs it.
fn dispatch(args: &[OsString]) -> i32 {
    let called = args
        .first()
        .map(Path::new)
        .and_then(Path::file_name)
        .unwrap_or_default()
        .to_string_lossy();
    if let Some((_, run)) = INTERNAL.iter().find(|(name, _)| *name == called) {
        return run(args);
    }
    if let Some(status) = internal::run(&called, &args[1.min(args.len())..]) {
        return status;
    }
    if called != "mos"
        && let Some(applet) = APPLETS.iter().find(|applet| applet.name == called)
    {
        return applet.start(args);
    }
    let Some(word) = args.get(1).map(|word| word.to_string_lossy()) else {
        list();
        return 0;
    };
    match &*word {
        "--install" => install::run(&args[1..]),
        "--help" | "-h" | "help" => {
            list();
            0
        }
        "--version" | "-V" => {
            println!("mos {}", env!("CARGO_PKG_VERSION"));
            0
        }
        _ => match find(&word) {
            Some(applet) => applet.start(&args[1..]),
            None => {
                eprintln!("mos: there is no command \"{word}\" (\"mos\" lists all)");
                2
            }
        },
    }
}

/// The applet of this name, with or without its "mos".
fn find(word: &str) -> Option<&'static Applet> {
    APPLETS
        .iter()
        .find(|applet| applet.name == word || applet.name.strip_prefix("mos") == Some(word))
}

fn list() {
    println!(
        "mos {}: running processes move between the nodes of a cluster",
        env!("CARGO_PKG_VERSION")
    );
    println!();
    println!(
        "Each command is called by its own name or as \"mos NAME\" (\"mos run\" is \"mosrun\"):"
    );
    for applet in APPLETS {
        let about = (applet.command)()
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        println!("  {:<12} {about}", applet.name);
    }
    println!();
    println!("mos --install [DIR] makes links for all of them, in DIR or beside this program.");
    println!("A first try, without any set-up: mos playground");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_line_is_sound() {
        for applet in APPLETS {
            let command = (applet.command)();
            assert_eq!(command.get_name(), applet.name);
            assert!(
                command.get_about().is_some(),
                "{} has no description",
                applet.name
            );
            command.debug_assert();
        }
    }

    #[test]
    fn names_work_with_and_without_mos() {
        assert_eq!(find("d").map(|applet| applet.name), Some("mosd"));
        assert_eq!(find("mosd").map(|applet| applet.name), Some("mosd"));
        assert_eq!(find("at").map(|applet| applet.name), Some("at"));
        assert!(find("").is_none());
    }
}
