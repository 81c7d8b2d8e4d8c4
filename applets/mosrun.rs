//! mosrun, mosenv and mosnative: programs that can move, and programs that cannot.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgAction, Command};
use mos::config::{BestNode, MosrunConf, Paths, journal};
use mos::home::launch::{self, Options, Start};
use mos::sys::unix;

use crate::common::flag;

/// Exit status when the program was not started, as shells have it.
const NOT_STARTED: i32 = 127;

/// Options for the parts of MOSIX that are not there yet: letter, and what it is for.
const NOT_YET: &[(u8, &str)] = &[
    (b'S', "queues of commands"),
    (b'R', "checkpoints"),
    (b'I', "checkpoints"),
    (b'O', "checkpoints"),
    (b'C', "checkpoints"),
    (b'N', "checkpoints"),
    (b'A', "checkpoints"),
    (b'X', "private temporary directories"),
];

pub fn command() -> Command {
    describe(
        "mosrun",
        "runs a program that can move to other nodes while it runs",
    )
}

pub fn command_env() -> Command {
    describe(
        "mosenv",
        "as mosrun, for programs that need all of the environment (mosrun keeps it as well)",
    )
}

pub fn command_native() -> Command {
    Command::new("mosnative")
        .about("runs a program outside of mosrun, from a program that runs under it")
        .version(env!("CARGO_PKG_VERSION"))
        .arg(
            Arg::new("program")
                .value_name("PROGRAM")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .help("The program and its arguments"),
        )
}

/// What `--help` shows. Parsing is done here by hand: the forms `-a.b.c.d` and `-{n}` are no options that clap knows.
fn describe(name: &'static str, about: &'static str) -> Command {
    let value = |letter: &'static str, name: &'static str, help: &'static str| {
        Arg::new(letter)
            .short(letter.chars().next())
            .value_name(name)
            .help(help)
    };
    Command::new(name)
        .about(about)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_flag(true)
        .override_usage(format!(
            "{name} [-h | -b | -rHOST | -A.B.C.D | -NUMBER] [OPTION]... PROGRAM [ARG]..."
        ))
        .arg(flag("h", "Start at home (the default)"))
        .arg(flag("b", "Start on the best node"))
        .arg(value(
            "r",
            "HOST",
            "Start on this host; -A.B.C.D: at this address; -NUMBER: on the node of this number",
        ))
        .arg(flag("F", "Start here if that node is not available"))
        .arg(flag("L", "Move by order only"))
        .arg(flag("l", "Move also without order (reverses -L)"))
        .arg(flag("g", "Do not freeze it automatically"))
        .arg(flag("G", "Freezing is allowed (reverses -g)"))
        .arg(value("m", "MB", "Memory that the program needs at most"))
        .arg(flag(
            "e",
            "What is not supported fails with an error (for MOSIX's strict mode, see -u)",
        ))
        .arg(flag("w", "As -e, with a message on standard error"))
        .arg(flag(
            "u",
            "Kill the program when it uses what MOSIX does not support",
        ))
        .arg(flag("z", "The arguments begin with argument 0"))
        .arg(flag(
            "c",
            "System calls do not count when a move is considered",
        ))
        .arg(flag("n", "System calls count (reverses -c)"))
        .arg(value(
            "d",
            "DECAY",
            "Rate of decay of statistics, from 0 to 10000",
        ))
        .arg(
            Arg::new("portable")
                .long("portable")
                .action(ArgAction::SetTrue)
                .help("The program uses no more of the processor than all nodes have"),
        )
        .arg(
            Arg::new("no-portable")
                .long("no-portable")
                .action(ArgAction::SetTrue)
                .help("It uses all that is here (reverses --portable)"),
        )
        .arg(
            Arg::new("program")
                .value_name("PROGRAM")
                .required(true)
                .num_args(1..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .help("The program and its arguments"),
        )
        .arg(
            Arg::new("help")
                .long("help")
                .action(ArgAction::Help)
                .help("Show this"),
        )
}

/// What a command line wants.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Run(Options),
    Help,
    Version,
}

pub fn run(args: &[OsString]) -> i32 {
    start("mosrun", command(), args)
}

pub fn run_env(args: &[OsString]) -> i32 {
    start("mosenv", command_env(), args)
}

pub fn run_native(args: &[OsString]) -> i32 {
    match args.get(1).map(|word| word.as_bytes()) {
        Some(b"--help") => show_help(command_native()),
        Some(b"--version") => show_version("mosnative"),
        Some(b"--") if args.len() > 2 => failed("mosnative", launch::exec_native(&args[2..])),
        Some(word) if !word.starts_with(b"-") => {
            failed("mosnative", launch::exec_native(&args[1..]))
        }
        _ => usage("mosnative", "which program?"),
    }
}

