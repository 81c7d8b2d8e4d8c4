//! Files of one number: `maxguests`, `retainpri`, `speed`; and `mosrun.conf`, which has a few words.

use std::fmt;
use std::path::Path;

use super::ConfigError;
use super::lines::{data_lines, number, read_optional};

/// How many guests from other clusters may be here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxGuests {
    /// `None`: no limit.
    pub now: Option<u32>,
    /// What it was before `mosctl closemulti`.
    pub before: Option<u32>,
}

impl MaxGuests {
    /// Reads the file; no limit when there is none.
    ///
    /// # Errors
    ///
    /// Names file, line and what is wrong.
    pub fn read(file: &Path) -> Result<MaxGuests, ConfigError> {
        let text = read_optional(file)?.unwrap_or_default();
        let Some((line, data)) = data_lines(&text).next() else {
            return Ok(MaxGuests::default());
        };
        let numbers: Result<Vec<u32>, String> = data
            .split_whitespace()
            .map(|field| number(field, "the number of guests", 0, u32::MAX))
            .collect();
        match numbers.map_err(|what| ConfigError::new(file, line, what))?[..] {
            [now] => Ok(MaxGuests {
                now: Some(now),
                before: None,
            }),
            [now, before] => Ok(MaxGuests {
                now: Some(now),
                before: Some(before),
            }),
            _ => Err(ConfigError::new(
                file,
                line,
                "must be one number, or two after \"mosctl closemulti\"",
            )),
        }
    }
}

/// The file's text; empty when there is no limit.
impl fmt::Display for MaxGuests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.now, self.before) {
            (Some(now), Some(before)) => writeln!(f, "{now} {before}"),
            (Some(now), None) => writeln!(f, "{now}"),
            (None, _) => Ok(()),
        }
    }
}

/// Reads how many seconds after the last process of a priority those of lower priority may come; 0 without a file.
///
/// # Errors
///
/// When it is no number.
pub fn read_retainpri(file: &Path) -> Result<u32, ConfigError> {
    one_number(file, "the delay", 0, u32::MAX).map(|seconds| seconds.unwrap_or(0))
}

/// Reads the relative speed of this node's processors; 10000 without a file.
///
/// # Errors
///
/// When it is no number from 1 to 10,000,000.
pub fn read_speed(file: &Path) -> Result<u32, ConfigError> {
    one_number(file, "the speed", 1, 10_000_000).map(|speed| speed.unwrap_or(10_000))
}

/// Reads the names of features that this node's processor is taken not to have, one or more a line; none without a file.
///
/// # Errors
///
/// When it cannot be read.
pub fn read_hidden(file: &Path) -> Result<Vec<String>, ConfigError> {
    let text = read_optional(file)?.unwrap_or_default();
    let words = data_lines(&text).flat_map(|(_, data)| data.split_whitespace());
    Ok(words.map(str::to_owned).collect())
}

fn one_number(file: &Path, name: &str, least: u32, most: u32) -> Result<Option<u32>, ConfigError> {
    let text = read_optional(file)?.unwrap_or_default();
    let mut lines = data_lines(&text);
    let Some((line, data)) = lines.next() else {
        return Ok(None);
    };
    let found =
        number(data, name, least, most).map_err(|what| ConfigError::new(file, line, what))?;
    match lines.next() {
        Some((line, _)) => Err(ConfigError::new(file, line, "one number is enough")),
        None => Ok(Some(found)),
    }
}

/// Who chooses where a program starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BestNode {
    /// The user, by mosrun's options.
    #[default]
    User,
    /// `-b` unless another place is named.
    Default,
    /// Always `-b`, but for root.
    Force,
}

/// `mosrun.conf`: what the administrator wants of `mosrun`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MosrunConf {
    pub best: BestNode,
    /// 1 (`-e`) or 2 (`-w`) where the user says nothing.
    pub unsupported: Option<u8>,
    /// `-m` must be given.
    pub need_memory: bool,
    /// `--portable` where the user says nothing.
    pub portable: bool,
}

