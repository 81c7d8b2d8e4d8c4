//! What the tools have told mosd (`mosctl stay`, …), kept in a file so that a mosd that was killed is no other than before. The
//! machine's next start begins anew.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Overrides, save};
use crate::wire::control::Mode;

/// The modes of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modes {
    pub off: bool,
    pub stay: bool,
    pub lstay: bool,
    pub block: bool,
    pub isolated: bool,
    map: Option<PathBuf>,
    address: Option<Ipv4Addr>,
    partners: Option<PathBuf>,
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// The machine's start that it is of.
    boot: String,
    modes: Modes,
}

impl Modes {
    /// What was saved since the machine's start; the usual modes otherwise.
    pub fn load(file: &Path) -> Modes {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        match ron::from_str::<Saved>(&text) {
            Ok(saved) if saved.boot == boot_id() => saved.modes,
            _ => Modes::default(),
        }
    }

    /// Keeps them. A full disk makes them forgotten at mosd's end; the node obeys all the same.
    pub fn save(&self, file: &Path) {
        let saved = Saved {
            boot: boot_id(),
            modes: self.clone(),
        };
        let written = ron::to_string(&saved)
            .map_err(|error| error.to_string())
            .and_then(|text| save(file, &text, 0o644).map_err(|error| error.to_string()));
        if let Err(error) = written {
            log::warn!("the modes are not kept: {error}");
        }
    }

    /// Sets one; whether that changes anything.
    pub fn set(&mut self, mode: Mode, on: bool) -> bool {
        let mode = match mode {
            Mode::Stay => &mut self.stay,
            Mode::LocalStay => &mut self.lstay,
            Mode::Block => &mut self.block,
            Mode::Isolate => &mut self.isolated,
        };
        std::mem::replace(mode, on) != on
    }

    /// The files that are not the usual ones.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            map: self.map.clone(),
            address: self.address,
            partners: self.partners.clone(),
        }
    }

    pub fn set_overrides(&mut self, instead: Overrides) {
        self.map = instead.map;
        self.address = instead.address;
        self.partners = instead.partners;
    }

    /// Whether processes may be moved away without an order: those whose home is here, and guests.
    pub fn may_leave(&self) -> (bool, bool) {
        (!self.stay && !self.lstay, !self.stay)
    }
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_kept_until_the_machine_starts_anew() {
        let name = format!("mos-modes-{:x}", crate::sys::unix::random_u64());
        let file = std::env::temp_dir().join(name);
        let mut modes = Modes::default();
        assert!(modes.set(Mode::Block, true) && !modes.set(Mode::Block, true));
        modes.set_overrides(Overrides {
            map: Some("/other/map".into()),
            ..Overrides::default()
        });
        modes.save(&file);
        assert_eq!(Modes::load(&file), modes);
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace(boot_id().trim(), "another")).unwrap();
        assert_eq!(Modes::load(&file), Modes::default());
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn staying_is_for_all_or_for_local_processes() {
        let mut modes = Modes::default();
        assert_eq!(modes.may_leave(), (true, true));
        modes.set(Mode::LocalStay, true);
        assert_eq!(modes.may_leave(), (false, true));
        modes.set(Mode::Stay, true);
        assert_eq!(modes.may_leave(), (false, false));
    }
}