fn start(name: &str, command: Command, args: &[OsString]) -> i32 {
    let paths = Paths::from_env();
    // The administrator is told of a wrong file by mosd; programs start as if there was none.
    let wishes = MosrunConf::read(&paths.mosrun()).unwrap_or_default();
    match parse_with(beginning(&wishes), &args[1..]).and_then(|wanted| insist(&wishes, wanted)) {
        Ok(Wanted::Run(options)) => {
            journal::note(&paths, &said(name, &args[1..]));
            failed(name, launch::exec(&options))
        }
        Ok(Wanted::Help) => show_help(command),
        Ok(Wanted::Version) => show_version(name),
        Err(Mistake::Usage(what)) => usage(name, &what),
        Err(Mistake::NotYet(what)) => {
            eprintln!("{name}: {what}");
            1
        }
    }
}

/// What is noted of a run.
fn said(name: &str, args: &[OsString]) -> String {
    let words: Vec<_> = args.iter().map(|word| word.to_string_lossy()).collect();
    format!("user {} runs {name} {}", unix::uid(), words.join(" "))
}

/// The options that the administrator wants where the user says nothing.
fn beginning(wishes: &MosrunConf) -> Options {
    Options {
        start: match wishes.best {
            BestNode::User => Start::Home,
            BestNode::Default | BestNode::Force => Start::Best,
        },
        unsupported: wishes.unsupported,
        portable: wishes.portable.then_some(true),
        ..Options::default()
    }
}

/// What the administrator does not leave to ordinary users.
fn insist(wishes: &MosrunConf, mut wanted: Wanted) -> Result<Wanted, Mistake> {
    if let Wanted::Run(options) = &mut wanted
        && unix::uid() != 0
    {
        if wishes.best == BestNode::Force {
            options.start = Start::Best;
        }
        if wishes.need_memory && options.needmem.is_none() {
            return mistake("on this node the memory that a program needs must be given (-mMB)");
        }
    }
    Ok(wanted)
}

fn failed(name: &str, (status, why): (i32, String)) -> i32 {
    eprintln!("{name}: {why}");
    status
}

fn usage(name: &str, what: &str) -> i32 {
    eprintln!("{name}: {what} (\"{name} --help\" shows the options)");
    NOT_STARTED
}

fn show_help(mut command: Command) -> i32 {
    // Nothing can be done when standard output is closed.
    let _ = command.print_help();
    0
}

fn show_version(name: &str) -> i32 {
    println!("{name} {}", env!("CARGO_PKG_VERSION"));
    0
}

/// Why a command line cannot be followed.
#[derive(Debug, PartialEq, Eq)]
enum Mistake {
    Usage(String),
    /// Right, but not built yet.
    NotYet(String),
}

fn mistake<T>(what: impl Into<String>) -> Result<T, Mistake> {
    Err(Mistake::Usage(what.into()))
}

/// Reads options up to the program's name; what follows belongs to the program. `options` holds where nothing is said.
fn parse_with(mut options: Options, args: &[OsString]) -> Result<Wanted, Mistake> {
    let mut rest = args;
    while let Some((word, after)) = rest.split_first() {
        let bytes = word.as_bytes();
        match bytes {
            b"--help" => return Ok(Wanted::Help),
            b"--version" => return Ok(Wanted::Version),
            b"--portable" | b"--no-portable" => {
                options.portable = Some(bytes == b"--portable");
                rest = after;
            }
            b"--" => {
                rest = after;
                break;
            }
            [b'-', first, ..] if first.is_ascii_digit() => {
                options.start = Start::Node(node_name(&bytes[1..])?);
                rest = after;
            }
            [b'-', _, ..] => rest = letters(&mut options, &bytes[1..], after)?,
            _ => break,
        }
    }
    if rest.is_empty() {
        return mistake("which program?");
    }
    options.program = rest.to_vec();
    Ok(Wanted::Run(options))
}

/// A node as the option `-{n}` or `-{a.b.c.d}` names it.
fn node_name(bytes: &[u8]) -> Result<String, Mistake> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if text
        .parse::<u32>()
        .is_ok_and(|number| (1..=65535).contains(&number))
        || text.parse::<std::net::Ipv4Addr>().is_ok()
    {
        return Ok(text);
    }
    mistake(format!(
        "-{text} is neither a node number (1 to 65535) nor an address (a.b.c.d)"
    ))
}

/// One word of option letters; the words that follow it and its value.
fn letters<'a>(
    options: &mut Options,
    word: &[u8],
    after: &'a [OsString],
) -> Result<&'a [OsString], Mistake> {
    for (index, letter) in word.iter().enumerate() {
        if let Some((_, what)) = NOT_YET.iter().find(|(other, _)| other == letter) {
            let option = char::from(*letter);
            return Err(Mistake::NotYet(format!(
                "option -{option} ({what}) is not available in this version"
            )));
        }
        if b"rmd".contains(letter) {
            let (value, after) = value(*letter, &word[index + 1..], after)?;
            with_value(options, *letter, &value)?;
            return Ok(after);
        }
        set_flag(options, *letter)?;
    }
    Ok(after)
}

