//! Every command has a man page, and the page has exactly the options that the command has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn mos(args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_mos"))
        .args(args)
        .output()
        .unwrap();
    assert!(out.status.success(), "mos {args:?}: {}", out.status);
    String::from_utf8(out.stdout).unwrap()
}

/// Names of all commands, from the list that `mos` prints.
fn applets() -> Vec<String> {
    let text = mos(&[]);
    let lines = text.lines().filter(|line| line.starts_with("  "));
    lines
        .map(|line| line.split_whitespace().next().unwrap().to_string())
        .collect()
}

/// The page of a command; pages that only refer to another give that.
fn page(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let names = [name.to_string(), format!("mos-{name}")];
    let found = names.iter().find_map(|name| {
        let paths = [1, 7, 8].map(|section| dir.join(format!("{name}.{section}")));
        paths.into_iter().find(|path| path.exists())
    });
    let path = found.unwrap_or_else(|| panic!("{name} has no page in man/"));
    let text = std::fs::read_to_string(&path).unwrap();
    match text.strip_prefix(".so man1/") {
        Some(other) => dir.join(other.trim()),
        None => path,
    }
}

/// Options at the beginning of the lines of `--help`: `-x` and `--long`.
fn options_of_help(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("Options:"));
    for line in lines.skip(1) {
        let line = line.trim_start();
        if !line.starts_with('-') {
            continue;
        }
        let words = line.split([' ', ',']).filter(|word| !word.is_empty());
        let options = words.take_while(|word| word.starts_with('-') && *word != "-");
        // "..." says that an option can be given several times.
        found.extend(options.map(|word| word.trim_end_matches("...").to_string()));
    }
    found
}

/// Options that have an entry in a list: `.It Fl x`, where `-long` is `Fl -long` and commas join several.
fn options_of_page(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in text.lines().filter_map(|line| line.strip_prefix(".It ")) {
        let mut words = entry.split_whitespace().peekable();
        let mut after_flag = false;
        while let Some(word) = words.next() {
            match word {
                "Fl" => after_flag = true,
                "," => {}
                "Ar" | "Op" | "No" | "Cm" => {
                    after_flag = false;
                    words.next_if(|next| !matches!(*next, "," | "Fl"));
                }
                // `-number` and the like are no options but forms.
                "Ns" => break,
                flag if after_flag => {
                    found.insert(format!("-{flag}"));
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn pages_and_commands_have_the_same_options() {
    let applets = applets();
    assert!(
        applets.iter().any(|name| name == "mosd"),
        "mosd is missing in the list of commands"
    );
    let mut wrong = Vec::new();
    for name in applets {
        let page = page(&name);
        let text = std::fs::read_to_string(&page).unwrap();
        let help = match name.as_str() {
            // Two names of one page, with no more options than that page has.
            "mosnative" => continue,
            _ => options_of_help(&mos(&[&name, "--help"])),
        };
        let said = options_of_page(&text);
        let page = page.file_name().unwrap().to_string_lossy().to_string();
        for option in help.difference(&said) {
            wrong.push(format!("{page} does not have {option} of {name}"));
        }
        for option in said.difference(&help) {
            wrong.push(format!("{page} has {option}, which {name} does not know"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn references_between_pages_lead_somewhere() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.starts_with(".Xr mos")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let target = dir.join(format!("{}.{}", words[1], words[2]));
            assert!(
                target.exists(),
                "{}: {} is not there",
                path.display(),
                target.display()
            );
        }
    }
}

/// The formatter's opinion, where it is installed.
#[test]
fn pages_are_well_formed() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if std::fs::read_to_string(&path).unwrap().starts_with(".so ") {
            continue;
        }
        let Ok(out) = Command::new("mandoc")
            .args(["-T", "lint", "-W", "warning"])
            .arg(&path)
            .output()
        else {
            return;
        };
        let complaint = String::from_utf8_lossy(&out.stdout).to_string();
        assert!(out.status.success(), "{complaint}");
    }
}
