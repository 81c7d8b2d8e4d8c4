//! The columns of a listing.

use mos::sys::unix;
use mos::wire::control::{Frozen, Place};

use super::Row;
use super::options::{Format, Options};
use crate::cluster::Names;
use crate::proc;

/// A column: its title, whether it is a number, and what it shows.
struct Column<'a> {
    title: &'static str,
    right: bool,
    text: Box<dyn Fn(&Row) -> String + 'a>,
}

fn left<'a>(title: &'static str, text: impl Fn(&Row) -> String + 'a) -> Column<'a> {
    Column {
        title,
        right: false,
        text: Box::new(text),
    }
}

fn right<'a>(title: &'static str, text: impl Fn(&Row) -> String + 'a) -> Column<'a> {
    Column {
        title,
        right: true,
        text: Box::new(text),
    }
}

/// The title and one line for each process.
pub fn lines(options: &Options, names: &Names, rows: &[Row]) -> Vec<String> {
    let columns = columns(options, names, rows);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| columns.iter().map(|column| (column.text)(row)).collect())
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let longest = cells
                .iter()
                .map(|cells| cells[index].chars().count())
                .max()
                .unwrap_or(0);
            longest.max(column.title.len())
        })
        .collect();
    let line = |texts: &[String]| {
        let mut line = String::new();
        for (index, text) in texts.iter().enumerate() {
            let width = widths[index];
            match (columns[index].right, index + 1 == texts.len()) {
                (true, _) => line.push_str(&format!("{text:>width$} ")),
                (false, false) => line.push_str(&format!("{text:<width$} ")),
                (false, true) => line.push_str(text),
            }
        }
        line
    };
    let titles: Vec<String> = columns
        .iter()
        .map(|column| column.title.to_string())
        .collect();
    std::iter::once(line(&titles))
        .chain(cells.iter().map(|cells| line(cells)))
        .collect()
}

fn columns<'a>(options: &'a Options, names: &'a Names, rows: &'a [Row]) -> Vec<Column<'a>> {
    let mut columns = format_columns(options.format);
    if !options.guests_only {
        columns.push(left("WHERE", |row| place(row, names)));
    }
    columns.push(left("FROM", |row| {
        row.info.from.map_or("here".into(), |home| names.name(home))
    }));
    if options.origpid || options.guests_only {
        columns.push(right("ORIGPID", |row| {
            match (row.info.from, row.info.origpid) {
                (Some(_), Some(pid)) => pid.to_string(),
                _ => "N/A".into(),
            }
        }));
    }
    if !options.guests_only {
        columns.push(left("FRZ", |row| frozen(row).into()));
    }
    if options.nmigs {
        columns.push(right("NMIGS", |row| match row.info.from {
            Some(_) => "N/A".into(),
            None => row.info.nmigs.to_string(),
        }));
    }
    columns.push(left("STAYS", stays));
    columns.push(left("CMD", |row| command(options, row, rows)));
    columns
}

/// What ps shows in this format, as far as it means something here.
fn format_columns<'a>(format: Format) -> Vec<Column<'a>> {
    let pid = || right("PID", |row| row.info.pid.to_string());
    let ppid = || right("PPID", |row| row.stat.ppid.to_string());
    let tty = || left("TTY", |row| proc::tty_name(row.stat.tty));
    let uid = || right("UID", |row| row.info.uid.to_string());
    let user = |title| left(title, |row| unix::user_name(row.info.uid));
    match format {
        Format::Plain => vec![pid(), tty()],
        Format::Full => vec![user("UID"), pid(), ppid(), tty()],
        Format::User => vec![user("USER"), pid(), tty()],
        Format::Jobs => vec![
            ppid(),
            pid(),
            right("PGID", |row| row.stat.pgid.to_string()),
            right("SID", |row| row.stat.sid.to_string()),
            tty(),
            right("TPGID", |row| row.stat.tpgid.to_string()),
            uid(),
        ],
        Format::Long => vec![
            uid(),
            pid(),
            ppid(),
            right("NI", |row| row.stat.nice.to_string()),
            tty(),
        ],
    }
}

