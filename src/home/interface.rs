//! The program interface: "files" of `/proc/self` that exist only for programs under mosrun (manual, mosix(7)).

use serde::{Deserialize, Serialize};

use crate::sys::abi::{EINVAL, ENOENT};
use crate::wire::control::Target;

/// What a program asks by opening one of the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A number that is there already: the value of the open.
    Value(i64),
    /// The open fails with this errno.
    Fail(i32),
    /// Move the caller; the open returns 0 when it is there, and fails otherwise.
    Migrate(Wanted),
    /// A readable text: the reason why the process cannot move.
    CannotMove,
    /// The caller leaves MOSIX's care for good (mosnative).
    Native,
}

/// Where a program wants to go: as it wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Known(Target),
    /// A node number or an address in host order, to be looked up.
    Number(u32),
}

/// What the interface can read and change of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub locked: bool,
    pub freezable: bool,
    pub needmem: u32,
    /// 0 kill, 1 fail with ENOSYS, 2 fail and report.
    pub unsupported: u32,
    pub cpujob: bool,
    /// Fraction of 10000 per second.
    pub decay: u32,
    pub sigmig: u32,
    pub nmigs: u32,
    pub checkpoint_limit: u32,
    pub checkpoint_interval: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            locked: false,
            freezable: true,
            needmem: 0,
            unsupported: 1,
            cpujob: false,
            decay: 9976,
            sigmig: 0,
            nmigs: 0,
            checkpoint_limit: 0,
            checkpoint_interval: 0,
        }
    }
}

/// The part after `/proc/self/` (or the caller's own `/proc/PID/`), if the path is of that form.
pub fn name_of(path: &[u8], pid: i32) -> Option<&str> {
    let rest = std::str::from_utf8(path).ok()?.strip_prefix("/proc/")?;
    let (who, name) = rest.split_once('/')?;
    (who == "self" || who.parse() == Ok(pid)).then_some(name)
}

/// Serves one open; `None` when the name is not of the interface. `mode` is the access mode (0 read, 1 write, 2 both), `value`
/// the third argument, `whereami` the node that the caller runs at (0: home).
pub fn serve(
    settings: &mut Settings,
    name: &str,
    mode: u32,
    value: i64,
    whereami: u32,
) -> Option<Ask> {
    let answer = match name {
        "migrate" => migrate(mode, value),
        "whereami" => read_only(mode, i64::from(whereami)),
        "nmigs" => read_only(mode, i64::from(settings.nmigs)),
        "lock" => flag(&mut settings.locked, mode, value),
        "freezable" => flag(&mut settings.freezable, mode, value),
        "cpujob" => flag(&mut settings.cpujob, mode, value),
        "needmem" => number(&mut settings.needmem, mode, value, 262_143),
        "unsupportok" => number(&mut settings.unsupported, mode, value, 2),
        "decayrate" => number(&mut settings.decay, mode, value, 10_000),
        "sigmig" => number(&mut settings.sigmig, mode, value, 64),
        "checkpointlimit" => number(&mut settings.checkpoint_limit, mode, value, 10_000_000),
        "checkpointinterval" => number(&mut settings.checkpoint_interval, mode, value, 10_000_000),
        "clear" => Ask::Value(0),
        "cantmove" => Ask::CannotMove,
        "mosnative" => Ask::Native,
        _ => return None,
    };
    Some(answer)
}

fn read_only(mode: u32, value: i64) -> Ask {
    if mode == 0 {
        Ask::Value(value)
    } else {
        Ask::Fail(EINVAL)
    }
}

fn migrate(mode: u32, value: i64) -> Ask {
    if mode == 0 {
        return Ask::Fail(EINVAL);
    }
    Ask::Migrate(match value as u32 {
        0 => Wanted::Known(Target::Home),
        u32::MAX => Wanted::Known(Target::Best),
        number => Wanted::Number(number),
    })
}

fn flag(field: &mut bool, mode: u32, value: i64) -> Ask {
    let mut number_field = u32::from(*field);
    let answer = number(&mut number_field, mode, value, 1);
    *field = number_field == 1;
    answer
}

fn number(field: &mut u32, mode: u32, value: i64, most: u32) -> Ask {
    let old = i64::from(*field);
    if mode == 0 {
        return Ask::Value(old);
    }
    match u32::try_from(value) {
        Ok(new) if new <= most => {
            *field = new;
            Ask::Value(if mode == 2 { old } else { 0 })
        }
        _ => Ask::Fail(EINVAL),
    }
}

/// The errno of a name that exists but cannot be served now.
pub const NOT_THERE: i32 = ENOENT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_self_or_of_the_caller() {
        assert_eq!(name_of(b"/proc/self/migrate", 7), Some("migrate"));
        assert_eq!(name_of(b"/proc/7/lock", 7), Some("lock"));
        assert_eq!(name_of(b"/proc/8/lock", 7), None);
        assert_eq!(name_of(b"/etc/passwd", 7), None);
    }

    #[test]
    fn write_and_exchange_differ_in_their_value() {
        let mut settings = Settings::default();
        assert_eq!(
            serve(&mut settings, "needmem", 1, 5, 0),
            Some(Ask::Value(0))
        );
        assert_eq!(
            serve(&mut settings, "needmem", 2, 9, 0),
            Some(Ask::Value(5))
        );
        assert_eq!(
            serve(&mut settings, "needmem", 0, 0, 0),
            Some(Ask::Value(9))
        );
        assert_eq!(
            serve(&mut settings, "needmem", 1, 262_144, 0),
            Some(Ask::Fail(EINVAL))
        );
    }

    #[test]
    fn migrate_takes_home_best_and_numbers() {
        let mut settings = Settings::default();
        let mut ask = |value| serve(&mut settings, "migrate", 1, value, 0);
        assert_eq!(ask(0), Some(Ask::Migrate(Wanted::Known(Target::Home))));
        assert_eq!(ask(-1), Some(Ask::Migrate(Wanted::Known(Target::Best))));
        assert_eq!(
            ask(0x7f00_0001),
            Some(Ask::Migrate(Wanted::Number(0x7f00_0001)))
        );
    }
}
