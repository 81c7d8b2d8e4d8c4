//! Which processes are listed.

use mos::sys::unix;
use mos::wire::control::Place;

use super::Row;
use super::options::Options;
use crate::proc::{Stat, tty_name};

/// Who asks, and from where.
pub struct Caller {
    pub uid: u32,
    pub tty: i32,
}

impl Caller {
    /// This process.
    pub fn this() -> Caller {
        let tty = Stat::of(std::process::id() as i32).map_or(0, |stat| stat.tty);
        Caller {
            uid: unix::euid(),
            tty,
        }
    }
}

/// The processes that the options ask for, in the order to show them.
pub fn select(options: &Options, caller: &Caller, rows: Vec<Row>) -> Vec<Row> {
    let mut rows: Vec<Row> = rows
        .into_iter()
        .filter(|row| kind(options, row))
        .filter(|row| chosen(options, caller, row) != options.negate)
        .collect();
    rows.sort_by_key(|row| row.info.pid);
    if options.forest { forest(rows) } else { rows }
}

/// Local, away or guest, as asked.
fn kind(options: &Options, row: &Row) -> bool {
    let guest = row.info.from.is_some();
    (!options.local_only || !guest)
        && (!options.guests_only || guest)
        && (!options.away_only || matches!(row.info.place, Place::Away(_)))
}

fn chosen(options: &Options, caller: &Caller, row: &Row) -> bool {
    if options.all {
        return true;
    }
    let tty = tty_name(row.stat.tty);
    let lists = [
        !options.pids.is_empty(),
        !options.ttys.is_empty(),
        !options.users.is_empty(),
        !options.groups.is_empty(),
    ];
    if options.this_tty || lists.contains(&true) {
        let user = unix::user_name(row.info.uid);
        let same = |name: &String| *name == user || *name == row.info.uid.to_string();
        return options.pids.contains(&row.info.pid)
            || options
                .ttys
                .iter()
                .any(|name| *name == tty || format!("tty{name}") == tty)
            || options.users.iter().any(same)
            || options.groups.contains(&row.gid.to_string())
            || (options.this_tty && row.stat.tty == caller.tty && row.stat.tty != 0);
    }
    if options.no_leaders {
        return row.stat.sid != row.info.pid && (!options.with_tty || row.stat.tty != 0);
    }
    // Guests have no terminal and no user here: whoever asks for them means all.
    if options.guests_only {
        return true;
    }
    let user = options.any_user || row.info.uid == caller.uid;
    let here = match (options.any_tty, options.any_user) {
        (true, _) => true,
        (false, true) => row.stat.tty != 0,
        // Without a terminal of our own there is no such thing as "the same".
        (false, false) => row.stat.tty == caller.tty,
    };
    user && here
}

/// Children behind their parents.
fn forest(mut rows: Vec<Row>) -> Vec<Row> {
    let pids: Vec<i32> = rows.iter().map(|row| row.info.pid).collect();
    let mut sorted = Vec::with_capacity(rows.len());
    while !rows.is_empty() {
        let root = rows
            .iter()
            .position(|row| !pids.contains(&row.stat.ppid))
            .unwrap_or(0);
        let mut branch = vec![rows.remove(root)];
        while let Some(row) = branch.pop() {
            let parent = row.info.pid;
            sorted.push(row);
            let (children, others): (Vec<Row>, Vec<Row>) =
                rows.into_iter().partition(|row| row.stat.ppid == parent);
            rows = others;
            branch.extend(children.into_iter().rev());
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mosps::options::{Wanted, parse};
    use mos::wire::control::{Frozen, ProcInfo};
    use std::net::Ipv4Addr;

    const ME: Caller = Caller {
        uid: 1000,
        tty: 34817,
    };

    fn row(pid: i32, uid: u32, tty: i32, ppid: i32, guest: bool) -> Row {
        let info = ProcInfo {
            pid,
            uid,
            place: if pid == 2 {
                Place::Away(Ipv4Addr::LOCALHOST)
            } else {
                Place::Home
            },
            from: guest.then_some(Ipv4Addr::LOCALHOST),
            origpid: None,
            frozen: Frozen::No,
            nmigs: 0,
            stays: None,
            locked: false,
            cpu_away_ns: 0,
        };
        Row {
            info,
            stat: Stat {
                tty,
                ppid,
                sid: 1,
                ..Stat::default()
            },
            gid: uid,
        }
    }

    fn listed(line: &str) -> Vec<i32> {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        let Ok(Wanted::List(options)) = parse(&words) else {
            panic!("{line}")
        };
        // 1 mine and leader of its session, 2 mine and away, 3 another's, 4 mine elsewhere, 5 without terminal, 6 a guest.
        let rows = vec![
            row(4, 1000, 34818, 9, false),
            row(1, 1000, 34817, 9, false),
            row(2, 1000, 34817, 4, false),
            row(3, 2000, 34817, 1, false),
            row(5, 1000, 0, 1, false),
            row(6, 1000, 0, 9, true),
        ];
        select(&options, &ME, rows)
            .iter()
            .map(|row| row.info.pid)
            .collect()
    }

    #[test]
    fn selections_are_those_of_ps() {
        assert_eq!(listed(""), [1, 2]);
        assert_eq!(listed("a"), [1, 2, 3, 4]);
        assert_eq!(listed("x"), [1, 2, 4, 5, 6]);
        assert_eq!(listed("ax"), [1, 2, 3, 4, 5, 6]);
        assert_eq!(listed("-A"), [1, 2, 3, 4, 5, 6]);
        assert_eq!(listed("-a"), [2, 3, 4]);
        assert_eq!(listed("-u 2000 -p 4"), [3, 4]);
        assert_eq!(listed("-N -u 2000"), [1, 2, 4, 5, 6]);
        assert_eq!(listed("T"), [1, 2, 3]);
        assert_eq!(listed("-t pts/2"), [4]);
    }

    #[test]
    fn kinds_are_ours() {
        assert_eq!(listed("-V"), [6]);
        assert_eq!(listed("ax -L"), [1, 2, 3, 4, 5]);
        assert_eq!(listed("ax -O"), [2]);
    }

    #[test]
    fn children_follow_their_parents() {
        assert_eq!(listed("axf"), [1, 3, 5, 4, 2, 6]);
    }
}
