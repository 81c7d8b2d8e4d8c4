//! `freeze.conf`: when processes are frozen, and where their memory goes.

use std::fmt;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::lines::{data_lines, number, read_optional};

/// Most directories for frozen memory.
pub const MAX_DIRS: usize = 10;
/// Where frozen memory goes when no directory is named.
pub const DEFAULT_DIR: &str = "/freeze";

/// What the marks of a policy count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadUnit {
    /// The load of one process that computes, on this computer.
    Processes,
    /// The standardized load.
    Standard,
}

/// When processes are frozen automatically. Marks that are `None` do not apply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FreezePolicy {
    pub unit: LoadUnit,
    /// Processes are frozen above this load.
    pub red: Option<f64>,
    /// They go on below this load.
    pub blue: f64,
    /// From this load on, processes that are sent back home arrive frozen.
    pub home: Option<f64>,
    /// From this load on, processes that are sent back to this cluster come home frozen.
    pub cluster: Option<f64>,
    /// Processes that are kept running whatever the load.
    pub min_keep: u32,
    /// Processes that may run at home at most.
    pub max_procs: Option<u32>,
    /// Minutes that a process runs while others are frozen.
    pub slice: u32,
    /// Processes with at least so many megabytes are killed when freezing them fails.
    pub kill_memory: u32,
}

impl Default for FreezePolicy {
    /// What a new policy begins with.
    fn default() -> FreezePolicy {
        FreezePolicy {
            unit: LoadUnit::Standard,
            red: Some(6.0),
            blue: 4.0,
            home: Some(0.0),
            cluster: None,
            min_keep: 1,
            max_procs: None,
            slice: 20,
            kill_memory: 0,
        }
    }
}

/// All of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FreezeConf {
    /// Without one, nothing is frozen automatically.
    pub policy: Option<FreezePolicy>,
    /// Directories and their weights; [`DEFAULT_DIR`] when there are none.
    pub dirs: Vec<(PathBuf, f64)>,
    /// Whose rights are used to make the files; root's without.
    pub uid: Option<u32>,
}

impl FreezeConf {
    /// Reads the file; no policy when there is none.
    ///
    /// # Errors
    ///
    /// Names file, line and what is wrong.
    pub fn read(file: &Path) -> Result<FreezeConf, ConfigError> {
        FreezeConf::parse(&read_optional(file)?.unwrap_or_default(), file)
    }

    /// Reads a user's file, which has only directories.
    ///
    /// # Errors
    ///
    /// As [`FreezeConf::read`].
    pub fn read_dirs(file: &Path) -> Result<FreezeConf, ConfigError> {
        let text = read_optional(file)?.unwrap_or_default();
        let wrong = data_lines(&text).find(|(_, data)| !data.starts_with('/'));
        match wrong {
            Some((line, _)) => Err(ConfigError::new(file, line, "must begin with \"/\"")),
            None => FreezeConf::parse(&text, file),
        }
    }

    /// What `text` says; `file` is for messages.
    ///
    /// # Errors
    ///
    /// As [`FreezeConf::read`].
    pub fn parse(text: &str, file: &Path) -> Result<FreezeConf, ConfigError> {
        let mut conf = FreezeConf::default();
        for (line, data) in data_lines(text) {
            conf.line(data)
                .map_err(|what| ConfigError::new(file, line, what))?;
        }
        Ok(conf)
    }

    /// A directory that has not been tried: by the weights, with `chance` a random number from 0 to 1. Those of weight 0 come last.
    /// `None` when all have been tried.
    pub fn choose(&self, tried: &[PathBuf], chance: f64) -> Option<PathBuf> {
        let default = [(PathBuf::from(DEFAULT_DIR), 1.0)];
        let dirs = match &self.dirs[..] {
            [] => &default[..],
            dirs => dirs,
        };
        let left = dirs.iter().filter(|(dir, _)| !tried.contains(dir));
        let sum: f64 = left.clone().map(|(_, weight)| weight).sum();
        let mut at = chance * sum;
        let weighed = left
            .clone()
            .filter(|(_, weight)| sum == 0.0 || *weight > 0.0);
        let mut last = None;
        for (dir, weight) in weighed {
            if at < *weight {
                return Some(dir.clone());
            }
            at -= weight;
            last.get_or_insert(dir);
        }
        last.cloned()
    }

    fn line(&mut self, data: &str) -> Result<(), String> {
        let fields: Vec<&str> = data.split_whitespace().collect();
        match fields[..] {
            ["U", uid] if self.uid.is_none() => {
                self.uid = Some(number(uid, "the user number", 0, u32::MAX - 1)?);
            }
            ["U", ..] => return Err("must be one line \"U uid\"".into()),
            [dir, ..] if dir.starts_with('/') => {
                let weight = match fields[1..] {
                    [] => 1.0,
                    [weight] => real(weight, "the weight", 0.0)?,
                    _ => return Err("must be \"directory [weight]\"".into()),
                };
                if self.dirs.len() == MAX_DIRS {
                    return Err(format!("more than {MAX_DIRS} directories"));
                }
                self.dirs.push((dir.into(), weight));
            }
            ["1", ref fields @ ..] if self.policy.is_none() => self.policy = Some(policy(fields)?),
            ["1", ..] => return Err("there is a policy already".into()),
            _ => {
                return Err(
                    "must begin with \"1\" (the policy), \"/\" (a directory) or \"U\" (a user)"
                        .into(),
                );
            }
        }
        Ok(())
    }
}

