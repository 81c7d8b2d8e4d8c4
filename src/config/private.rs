//! `private.conf`: where the private temporary files of processes are kept, and how much of them.

use std::fmt;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::lines::{data_lines, number, read_optional};

/// Where they are kept when there is no file.
pub const DEFAULT_DIR: &str = "/private";

/// A directory, and the most megabytes that one process may have there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub dir: PathBuf,
    pub limit: u32,
}

/// Whose processes; the letters of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Processes whose home is here (`O`).
    Own,
    /// Guests from this cluster (`C`).
    Cluster,
    /// Guests from other clusters (`G`).
    Others,
}

impl Whose {
    pub const ALL: [Whose; 3] = [Whose::Own, Whose::Cluster, Whose::Others];

    /// Its letter in the file.
    pub fn letter(self) -> char {
        match self {
            Whose::Own => 'O',
            Whose::Cluster => 'C',
            Whose::Others => 'G',
        }
    }

    /// Megabytes of a process where the file gives no number.
    pub fn default_limit(self) -> u32 {
        match self {
            Whose::Own => 5 << 10,
            Whose::Cluster => 2 << 10,
            Whose::Others => 1 << 10,
        }
    }
}

/// All of the file: a place for each kind of processes, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateConf {
    places: [Option<Place>; 3],
}

impl PrivateConf {
    /// Reads the file; everything in [`DEFAULT_DIR`] when there is none.
    ///
    /// # Errors
    ///
    /// Names file, line and what is wrong.
    pub fn read(file: &Path) -> Result<PrivateConf, ConfigError> {
        match read_optional(file)? {
            Some(text) => PrivateConf::parse(&text, file),
            None => Ok(PrivateConf {
                places: Whose::ALL.map(|whose| {
                    Some(Place {
                        dir: DEFAULT_DIR.into(),
                        limit: whose.default_limit(),
                    })
                }),
            }),
        }
    }

    /// What `text` says; `file` is for messages.
    ///
    /// # Errors
    ///
    /// As [`PrivateConf::read`].
    pub fn parse(text: &str, file: &Path) -> Result<PrivateConf, ConfigError> {
        let mut conf = PrivateConf {
            places: [None, None, None],
        };
        for (line, data) in data_lines(text) {
            conf.line(data)
                .map_err(|what| ConfigError::new(file, line, what))?;
        }
        Ok(conf)
    }

    fn line(&mut self, data: &str) -> Result<(), String> {
        let fields: Vec<&str> = data.split_whitespace().collect();
        let (letters, dir, limit) = match fields[..] {
            [letters, dir] => (letters, dir, None),
            [letters, dir, limit] => (letters, dir, Some(number(limit, "the limit", 0, u32::MAX)?)),
            _ => return Err("must be \"letters directory [megabytes]\"".into()),
        };
        if !dir.starts_with('/') {
            return Err(format!("\"{dir}\" is no directory that begins with \"/\""));
        }
        for letter in letters.chars() {
            let whose = Whose::ALL
                .into_iter()
                .find(|whose| whose.letter() == letter)
                .ok_or_else(|| {
                    format!("\"{letters}\": the letters are O (own node), C (own cluster) and G (other clusters)")
                })?;
            let place = &mut self.places[whose as usize];
            if place.is_some() {
                return Err(format!("{letter} has a directory already"));
            }
            *place = Some(Place {
                dir: dir.into(),
                limit: limit.unwrap_or_else(|| whose.default_limit()),
            });
        }
        Ok(())
    }

    /// Where these processes may keep private files, if at all.
    pub fn place(&self, whose: Whose) -> Option<&Place> {
        self.places[whose as usize].as_ref()
    }

    /// Gives these processes a place, or none.
    pub fn set(&mut self, whose: Whose, place: Option<Place>) {
        self.places[whose as usize] = place;
    }
}

/// The file's text: a line for each kind.
impl fmt::Display for PrivateConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for whose in Whose::ALL {
            if let Some(Place { dir, limit }) = self.place(whose) {
                writeln!(f, "{} {} {limit}", whose.letter(), dir.display())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PrivateConf, String> {
        PrivateConf::parse(text, Path::new("/p")).map_err(|error| error.to_string())
    }

    #[test]
    fn letters_share_a_directory_and_have_limits_of_their_own() {
        let conf = parse("OC /a\n").unwrap();
        let limit = |whose| conf.place(whose).map(|place| place.limit);
        assert_eq!(limit(Whose::Own), Some(5120));
        assert_eq!(limit(Whose::Cluster), Some(2048));
        assert_eq!(limit(Whose::Others), None);
        assert_eq!(parse(&conf.to_string()), Ok(conf));
        let missing = PrivateConf::read(Path::new("/nonexistent")).unwrap();
        assert_eq!(missing.place(Whose::Others).unwrap().limit, 1024);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = |text| parse(text).unwrap_err();
        assert!(error("O").starts_with("/p:1: must be"));
        assert!(error("X /a").contains("the letters are"));
        assert!(error("O /a\nCO /b").contains("/p:2: O has"));
        assert!(error("O a").contains("begins with \"/\""));
        assert!(error("O /a lots").contains("limit \"lots\""));
    }
}
