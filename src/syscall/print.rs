//! The table as text.

use super::row::{Class, Local, Restart, Row};
use super::table;

/// One line a call: number, name, where it is done, what else is to be known.
pub fn table() -> String {
    let mut text = format!("{:>3}  {:<24} {:<14} {}\n", "nr", "name", "where", "notes");
    for row in table::rows() {
        let line = format!(
            "{:>3}  {:<24} {:<14} {}",
            row.nr,
            row.name,
            place(row),
            notes(row)
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn place(row: &Row) -> &'static str {
    let partly = matches!(row.local, Local::If(_));
    match row.class {
        Class::Native => "local",
        Class::Forward if partly => "local, home",
        Class::Forward => "home",
        Class::Host(_) if partly => "local, host",
        Class::Host(_) => "host",
        Class::GoHome(_) if partly => "local, goes home",
        Class::GoHome(_) => "goes home",
        Class::Refuse(_) => "none",
    }
}

fn notes(row: &Row) -> String {
    let mut parts = Vec::new();
    match row.class {
        Class::GoHome(why) => parts.push(why),
        Class::Refuse(_) => parts.push("no kernel of today has it"),
        _ => (),
    }
    if !row.notes.is_empty() {
        parts.push(row.notes);
    }
    match row.restart {
        Some(Restart::Begins) => parts.push("restarts"),
        Some(Restart::NoHandler) => parts.push("interrupted by any handler"),
        Some(Restart::Continues) => parts.push("goes on with the time left"),
        Some(Restart::Never) => parts.push("never restarts"),
        None => (),
    }
    parts.join("; ")
}
