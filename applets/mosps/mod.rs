//! mosps: lists the processes that were started by mosrun here, and guests, in the manner of ps.

mod options;
mod select;
mod table;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::{Arg, ArgAction, Command};
use mos::sys::unix;
use mos::wire::control::{Frozen, Place, ProcInfo};
use serde::Serialize;

use crate::cluster::{self, Names};
use crate::common::{USAGE, fail, flag};
use crate::proc::{self, Stat};
use options::{Options, Wanted};

/// The description for `--help`; options are read in [`options`], as ps reads its own.
pub fn command() -> Command {
    let value = |letter: &'static str, name: &'static str, help: &'static str| {
        Arg::new(letter)
            .short(letter.chars().next())
            .value_name(name)
            .help(help)
    };
    Command::new("mosps")
        .about("lists processes that were started by mosrun, and where they run")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .override_usage("mosps [OPTION]... (also without \"-\", as those of ps: a c e f g j l m n p t u w x T U)")
        .arg(flag("I", "Show nodes as addresses"))
        .arg(flag("h", "Show nodes as host names"))
        .arg(flag("M", "Show nodes as the first component of host names"))
        .arg(flag("L", "Only processes whose home is here"))
        .arg(flag("O", "Only processes whose home is here and that run elsewhere"))
        .arg(flag("V", "Only guests, with ORIGPID"))
        .arg(flag("n", "Show NMIGS, the number of migrations"))
        .arg(flag("P", "Show ORIGPID, the process at its home"))
        .arg(flag("A", "All processes"))
        .arg(flag("e", "All processes"))
        .arg(flag("a", "All with a terminal, except leaders of sessions"))
        .arg(flag("d", "All except leaders of sessions"))
        .arg(flag("N", "All others than the rest of the options select"))
        .arg(flag("T", "Those of this terminal"))
        .arg(value("G", "GROUPS", "Those of these groups"))
        .arg(value("p", "PIDS", "These processes"))
        .arg(value("t", "TTYS", "Those of these terminals"))
        .arg(value("u", "USERS", "Those of these users"))
        .arg(value("U", "USERS", "Those of these users"))
        .arg(flag("f", "Full format"))
        .arg(flag("j", "Format for job control"))
        .arg(flag("l", "Long format"))
        .arg(flag("H", "Show children below their parents"))
        .arg(flag("g", "Leaders of sessions too (they always are)"))
        .arg(flag("m", "Threads after processes (processes only are shown)"))
        .arg(flag("w", "Do not cut lines"))
        .arg(Arg::new("ron").long("ron").action(ArgAction::SetTrue).help("Print everything in RON, for programs"))
        .arg(Arg::new("help").long("help").action(ArgAction::Help).help("Show this"))
        .arg(
            Arg::new("version")
                .long("version")
                .action(ArgAction::Version)
                .help("Show the version"),
        )
}

/// A process with all that is shown of it.
pub struct Row {
    pub info: ProcInfo,
    pub stat: Stat,
    pub gid: u32,
}

pub fn run(args: &[OsString]) -> i32 {
    let words: Vec<String> = args[1..]
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match options::parse(&words) {
        Ok(Wanted::Help) => crate::common::parse(command(), &["mosps".into(), "--help".into()])
            .err()
            .unwrap_or(0),
        Ok(Wanted::Version) => {
            println!("mosps {}", env!("CARGO_PKG_VERSION"));
            0
        }
        Ok(Wanted::List(options)) => match show(&options) {
            Ok(()) => 0,
            // Whoever read our output has had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Err(error) => fail("mosps", error),
        },
        Err(what) => {
            eprintln!("mosps: {what} (\"mosps --help\" shows the options)");
            USAGE
        }
    }
}

fn show(options: &Options) -> io::Result<()> {
    let mut client = cluster::connect()?;
    let local = !options.guests_only;
    let guests = !options.local_only && !options.away_only;
    let procs = cluster::list(&mut client, local, guests)?;
    let rows: Vec<Row> = procs.into_iter().filter_map(row).collect();
    let rows = select::select(options, &select::Caller::this(), rows);
    let mut out = io::stdout().lock();
    if options.ron {
        let text = ron::ser::to_string_pretty(
            &rows.iter().map(record).collect::<Vec<_>>(),
            ron::ser::PrettyConfig::new(),
        );
        return writeln!(out, "{}", text.map_err(io::Error::other)?);
    }
    let names = Names::new(options.naming, cluster::status(&mut client)?.nodes);
    // What goes to a file or a pipe is not cut.
    let width = if options.wide {
        None
    } else {
        unix::terminal_width(1)
    };
    for line in table::lines(options, &names, &rows) {
        match width {
            Some(width) => writeln!(out, "{}", line.chars().take(width).collect::<String>())?,
            None => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}

/// What `/proc` adds; `None` when the process has ended meanwhile.
fn row(info: ProcInfo) -> Option<Row> {
    use std::os::unix::fs::MetadataExt;
    let stat = Stat::of(info.pid)?;
    let gid = std::fs::metadata(format!("/proc/{}", info.pid))
        .map(|meta| meta.gid())
        .unwrap_or_default();
    Some(Row { info, stat, gid })
}

/// One process for programs.
#[derive(Serialize)]
struct Record {
    pid: i32,
    uid: u32,
    tty: String,
    r#where: Place,
    from: Option<String>,
    origpid: Option<i32>,
    frozen: Frozen,
    nmigs: u32,
    stays: Option<String>,
    locked: bool,
    cpu_away_ns: u64,
    command: String,
}

fn record(row: &Row) -> Record {
    Record {
        pid: row.info.pid,
        uid: row.info.uid,
        tty: proc::tty_name(row.stat.tty),
        r#where: row.info.place,
        from: row.info.from.map(|node| node.to_string()),
        origpid: row.info.origpid,
        frozen: row.info.frozen,
        nmigs: row.info.nmigs,
        stays: row.info.stays.clone(),
        locked: row.info.locked,
        cpu_away_ns: row.info.cpu_away_ns,
        command: proc::command_line(row.info.pid, &row.stat.comm),
    }
}
