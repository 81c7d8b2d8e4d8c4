//! Rooms import only what the table in docs/ARCHITECTURE.md allows.

#[path = "support/sources.rs"]
#[allow(dead_code, reason = "each test uses a part of the support")]
mod sources;

use std::collections::{BTreeMap, BTreeSet};

use sources::{code, rust_files, short, top, without_tests};

/// Room to what it may import, from the table.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(top().join("docs/ARCHITECTURE.md")).unwrap();
    let mut lines = text
        .lines()
        .skip_while(|line| *line != "| room | may import |");
    assert!(lines.next().is_some(), "the table of rooms is missing");
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let room = cells.next().unwrap().to_string();
            let names = cells.next().unwrap().split(',').map(str::trim);
            let allowed = names.filter(|name| !name.is_empty());
            (room, allowed.map(str::to_string).collect())
        })
        .collect()
}

/// First path segments behind each `crate::`, also of grouped imports.
fn imported(text: &str) -> Vec<String> {
    let flat: String = text.lines().map(|line| code(line) + " ").collect();
    let mut found = Vec::new();
    for part in flat.split("crate::").skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            found.extend(group_heads(group));
        } else {
            found.push(word(part));
        }
    }
    found
}

fn word(text: &str) -> String {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    text[..end.unwrap_or(text.len())].to_string()
}

/// The first segments of the entries of `{a::b, c::{d, e}}`, given the text behind the opening brace.
fn group_heads(text: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let mut depth = 0;
    let mut start = true;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            _ if start && !c.is_whitespace() => {
                heads.push(word(&text[at..]));
                start = false;
            }
            _ => {}
        }
    }
    heads
}

#[test]
fn grouped_imports_are_understood() {
    let text = "use crate::{a::{b, c}, d};\n// crate::e\nlet x = crate::f::g(\"crate::h\");";
    assert_eq!(imported(text), ["a", "d", "f"]);
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table = table();
    let mut wrong = Vec::new();
    for path in rust_files("src") {
        let name = short(&path);
        let room = name.trim_start_matches("src/").split('/').next().unwrap();
        if room == "lib.rs" {
            continue;
        }
        let Some(allowed) = table.get(room) else {
            wrong.push(format!("{name}: the table has no room {room}"));
            continue;
        };
        let text = std::fs::read_to_string(&path).unwrap();
        let used: BTreeSet<String> = imported(&without_tests(&path, &text)).into_iter().collect();
        for other in used {
            let is_room = table.contains_key(&other);
            if is_room && other != room && !allowed.contains(&other) {
                wrong.push(format!("{name}: {room} must not import {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_the_table() {
    let table = table();
    for entry in std::fs::read_dir(top().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().to_string();
        assert!(
            name == "lib.rs" || table.contains_key(&name),
            "{name} is missing in the table of docs/ARCHITECTURE.md"
        );
    }
}
