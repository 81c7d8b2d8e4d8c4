//! `partners/*`: the other clusters with which this one shares processors, one file each.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use super::lines::{check_address, data_lines, number, read_optional};
use super::{ConfigError, Lookup, Range};

/// Longest name of a partner: it is the name of its file.
pub const MAX_NAME: usize = 128;
/// Priority of a partner that is new.
pub const DEFAULT_PRIORITY: u16 = 50;

/// Another cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    /// What we call it: its file's name.
    pub name: String,
    pub description: String,
    /// The lower the better; our own cluster has 0.
    pub priority: u16,
    /// Processes from here may go there.
    pub can_go: bool,
    /// Guests from there are taken.
    pub can_take: bool,
    pub ranges: Vec<Range>,
}

impl Partner {
    /// Reads all partners of a directory, in the order of their names; none when it is not there. Files whose names begin with a
    /// dot or end with `~` are left to editors.
    ///
    /// # Errors
    ///
    /// Names file, line and what is wrong.
    pub fn read_all(dir: &Path, lookup: &dyn Lookup) -> Result<Vec<Partner>, ConfigError> {
        let mut partners = Vec::new();
        for name in names(dir)? {
            let file = dir.join(&name);
            let text = read_optional(&file)?.unwrap_or_default();
            partners.push(Partner::parse(&name, &text, &file, lookup)?);
        }
        Ok(partners)
    }

    /// The partner that `text` describes; `file` is for messages.
    ///
    /// # Errors
    ///
    /// As [`Partner::read_all`].
    pub fn parse(
        name: &str,
        text: &str,
        file: &Path,
        lookup: &dyn Lookup,
    ) -> Result<Partner, ConfigError> {
        let wrong = |line: usize, what: String| ConfigError::new(file, line, what);
        check_name(name).map_err(|what| wrong(0, what))?;
        let mut lines = text.lines();
        let description = lines
            .next()
            .ok_or_else(|| {
                wrong(
                    0,
                    "is empty: its first line must describe the cluster".into(),
                )
            })?
            .trim()
            .to_string();
        let terms = lines.next().unwrap_or_default();
        let (priority, can_go, can_take) = relation(terms).map_err(|what| wrong(2, what))?;
        let mut partner = Partner {
            name: name.to_string(),
            description,
            priority,
            can_go,
            can_take,
            ranges: Vec::new(),
        };
        for (line, data) in data_lines(text).filter(|(line, _)| *line > 2) {
            let range = range(data, lookup).map_err(|what| wrong(line, what))?;
            if partner.ranges.iter().any(|other| other.overlaps(&range)) {
                return Err(wrong(
                    line,
                    format!("the range from {} overlaps with another", range.first),
                ));
            }
            partner.ranges.push(range);
        }
        Ok(partner)
    }

    /// Whether a node belongs to it.
    pub fn contains(&self, node: Ipv4Addr) -> bool {
        self.ranges.iter().any(|range| range.contains(node))
    }

    /// All its nodes.
    pub fn nodes(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.ranges.iter().flat_map(Range::nodes)
    }
}

/// The second line of a partner's file.
pub fn relation_line(priority: u16, can_go: bool, can_take: bool) -> String {
    format!("{priority} {} {}", u8::from(can_go), u8::from(can_take))
}

/// The text of a partner's file with another second line.
///
/// # Errors
///
/// When there is no second line.
pub fn with_relation(text: &str, line: &str) -> Result<String, String> {
    let mut lines: Vec<&str> = text.lines().collect();
    *lines.get_mut(1).ok_or("it has no second line")? = line;
    Ok(lines.join("\n") + "\n")
}

