//! The package's own source files, for the tests that hold rules of the code.

use std::path::{Path, PathBuf};

/// Top of the package.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below this directory of the package, in order.
pub fn rust_files(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut next = vec![top().join(dir)];
    while let Some(dir) = next.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                next.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Path relative to the package, for messages.
pub fn short(path: &Path) -> String {
    path.strip_prefix(top()).unwrap().display().to_string()
}

/// A line without its comment and without what stands in quotes. Good enough for one line of formatted code.
pub fn code(line: &str) -> String {
    let mut kept = String::new();
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if !quoted => kept.push(c),
            _ => {}
        }
    }
    kept
}

/// The text without test code: nothing of files called tests, and nothing behind a `mod tests` for tests.
pub fn without_tests(path: &Path, text: &str) -> String {
    let named = path.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name == "tests" || name == "tests.rs"
    });
    let relative = short(path);
    if named && relative.starts_with("src") {
        return String::new();
    }
    match text.find("\n#[cfg(test)]\nmod tests {") {
        Some(end) => text[..end].to_string(),
        None => text.to_string(),
    }
}
