//! CPUs that a node of the playground has of its own.

use std::io;
use std::path::Path;

use mos::config::Paths;
use mos::sys::affinity;

/// Reads sets joined by slashes: numbers and ranges joined by commas.
pub fn parse(text: &str) -> Result<Vec<Vec<usize>>, String> {
    text.split('/').map(set).collect()
}

fn set(text: &str) -> Result<Vec<usize>, String> {
    let number = |text: &str| match text.parse::<usize>() {
        Ok(number) if number < 1024 => Ok(number),
        _ => Err(format!("\"{text}\" is no number of a CPU")),
    };
    let mut set = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => set.extend(number(first)?..=number(last)?),
            None => set.push(number(part)?),
        }
    }
    if set.is_empty() {
        return Err(format!("\"{text}\" has no CPU"));
    }
    Ok(set)
}

fn shown(set: &[usize]) -> String {
    let numbers: Vec<String> = set.iter().map(usize::to_string).collect();
    numbers.join(",")
}

/// Notes the CPUs of the node with this root, for the commands that run there.
pub fn write(root: &Path, set: &[usize]) -> io::Result<()> {
    std::fs::write(Paths::under(root).var().join("cpus"), shown(set))
}

/// Has this process, and what it starts, run on the CPUs of the node with this root only.
pub fn enter(root: &Path) -> io::Result<()> {
    match std::fs::read_to_string(Paths::under(root).var().join("cpus")) {
        Ok(text) => affinity::pin(0, &set(&text).map_err(io::Error::other)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read() {
        let sets = parse("0/1,3/4-6,9").unwrap();
        assert_eq!(sets, [vec![0], vec![1, 3], vec![4, 5, 6, 9]]);
        assert_eq!(set(&shown(&sets[2])), Ok(sets[2].clone()));
        for wrong in ["", "0/", "a", "5-2", "1-", "2000"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
