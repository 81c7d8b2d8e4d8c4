//! `userview.map`: numbers by which users call nodes.

use std::net::Ipv4Addr;
use std::path::Path;

use super::lines::{check_address, data_lines, number, read_optional};
use super::{ConfigError, Lookup};

/// Highest number of a node.
const MAX_NUMBER: u32 = 65535;

/// Numbers of nodes, in ranges: first number, first address, count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserView {
    ranges: Vec<(u32, Ipv4Addr, u32)>,
}

impl UserView {
    /// Reads the numbers; none when there is no file.
    ///
    /// # Errors
    ///
    /// Names file, line and what is wrong.
    pub fn read(file: &Path, lookup: &dyn Lookup) -> Result<UserView, ConfigError> {
        UserView::parse(&read_optional(file)?.unwrap_or_default(), file, lookup)
    }

    /// The numbers that `text` says; `file` is for messages.
    ///
    /// # Errors
    ///
    /// As [`UserView::read`].
    pub fn parse(text: &str, file: &Path, lookup: &dyn Lookup) -> Result<UserView, ConfigError> {
        let mut view = UserView::default();
        for (line, data) in data_lines(text) {
            view.line(data, lookup)
                .map_err(|what| ConfigError::new(file, line, what))?;
        }
        Ok(view)
    }

    fn line(&mut self, data: &str, lookup: &dyn Lookup) -> Result<(), String> {
        let fields: Vec<&str> = data.split_whitespace().collect();
        let [first, host, count] = fields[..] else {
            return Err("must be \"number address-or-host count\"".into());
        };
        let first = number(first, "the node number", 1, MAX_NUMBER)?;
        let address = lookup.address(host)?;
        check_address(address)?;
        let count = number(count, "the number of nodes", 1, MAX_NUMBER)?;
        let last = first + count - 1;
        if last > MAX_NUMBER {
            return Err(format!(
                "the last node would have number {last}; the highest is {MAX_NUMBER}"
            ));
        }
        let end = u32::from(address)
            .checked_add(count - 1)
            .ok_or("the range ends beyond the last address")?;
        check_address(end.into())?;
        if let Some((other, ..)) = self
            .ranges
            .iter()
            .find(|(n, _, c)| *n <= last && first < n + c)
        {
            return Err(format!(
                "numbers {first} to {last} overlap with the range from {other}"
            ));
        }
        self.ranges.push((first, address, count));
        Ok(())
    }

    /// The node with this number.
    pub fn address(&self, number: u32) -> Option<Ipv4Addr> {
        let (first, address, _) = self
            .ranges
            .iter()
            .find(|(first, _, count)| number >= *first && number - first < *count)?;
        Some(Ipv4Addr::from(u32::from(*address) + (number - first)))
    }

    /// The number of this node.
    pub fn number(&self, node: Ipv4Addr) -> Option<u32> {
        self.ranges.iter().find_map(|(first, address, count)| {
            let offset = u32::from(node).checked_sub(u32::from(*address))?;
            (offset < *count).then(|| first + offset)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Hosts;

    fn parse(text: &str) -> Result<UserView, String> {
        UserView::parse(text, Path::new("/u"), &Hosts::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_and_addresses_belong_together() {
        let view = parse("1 10.0.0.1 3\n20 10.1.0.1 1\n").unwrap();
        assert_eq!(view.address(3), Some(Ipv4Addr::new(10, 0, 0, 3)));
        assert_eq!(view.address(4), None);
        assert_eq!(view.number(Ipv4Addr::new(10, 1, 0, 1)), Some(20));
        assert_eq!(view.number(Ipv4Addr::new(10, 0, 0, 4)), None);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(
            parse("1 10.0.0.1")
                .unwrap_err()
                .starts_with("/u:1: must be")
        );
        assert!(
            parse("0 10.0.0.1 1")
                .unwrap_err()
                .contains("node number \"0\"")
        );
        assert!(
            parse("65000 10.0.0.1 1000")
                .unwrap_err()
                .contains("highest is 65535")
        );
        assert!(
            parse("1 10.0.0.1 5\n5 10.1.0.1 1")
                .unwrap_err()
                .contains("/u:2: numbers 5 to 5 overlap")
        );
    }
}