/// The value of an option: what follows its letter in the same word, or the next word.
fn value<'a>(
    letter: u8,
    attached: &[u8],
    after: &'a [OsString],
) -> Result<(String, &'a [OsString]), Mistake> {
    let text = |bytes: &OsStr| bytes.to_string_lossy().into_owned();
    match (attached, after.split_first()) {
        ([], Some((next, after))) => Ok((text(next), after)),
        ([], None) => mistake(format!("option -{} needs a value", char::from(letter))),
        _ => Ok((text(OsStr::from_bytes(attached)), after)),
    }
}

fn with_value(options: &mut Options, letter: u8, value: &str) -> Result<(), Mistake> {
    match (letter, value.parse::<u32>()) {
        (b'r', _) => options.start = Start::Node(value.to_string()),
        (b'm', Ok(megabytes)) => options.needmem = Some(megabytes),
        (b'm', Err(_)) => {
            return mistake(format!(
                "-m{value}: the memory must be a number of megabytes"
            ));
        }
        (_, Ok(decay @ 0..=10_000)) => options.decay = Some(decay),
        _ => {
            return mistake(format!(
                "-d {value}: the decay must be a number from 0 to 10000"
            ));
        }
    }
    Ok(())
}

fn set_flag(options: &mut Options, letter: u8) -> Result<(), Mistake> {
    match letter {
        b'h' => options.start = Start::Home,
        b'b' => options.start = Start::Best,
        b'F' => options.force = true,
        b'L' => options.lock = Some(true),
        b'l' => options.lock = Some(false),
        b'e' => options.unsupported = Some(1),
        b'w' => options.unsupported = Some(2),
        b'u' => options.unsupported = Some(0),
        b'z' => options.args_from_zero = true,
        b'c' => options.cpujob = Some(true),
        b'n' => options.cpujob = Some(false),
        b'G' => options.freezable = Some(true),
        b'g' => options.freezable = Some(false),
        other => return mistake(format!("there is no option -{}", char::from(other))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, Mistake> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        match parse_with(Options::default(), &args)? {
            Wanted::Run(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    fn node(line: &str) -> Start {
        parsed(line).unwrap().start
    }

    #[test]
    fn nodes_are_named_in_many_ways() {
        let named = |name: &str| Start::Node(name.into());
        assert_eq!(node("-rbig prog"), named("big"));
        assert_eq!(node("-r big prog"), named("big"));
        assert_eq!(node("-10.0.0.7 prog"), named("10.0.0.7"));
        assert_eq!(node("-3 prog"), named("3"));
        assert_eq!(node("-3 -h prog"), Start::Home);
        assert_eq!(node("-b prog"), Start::Best);
        assert!(parsed("-70000 prog").is_err());
        assert!(parsed("-1.2.3 prog").is_err());
    }

    #[test]
    fn what_follows_the_program_is_the_programs() {
        let options = parsed("-e -L prog -l -5 --help").unwrap();
        assert_eq!((options.unsupported, options.lock), (Some(1), Some(true)));
        assert_eq!(options.program, ["prog", "-l", "-5", "--help"]);
        assert_eq!(parsed("-F -- -odd").unwrap().program, ["-odd"]);
    }

    #[test]
    fn the_administrators_wishes_give_way_to_what_is_said() {
        let wishes = MosrunConf {
            best: BestNode::Default,
            unsupported: Some(2),
            need_memory: false,
            portable: true,
        };
        let with = |line: &str| {
            let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            match parse_with(beginning(&wishes), &args) {
                Ok(Wanted::Run(options)) => options,
                other => panic!("{other:?}"),
            }
        };
        let silent = with("prog");
        assert_eq!((silent.start, silent.unsupported), (Start::Best, Some(2)));
        assert_eq!(silent.portable, Some(true));
        assert_eq!(with("--no-portable prog").portable, Some(false));
        let loud = with("-h -u prog");
        assert_eq!((loud.start, loud.unsupported), (Start::Home, Some(0)));
    }

    #[test]
    fn letters_can_share_a_word() {
        let options = parsed("-Fewm100 -d 50 -zcG prog").unwrap();
        assert!(options.force && options.args_from_zero);
        assert_eq!(
            (options.unsupported, options.needmem, options.decay),
            (Some(2), Some(100), Some(50))
        );
        assert_eq!(
            (options.cpujob, options.freezable),
            (Some(true), Some(true))
        );
        assert_eq!(parsed("-n -g -l prog").unwrap().cpujob, Some(false));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(matches!(parsed("-S10 file"), Err(Mistake::NotYet(what)) if what.contains("-S")));
        assert!(matches!(parsed("-R file"), Err(Mistake::NotYet(_))));
        assert!(matches!(parsed("-eX /tmp prog"), Err(Mistake::NotYet(_))));
        for line in ["", "-e", "-q prog", "-mlots prog", "-d 10001 prog", "-m"] {
            assert!(matches!(parsed(line), Err(Mistake::Usage(_))), "{line}");
        }
    }
}