/// Names of the partners' files, in order.
///
/// # Errors
///
/// When the directory cannot be read.
pub fn names(dir: &Path) -> Result<Vec<String>, ConfigError> {
    let cannot = |error: io::Error| ConfigError::new(dir, 0, format!("cannot be read: {error}"));
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry
            .map_err(cannot)?
            .file_name()
            .into_string()
            .map_err(|name| ConfigError::new(&dir.join(name), 0, "its name is no plain text"))?;
        if !name.starts_with('.') && !name.ends_with('~') {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Refuses what cannot be a partner's name.
///
/// # Errors
///
/// In words.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '/';
    if name.is_empty() || name.starts_with('.') || name.ends_with('~') || !name.chars().all(plain) {
        return Err(format!(
            "\"{name}\" cannot be a cluster's name: one word, which does not begin with a dot"
        ));
    }
    if name.len() > MAX_NAME {
        return Err(format!(
            "a cluster's name has at most {MAX_NAME} characters"
        ));
    }
    Ok(())
}

fn relation(line: &str) -> Result<(u16, bool, bool), String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [priority, can_go, can_take] = fields[..] else {
        return Err("must be \"priority cango cantake\", such as \"50 1 1\"".into());
    };
    let priority = number(priority, "the priority", 0, 65535)? as u16;
    let flag = |text, name| number(text, name, 0, 1).map(|n| n == 1);
    Ok((priority, flag(can_go, "cango")?, flag(can_take, "cantake")?))
}

/// One range: first node, count, two obsolete fields that are 1, proximate.
pub fn range(data: &str, lookup: &dyn Lookup) -> Result<Range, String> {
    let fields: Vec<&str> = data.split_whitespace().collect();
    let [host, count, one, other, proximate] = fields[..] else {
        return Err("must be \"address-or-host count 1 1 proximate\"".into());
    };
    if one != "1" || other != "1" {
        return Err(format!(
            "the third and fourth field are always 1, not \"{one}\" and \"{other}\""
        ));
    }
    let first = lookup.address(host)?;
    check_address(first)?;
    Range::new(
        first,
        number(count, "the number of nodes", 1, 1 << 24)?,
        number(proximate, "the last field (proximate)", 0, 1)? == 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Hosts;

    fn parse(text: &str) -> Result<Partner, String> {
        let hosts = Hosts::parse("10.2.0.1 lab");
        Partner::parse("lab", text, Path::new("/p/lab"), &hosts).map_err(|error| error.to_string())
    }

    #[test]
    fn a_partner_has_a_description_a_relation_and_ranges() {
        let partner =
            parse("The lab # of physics\n40 1 0\nlab 10 1 1 0\n\n10.3.0.1 1 1 1 1\n").unwrap();
        assert_eq!(partner.description, "The lab # of physics");
        assert_eq!(
            (partner.priority, partner.can_go, partner.can_take),
            (40, true, false)
        );
        assert!(partner.contains(Ipv4Addr::new(10, 2, 0, 10)));
        assert!(!partner.contains(Ipv4Addr::new(10, 2, 0, 11)));
        assert!(partner.ranges[1].proximate);
        assert_eq!(partner.nodes().count(), 11);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let error = |text| parse(text).unwrap_err();
        assert!(error("").starts_with("/p/lab: is empty"));
        assert!(error("x\n50 1").starts_with("/p/lab:2: must be \"priority"));
        assert!(error("x\n70000 1 1").contains("priority \"70000\""));
        assert!(error("x\n50 1 2").contains("/p/lab:2: cantake \"2\""));
        assert!(error("x\n50 1 1\n10.0.0.1 3").starts_with("/p/lab:3: must be"));
        assert!(error("x\n50 1 1\n10.0.0.1 3 0 1 1").contains("always 1"));
        assert!(error("x\n50 1 1\n10.0.0.1 3 1 1 1\n10.0.0.3 3 1 1 1").contains("/p/lab:4:"));
        assert!(check_name("two words").is_err() && check_name(&"x".repeat(129)).is_err());
    }

    #[test]
    fn the_relation_can_be_changed_alone() {
        let text = "x\n50 1 1\n10.0.0.1 3 1 1 1\n";
        assert_eq!(
            with_relation(text, &relation_line(7, true, false)).unwrap(),
            "x\n7 1 0\n10.0.0.1 3 1 1 1\n"
        );
        assert!(with_relation("x\n", "7 1 0").is_err());
    }
}
