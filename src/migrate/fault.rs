//! Named fault points: `MOS_FAULT=NAME` makes that point fail, `MOS_FAULT=NAME:die` ends the process there without clean-up.
//! `MOS_FAULT=WHO/NAME` arms it only in processes of that name (`mos-host`, `mos-mover`), or of the node with that root directory.
//! Tests fire them one by one; each must end with exactly one live copy of the program.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Every point, in the order of a migration: sender's, receiver's.
pub const POINTS: &[&str] = &[
    "source.connect",
    "source.offer",
    "source.watch",
    "source.round",
    "source.stop",
    "source.stub",
    "source.inner",
    "source.meta",
    "source.pages",
    "source.built",
    "source.channel",
    "source.switch",
    "source.started",
    "target.verdict",
    "target.round",
    "target.meta",
    "target.build",
    "target.pages",
    "target.ctl",
    "target.ready",
    "target.channel",
    "target.take",
    "target.start",
    "target.running",
];

/// Those of freezing and of going on, likewise in order.
pub const FREEZE_POINTS: &[&str] = &[
    "freeze.file",
    "freeze.image",
    "freeze.park",
    "freeze.parked",
    "freeze.drop",
    "thaw.begin",
    "thaw.pages",
    "thaw.resume",
];

struct Armed {
    name: String,
    die: bool,
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED
        .get_or_init(|| {
            let value = std::env::var("MOS_FAULT").ok()?;
            let value = match value.split_once('/') {
                Some((who, value)) if is_us(who) => value.to_owned(),
                Some(_) => return None,
                None => value,
            };
            let (name, action) = value.split_once(':').unwrap_or((&value, "fail"));
            Some(Armed {
                name: name.to_owned(),
                die: action == "die",
            })
        })
        .as_ref()
}

fn is_us(who: &str) -> bool {
    let name = std::env::args_os().next();
    let root = std::env::var_os("MOSIX_ROOT").map(PathBuf::from);
    name.is_some_and(|name| name == *who) || root.is_some_and(|root| root.ends_with(who))
}

/// Fails (or ends the process) when this point is armed.
pub fn point(name: &'static str) -> io::Result<()> {
    debug_assert!(
        POINTS.contains(&name) || FREEZE_POINTS.contains(&name),
        "fault point {name} is not listed"
    );
    match armed() {
        Some(fault) if fault.name == name && fault.die => std::process::abort(),
        Some(fault) if fault.name == name => {
            Err(io::Error::other(format!("fault injected at {name}")))
        }
        _ => Ok(()),
    }
}