fn place(row: &Row, names: &Names) -> String {
    match row.info.place {
        Place::Home => "here".into(),
        Place::Away(node) => names.name(node),
        Place::Leaving => "leaving".into(),
        Place::Starting => "starting".into(),
    }
}

fn frozen(row: &Row) -> &'static str {
    match row.info.frozen {
        Frozen::No => "-",
        Frozen::Automatic => "A",
        Frozen::Preempted => "P",
        Frozen::Manual => "M",
        Frozen::NotApplicable => "N/A",
    }
}

/// Why it does not move, if there is a reason.
fn stays(row: &Row) -> String {
    match (&row.info.stays, row.info.locked) {
        (Some(why), _) => why.clone(),
        (None, true) => "by order only".into(),
        (None, false) => "-".into(),
    }
}

fn command(options: &Options, row: &Row, rows: &[Row]) -> String {
    let mut text = String::new();
    if options.forest {
        text.push_str(&"  ".repeat(depth(row, rows)));
    }
    if options.short_command {
        text.push_str(&row.stat.comm);
        return text;
    }
    text.push_str(&proc::command_line(row.info.pid, &row.stat.comm));
    if options.environment {
        text.push(' ');
        text.push_str(&proc::environment(row.info.pid));
    }
    text
}

/// How many parents of this process are listed.
fn depth(row: &Row, rows: &[Row]) -> usize {
    let mut depth = 0;
    let mut parent = row.stat.ppid;
    while let Some(above) = rows.iter().find(|other| other.info.pid == parent) {
        depth += 1;
        parent = above.stat.ppid;
        // Pids may have been used again between two looks at /proc.
        if depth > rows.len() {
            break;
        }
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Naming;
    use crate::proc::Stat;
    use mos::wire::control::{NodeInfo, ProcInfo};
    use std::net::Ipv4Addr;

    fn row(pid: i32, place: Place, from: Option<Ipv4Addr>, stays: Option<&str>) -> Row {
        let info = ProcInfo {
            pid,
            uid: 0,
            place,
            from,
            origpid: from.map(|_| 77),
            frozen: if from.is_some() {
                Frozen::NotApplicable
            } else {
                Frozen::No
            },
            nmigs: 3,
            stays: stays.map(str::to_string),
            locked: false,
            cpu_away_ns: 0,
        };
        let stat = Stat {
            comm: "prog".into(),
            tty: 34817,
            ..Stat::default()
        };
        Row { info, stat, gid: 0 }
    }

    fn shown(options: Options, rows: &[Row]) -> Vec<String> {
        let address = Ipv4Addr::new(10, 0, 0, 2);
        let names = Names::new(
            Naming::Numbers,
            vec![NodeInfo {
                address,
                number: Some(2),
                alive: true,
                load: None,
            }],
        );
        // No such processes: the command is the name in brackets.
        lines(&options, &names, rows)
    }

    #[test]
    fn columns_stand_below_each_other() {
        let away = Place::Away(Ipv4Addr::new(10, 0, 0, 2));
        let other = Some(Ipv4Addr::new(10, 0, 0, 9));
        let rows = [
            row(4_000_001, away, None, None),
            row(4_000_022, Place::Home, None, Some("threads")),
            row(4_000_023, Place::Home, other, None),
        ];
        let options = Options {
            nmigs: true,
            ..Options::default()
        };
        assert_eq!(
            shown(options, &rows),
            [
                "    PID TTY   WHERE FROM     FRZ NMIGS STAYS   CMD",
                "4000001 pts/1 2     here     -       3 -       [prog]",
                "4000022 pts/1 here  here     -       3 threads [prog]",
                "4000023 pts/1 here  10.0.0.9 N/A   N/A -       [prog]",
            ]
        );
    }

    #[test]
    fn guests_show_where_they_are_from() {
        let rows = [row(
            4_000_001,
            Place::Home,
            Some(Ipv4Addr::new(10, 0, 0, 2)),
            None,
        )];
        let options = Options {
            guests_only: true,
            short_command: true,
            ..Options::default()
        };
        assert_eq!(
            shown(options, &rows),
            [
                "    PID TTY   FROM ORIGPID STAYS CMD",
                "4000001 pts/1 2         77 -     prog"
            ]
        );
    }
}
