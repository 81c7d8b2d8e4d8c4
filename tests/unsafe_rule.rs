//! Everything unsafe, and every raw call, stands under src/sys, and each unsafe block says why it is sound.

#[path = "support/sources.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod sources;

use std::path::PathBuf;

use sources::{code, rust_files, short, without_tests};

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|part| part == word)
}

/// True if the line calls a function of libc: `libc::name(`.
fn calls_libc(line: &str) -> bool {
    line.split("libc::").skip(1).any(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        end.is_some_and(|end| rest[end..].starts_with('(') && rest.starts_with(char::is_lowercase))
    })
}

fn outside_sys() -> Vec<PathBuf> {
    let mut files = rust_files("src");
    files.retain(|path| !short(path).starts_with("src/sys/"));
    files.extend(rust_files("applets"));
    files
}

#[test]
fn unsafe_code_and_raw_calls_are_only_in_sys() {
    let mut wrong = Vec::new();
    for path in outside_sys() {
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let line = code(line);
            if has_word(&line, "unsafe") || calls_libc(&line) {
                wrong.push(format!("{}:{}: {}", short(&path), number + 1, line.trim()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "belongs under src/sys:\n{}",
        wrong.join("\n")
    );
}

/// True if one of the comment lines just above (attributes and the start of the statement between) says SAFETY.
fn is_justified(lines: &[&str], at: usize) -> bool {
    if lines[at].contains("SAFETY:") {
        return true;
    }
    let above = lines[..at].iter().rev().take(12);
    for line in above {
        let line = line.trim();
        if line.contains("SAFETY:") {
            return true;
        }
        let ends_statement = line.is_empty() || line.ends_with(';') || line.ends_with('}');
        if ends_statement && !line.starts_with("//") {
            return false;
        }
    }
    false
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for path in rust_files("src/sys") {
        let text = std::fs::read_to_string(&path).unwrap();
        let text = without_tests(&path, &text);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let line = code(line);
            let opens = has_word(&line, "unsafe")
                && !line.contains("unsafe fn")
                && !line.contains("unsafe extern")
                && !line.contains("unsafe(");
            if opens && !is_justified(&lines, at) {
                wrong.push(format!("{}:{}: {}", short(&path), at + 1, line.trim()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "without a SAFETY comment:\n{}",
        wrong.join("\n")
    );
}