impl MosrunConf {
    /// Reads the file; the user decides when there is none.
    ///
    /// # Errors
    ///
    /// Names file, line and what is wrong.
    pub fn read(file: &Path) -> Result<MosrunConf, ConfigError> {
        let mut conf = MosrunConf::default();
        for (line, data) in data_lines(&read_optional(file)?.unwrap_or_default()) {
            let fields: Vec<&str> = data.split_whitespace().collect();
            match fields[..] {
                ["best", "user"] => conf.best = BestNode::User,
                ["best", "default"] => conf.best = BestNode::Default,
                ["best", "force"] => conf.best = BestNode::Force,
                ["unsupported", "user"] => conf.unsupported = None,
                ["unsupported", "e"] => conf.unsupported = Some(1),
                ["unsupported", "w"] => conf.unsupported = Some(2),
                ["memory", "optional"] => conf.need_memory = false,
                ["memory", "required"] => conf.need_memory = true,
                ["portable", "no"] => conf.portable = false,
                ["portable", "yes"] => conf.portable = true,
                _ => {
                    let what = "must be \"best user|default|force\", \"unsupported user|e|w\", \"memory optional|required\" or \"portable no|yes\"";
                    return Err(ConfigError::new(file, line, what));
                }
            }
        }
        Ok(conf)
    }
}

/// The file's text.
impl fmt::Display for MosrunConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let best = match self.best {
            BestNode::User => "user",
            BestNode::Default => "default",
            BestNode::Force => "force",
        };
        let unsupported = match self.unsupported {
            Some(1) => "e",
            Some(_) => "w",
            None => "user",
        };
        let memory = if self.need_memory {
            "required"
        } else {
            "optional"
        };
        let portable = if self.portable { "yes" } else { "no" };
        writeln!(
            f,
            "best {best}\nunsupported {unsupported}\nmemory {memory}\nportable {portable}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is removed at the end.
    struct Temp(std::path::PathBuf);

    impl Temp {
        fn new(text: &str) -> Temp {
            let name = format!("mos-limits-{:x}", crate::sys::unix::random_u64());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, text).unwrap();
            Temp(path)
        }
    }

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn limits_of_guests() {
        let read = |text: &str| MaxGuests::read(&Temp::new(text).0).map_err(|error| error.what);
        assert_eq!(read(""), Ok(MaxGuests::default()));
        let both = read("0 12\n").unwrap();
        assert_eq!((both.now, both.before), (Some(0), Some(12)));
        assert_eq!(both.to_string(), "0 12\n");
        assert!(read("many").unwrap_err().contains("\"many\""));
        assert!(read("1 2 3").is_err());
    }

    #[test]
    fn numbers_are_checked() {
        assert_eq!(read_retainpri(&Temp::new("30\n").0).unwrap(), 30);
        assert_eq!(read_speed(&Temp::new("").0).unwrap(), 10_000);
        assert!(read_speed(&Temp::new("0").0).is_err());
        let error = read_speed(&Temp::new("# a\n5\n6\n").0).unwrap_err();
        assert_eq!(error.line, 3);
        let hidden = read_hidden(&Temp::new("avx2 # old\n\nfma bmi1\n").0).unwrap();
        assert_eq!(hidden, ["avx2", "fma", "bmi1"]);
    }

    #[test]
    fn wishes_for_mosrun_are_read_as_written() {
        let conf = MosrunConf {
            best: BestNode::Force,
            unsupported: Some(2),
            need_memory: true,
            portable: true,
        };
        assert_eq!(
            MosrunConf::read(&Temp::new(&conf.to_string()).0).unwrap(),
            conf
        );
        let error = MosrunConf::read(&Temp::new("best user\nworst\n").0).unwrap_err();
        assert_eq!(error.line, 2);
    }
}
