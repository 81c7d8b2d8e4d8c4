//! mosrun: puts the program under a warden and becomes it, in place.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::config::Paths;
use crate::home::interface::Settings;
use crate::home::{bound, filter};
use crate::sys::abi::EHOSTDOWN;
use crate::sys::launch::{self as start, interface_open};
use crate::sys::{process, procfs, seccomp, socket, unix};
use crate::wire::client::Client;
use crate::wire::control::{FromMosd, ToMosd};
use crate::wire::cpu::Cpu;
use crate::wire::frame::{read_frame, write_frame};

/// How long the nodes may take to say what their processors offer, and how often it is asked whether they have.
const ALL_SAY: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Where the program starts (manual: location options).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    #[default]
    Home,
    Best,
    /// A node number, an address or a host name.
    Node(String),
}

/// What the command line of mosrun says; `None` keeps what is inherited, or the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub start: Start,
    /// `-F`: run here if the requested node is not available.
    pub force: bool,
    /// `-L`, `-l`.
    pub lock: Option<bool>,
    /// `-u` 0, `-e` 1, `-w` 2.
    pub unsupported: Option<u8>,
    /// Megabytes, `-m`.
    pub needmem: Option<u32>,
    /// `-z`: the arguments begin with argument 0.
    pub args_from_zero: bool,
    /// `-c`, `-n`.
    pub cpujob: Option<bool>,
    /// `-d`.
    pub decay: Option<u32>,
    /// `-G`, `-g`.
    pub freezable: Option<bool>,
    /// `--portable`, `--no-portable`.
    pub portable: Option<bool>,
    pub program: Vec<OsString>,
}

/// What a warden is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WardenJob {
    pub tree: u64,
    pub pid: i32,
    pub settings: Settings,
    /// Node to move to as soon as the program is there, and whether to run on here if that fails.
    pub start: Option<(Ipv4Addr, bool)>,
    /// What the program is to see at most.
    pub portable: Option<Cpu>,
}

/// From mosrun to its warden, with the listener attached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Seccomp filters of the tree, this one included.
    pub filters: u32,
}

/// The warden's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Ready {
    Yes,
    No(String),
}

/// Becomes the program. Returns only if that failed: exit status and message.
pub fn exec(options: &Options) -> (i32, String) {
    let prepared = if interface_open("whereami", 0, 0).is_ok() {
        inside(options)
    } else {
        outside(options)
    };
    match prepared {
        Ok(()) => become_program(options),
        Err(error) => (127, error.to_string()),
    }
}

/// Becomes a program that MOSIX does not care for (mosnative).
pub fn exec_native(program: &[OsString]) -> (i32, String) {
    // Outside of mosrun there is nothing to leave.
    let _ = interface_open("mosnative", 1, 1);
    become_program(&Options {
        program: program.to_vec(),
        ..Options::default()
    })
}

fn become_program(options: &Options) -> (i32, String) {
    let Some(file) = options.program.first() else {
        return (127, "no program was given".to_owned());
    };
    let args = if options.args_from_zero && options.program.len() > 1 {
        &options.program[1..]
    } else {
        &options.program
    };
    let error = start::exec(file, args);
    let status = if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    };
    (
        status,
        format!("{}: {}", file.to_string_lossy(), start::plain(&error)),
    )
}

fn settings(options: &Options) -> Settings {
    let mut settings = Settings::default();
    settings.locked = options.lock.unwrap_or(settings.locked);
    settings.freezable = options.freezable.unwrap_or(settings.freezable);
    settings.needmem = options.needmem.unwrap_or(settings.needmem);
    settings.unsupported = options.unsupported.map_or(settings.unsupported, u32::from);
    settings.cpujob = options.cpujob.unwrap_or(settings.cpujob);
    settings.decay = options.decay.unwrap_or(settings.decay);
    settings
}

/// Has the program see no more than all nodes have, or everything, if that is wanted. What a portable program is bound to.
fn portable(wanted: Option<bool>, client: &mut Client) -> io::Result<Option<Cpu>> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let until = Instant::now() + ALL_SAY;
    loop {
        let FromMosd::Common {
            here,
            common,
            unknown,
        } = client.ask(&ToMosd::Common)?
        else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        // A node that does not say what it has will refuse what it lacks.
        if !wanted || unknown == 0 || Instant::now() > until {
            let bound = bound::set(wanted.then_some(&common), &here);
            return Ok(wanted.then_some(bound));
        }
        std::thread::sleep(ASK_AGAIN);
    }
}

