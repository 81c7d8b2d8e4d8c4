//! What `/proc` says of a process, as far as listings show it.

/// Fields of `/proc/PID/stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub comm: String,
    pub ppid: i32,
    pub pgid: i32,
    pub sid: i32,
    /// Device number of the controlling terminal; 0 for none.
    pub tty: i32,
    pub tpgid: i32,
    /// User CPU time in clock ticks.
    pub user_ticks: u64,
    pub nice: i32,
}

impl Stat {
    /// Of a process that is there.
    pub fn of(pid: i32) -> Option<Stat> {
        Stat::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Stat> {
        // The name may hold anything, parentheses too: it ends at the last one.
        let (head, tail) = text.rsplit_once(')')?;
        let comm = head.split_once('(')?.1.to_string();
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse().ok();
        Some(Stat {
            comm,
            ppid: number(1)?,
            pgid: number(2)?,
            sid: number(3)?,
            tty: number(4)?,
            tpgid: number(5)?,
            user_ticks: fields.get(11)?.parse().ok()?,
            nice: number(16)?,
        })
    }
}

/// The name of a terminal by its device number, as ps shows it.
pub fn tty_name(device: i32) -> String {
    let major = (device >> 8) & 0xfff;
    let minor = (device & 0xff) | ((device >> 12) & 0xfff00);
    match (major, minor) {
        (0, _) => "?".into(),
        (136..=143, minor) => format!("pts/{}", minor + (major - 136) * 256),
        (4, minor @ 0..64) => format!("tty{minor}"),
        (4, minor) => format!("ttyS{}", minor - 64),
        (major, minor) => format!("{major}:{minor}"),
    }
}

/// The command line of a process; its name in brackets when it has none.
pub fn command_line(pid: i32, comm: &str) -> String {
    words(pid, "cmdline").unwrap_or_else(|| format!("[{comm}]"))
}

/// The environment of a process, when we may see it.
pub fn environment(pid: i32) -> String {
    words(pid, "environ").unwrap_or_default()
}

/// A file of strings that end in NUL, in one line that is safe to show.
fn words(pid: i32, file: &str) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/{file}")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let words = text.trim_end_matches('\0').replace('\0', " ");
    let plain: String = words
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    (!plain.is_empty()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_do_not_confuse() {
        let stat = Stat::parse("7 (a) (b) c) S 1 7 6 34817 7 4194304 1 2 3 4 55 6 7 8 20 -5 1 0 9")
            .unwrap();
        assert_eq!(
            (stat.comm.as_str(), stat.ppid, stat.pgid, stat.sid),
            ("a) (b) c", 1, 7, 6)
        );
        assert_eq!(
            (stat.tty, stat.tpgid, stat.user_ticks, stat.nice),
            (34817, 7, 55, -5)
        );
        assert!(Stat::of(std::process::id() as i32).is_some());
    }

    #[test]
    fn terminals_have_names() {
        assert_eq!(tty_name(0), "?");
        assert_eq!(tty_name(34816 + 3), "pts/3");
        assert_eq!(tty_name(0x0401), "tty1");
        assert_eq!(tty_name(0x0440), "ttyS0");
    }
}