fn policy(fields: &[&str]) -> Result<FreezePolicy, String> {
    if fields.len() < 3 || fields.len() > 9 {
        return Err("a policy has 4 to 10 fields: \"1 units red blue [home [cluster [min-keep [max-procs [slice [killing-memory]]]]]]\"".into());
    }
    let mark = |at: usize, name: &str| -> Result<Option<f64>, String> {
        match fields.get(at) {
            None | Some(&"-1") => Ok(None),
            Some(text) => match real(text, name, -1.0)? {
                mark if mark < 0.0 => Ok(None),
                mark => Ok(Some(mark)),
            },
        }
    };
    let whole = |at: usize, name: &str, absent: u32| {
        fields
            .get(at)
            .map_or(Ok(absent), |text| number(text, name, 0, u32::MAX))
    };
    let policy = FreezePolicy {
        unit: match number(fields[0], "the load units", 0, 1)? {
            0 => LoadUnit::Processes,
            _ => LoadUnit::Standard,
        },
        red: mark(1, "the red mark")?,
        blue: real(fields[2], "the blue mark", -1.0)?,
        home: mark(3, "minautofreeze")?,
        cluster: mark(4, "minclustfreeze")?,
        min_keep: whole(5, "min-keep", 0)?,
        max_procs: match fields.get(6) {
            None | Some(&"-1") => None,
            Some(text) => Some(number(text, "max-procs", 0, u32::MAX)?),
        },
        slice: whole(7, "the time slice", 20)?,
        kill_memory: whole(8, "killing-memory", 0)?,
    };
    match policy.red {
        Some(red) if red <= policy.blue => Err(format!(
            "the red mark ({red}) must be above the blue mark ({})",
            policy.blue
        )),
        _ => Ok(policy),
    }
}

fn real(text: &str, name: &str, least: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if n.is_finite() && n >= least => Ok(n),
        _ => Err(format!("{name} \"{text}\" is not a number from {least} on")),
    }
}

/// The file's text.
impl fmt::Display for FreezeConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(policy) = &self.policy {
            writeln!(f, "{policy}")?;
        }
        for (dir, weight) in &self.dirs {
            if *weight == 1.0 {
                writeln!(f, "{}", dir.display())?;
            } else {
                writeln!(f, "{} {weight}", dir.display())?;
            }
        }
        match self.uid {
            Some(uid) => writeln!(f, "U {uid}"),
            None => Ok(()),
        }
    }
}

/// The policy's line.
impl fmt::Display for FreezePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = |mark: Option<f64>| mark.map_or("-1".to_string(), |mark| mark.to_string());
        write!(
            f,
            "1 {} {} {} {} {} {} {} {} {}",
            u8::from(self.unit == LoadUnit::Standard),
            mark(self.red),
            self.blue,
            mark(self.home),
            mark(self.cluster),
            self.min_keep,
            self.max_procs
                .map_or("-1".to_string(), |procs| procs.to_string()),
            self.slice,
            self.kill_memory
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FreezeConf, String> {
        FreezeConf::parse(text, Path::new("/f")).map_err(|error| error.to_string())
    }

    #[test]
    fn omitted_fields_have_the_manuals_values() {
        let policy = parse("1 0 6.5 4").unwrap().policy.unwrap();
        assert_eq!(policy.unit, LoadUnit::Processes);
        assert_eq!((policy.red, policy.blue), (Some(6.5), 4.0));
        assert_eq!((policy.home, policy.cluster), (None, None));
        assert_eq!((policy.min_keep, policy.max_procs), (0, None));
        assert_eq!((policy.slice, policy.kill_memory), (20, 0));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let conf = FreezeConf {
            policy: Some(FreezePolicy {
                max_procs: Some(9),
                kill_memory: 1_000_000,
                ..FreezePolicy::default()
            }),
            dirs: vec![("/tmp".into(), 2.0), ("/b".into(), 1.0), ("/c".into(), 0.0)],
            uid: Some(65534),
        };
        let text = conf.to_string();
        assert!(
            text.starts_with("1 1 6 4 0 -1 1 9 20 1000000\n/tmp 2\n/b\n"),
            "{text}"
        );
        assert_eq!(parse(&text).unwrap(), conf);
    }

    #[test]
    fn directories_are_chosen_by_weight_and_the_last_resort_last() {
        let conf = parse("/a 2\n/b 0.5\n/c 2.5\n/d 0").unwrap();
        let chosen = |tried: &[&str], chance: f64| {
            let tried: Vec<PathBuf> = tried.iter().map(PathBuf::from).collect();
            let dir = conf.choose(&tried, chance);
            dir.map_or(String::new(), |dir| dir.display().to_string())
        };
        let times = |dir: &str| {
            (0..100)
                .filter(|n| chosen(&[], f64::from(*n) / 100.0) == dir)
                .count()
        };
        assert_eq!(["/a", "/b", "/c", "/d"].map(times), [40, 10, 50, 0]);
        assert_eq!(chosen(&["/c", "/a"], 0.999), "/b");
        assert_eq!(chosen(&["/c", "/a", "/b"], 0.3), "/d");
        assert_eq!(chosen(&["/c", "/a", "/b", "/d"], 0.3), "");
        assert_eq!(parse("").unwrap().choose(&[], 0.5), Some("/freeze".into()));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = |text| parse(text).unwrap_err();
        assert!(error("1 1 3").starts_with("/f:1: a policy has"));
        assert!(error("# x\n1 1 3 4").contains("/f:2: the red mark (3) must be above"));
        assert!(error("1 1 x 4").contains("red mark \"x\""));
        assert!(error("1 1 5 4\n1 1 5 4").contains("/f:2: there is a policy"));
        assert!(error("/tmp -2").contains("weight \"-2\""));
        assert!(error("U me").contains("user number \"me\""));
        assert!(error("2 1 5 4").contains("must begin"));
    }
}