/// The address of the node that the program is to start on.
fn resolve(
    options: &Options,
    needs: Option<Cpu>,
    client: &mut Client,
) -> io::Result<Option<Ipv4Addr>> {
    let name = match &options.start {
        Start::Home => return Ok(None),
        Start::Best => return best(options.needmem, needs, client).map(Some),
        Start::Node(name) => name,
    };
    Ok(Some(client.resolve(name)?.address))
}

/// The best node to start on, be it this one; when memory was asked for, there is one sooner or later.
fn best(needmem: Option<u32>, needs: Option<Cpu>, client: &mut Client) -> io::Result<Ipv4Addr> {
    client.set_timeout(None)?;
    let question = ToMosd::Best {
        memory: needmem.unwrap_or(0),
        wait: needmem.is_some(),
        starts: true,
        needs,
    };
    match client.ask(&question)? {
        FromMosd::Node(Some(node)) => Ok(node.address),
        _ => Err(io::Error::other("no node has room for another program")),
    }
}

/// Already in a tree: only the settings change, through the program interface.
fn inside(options: &Options) -> io::Result<()> {
    let changes = [
        ("lock", options.lock.map(i64::from)),
        ("freezable", options.freezable.map(i64::from)),
        ("needmem", options.needmem.map(i64::from)),
        ("unsupportok", options.unsupported.map(i64::from)),
        ("cpujob", options.cpujob.map(i64::from)),
        ("decayrate", options.decay.map(i64::from)),
    ];
    for (name, value) in changes {
        if let Some(value) = value {
            interface_open(name, 1, value)?;
        }
    }
    let wanted = options
        .portable
        .filter(|wanted| *wanted != bound::inherited());
    if options.start != Start::Home || wanted.is_some() {
        let mut client = Client::connect(&Paths::from_env())?;
        let needs = portable(wanted, &mut client)?;
        if options.start == Start::Home {
            return Ok(());
        }
        let node = resolve(options, needs, &mut client)?;
        let number = node.map_or(0, u32::from);
        interface_open(
            if options.start == Start::Best || options.force {
                "mosstartf"
            } else {
                "mosstart"
            },
            1,
            i64::from(number),
        )
        .map_err(not_started)?;
    }
    Ok(())
}

/// The warden has said why.
fn not_started(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(EHOSTDOWN) {
        io::Error::other("the program was not started")
    } else {
        error
    }
}

fn outside(options: &Options) -> io::Result<()> {
    let mut client = Client::connect(&Paths::from_env())?;
    let needs = portable(options.portable, &mut client)?;
    let node = resolve(options, needs, &mut client)?;
    drop(client);
    let job = WardenJob {
        tree: unix::random_u64(),
        pid: std::process::id() as i32,
        settings: settings(options),
        // The best node is a wish: without it the program runs here.
        start: node.map(|node| (node, options.force || options.start == Start::Best)),
        portable: needs,
    };
    let (mut ours, theirs) = UnixStream::pair()?;
    let text = ron::to_string(&job).map_err(io::Error::other)?;
    start::daemon("mos-warden", &[&text], theirs.into())?;
    let rules = seccomp::program(
        &filter::rules(),
        seccomp::Verdict::Allow,
        seccomp::Verdict::Allow,
    );
    let listener = match seccomp::install(&rules) {
        // An ordinary user may have filters only where set-user-ID programs gain nothing.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            process::set_no_new_privs()?;
            seccomp::install(&rules)?
        }
        other => other?,
    };
    let filters = procfs::status(job.pid)?.filters;
    write_frame(&mut ours, &Hello { filters })?;
    socket::send_with_fd(&ours, b"L", Some(std::os::fd::AsFd::as_fd(&listener)))?;
    drop(listener);
    match read_frame(&mut ours, 1 << 16)? {
        // The end of this connection tells the warden that the program is there: it is closed on exec.
        Ready::Yes => {
            std::mem::forget(ours);
            Ok(())
        }
        Ready::No(why) => Err(io::Error::other(why)),
    }
}
