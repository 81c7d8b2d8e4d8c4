//! The command line of mosps: ps's letters with and without a dash, which mean different things, and our own.

use crate::cluster::Naming;

/// Which columns the format has besides ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Plain,
    /// `-f`.
    Full,
    /// `u`.
    User,
    /// `j` and `-j`.
    Jobs,
    /// `l` and `-l`.
    Long,
}

/// What to list and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub naming: Naming,
    pub local_only: bool,
    pub away_only: bool,
    pub guests_only: bool,
    pub nmigs: bool,
    pub origpid: bool,
    pub format: Format,
    pub ron: bool,
    pub wide: bool,
    /// `c`: the name alone.
    pub short_command: bool,
    /// `e`: the environment after the command.
    pub environment: bool,
    /// `f` and `-H`.
    pub forest: bool,
    /// `-A`, `-e`: everything.
    pub all: bool,
    /// `a`: those of other users too.
    pub any_user: bool,
    /// `x`: those without terminal too.
    pub any_tty: bool,
    /// `-a` and `-d`: no leaders of sessions.
    pub no_leaders: bool,
    /// `-a`: only those with a terminal.
    pub with_tty: bool,
    /// `-N`.
    pub negate: bool,
    /// `T`.
    pub this_tty: bool,
    pub pids: Vec<i32>,
    pub ttys: Vec<String>,
    pub users: Vec<String>,
    pub groups: Vec<String>,
}

/// What a command line wants.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    List(Box<Options>),
    Help,
    Version,
}

/// Reads the words behind the command's name.
///
/// # Errors
///
/// In words.
pub fn parse(words: &[String]) -> Result<Wanted, String> {
    let mut options = Options::default();
    let mut words = words.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        match word {
            "--help" => return Ok(Wanted::Help),
            "--version" => return Ok(Wanted::Version),
            "--ron" => options.ron = true,
            _ => {
                let (dash, letters) = match word.strip_prefix('-') {
                    Some(letters) => (true, letters),
                    None => (false, word),
                };
                if letters.is_empty() || letters.starts_with('-') {
                    return Err(format!("there is no option \"{word}\""));
                }
                if letters.starts_with(|c: char| c.is_ascii_digit()) {
                    options.pids.extend(pids(letters)?);
                    continue;
                }
                options.letters(dash, letters, &mut words)?;
            }
        }
    }
    Ok(Wanted::List(Box::new(options)))
}

impl Options {
    fn letters<'a>(
        &mut self,
        dash: bool,
        letters: &'a str,
        words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    ) -> Result<(), String> {
        for (index, letter) in letters.char_indices() {
            let takes_list = if dash {
                "GUptu".contains(letter)
            } else {
                "Upt".contains(letter)
            };
            if takes_list {
                let attached = &letters[index + 1..];
                let optional = !dash && letter == 't';
                let list = match attached {
                    "" if optional && words.peek().is_none_or(|next| next.starts_with('-')) => "",
                    "" => words
                        .next()
                        .ok_or_else(|| format!("option \"{letter}\" needs a list"))?,
                    list => list,
                };
                return self.list(letter, list);
            }
            if dash {
                self.dashed(letter)?
            } else {
                self.plain(letter)?
            }
        }
        Ok(())
    }

    fn list(&mut self, letter: char, list: &str) -> Result<(), String> {
        let items = list.split([',', ' ']).filter(|item| !item.is_empty());
        match letter {
            'p' => self.pids.extend(pids(list)?),
            't' if list.is_empty() => self.this_tty = true,
            't' => self
                .ttys
                .extend(items.map(|item| item.trim_start_matches("/dev/").to_string())),
            'G' => self.groups.extend(items.map(str::to_string)),
            _ => self.users.extend(items.map(str::to_string)),
        }
        Ok(())
    }

    /// Letters with a dash.
    fn dashed(&mut self, letter: char) -> Result<(), String> {
        match letter {
            'I' => self.naming = Naming::Addresses,
            'h' => self.naming = Naming::Hosts,
            'M' => self.naming = Naming::ShortHosts,
            'L' => self.local_only = true,
            'O' => self.away_only = true,
            'V' => self.guests_only = true,
            'n' => self.nmigs = true,
            'P' => self.origpid = true,
            'A' | 'e' => self.all = true,
            'N' => self.negate = true,
            'T' => self.this_tty = true,
            'H' => self.forest = true,
            'a' => (self.no_leaders, self.with_tty) = (true, true),
            'd' => self.no_leaders = true,
            'f' => self.format = Format::Full,
            'j' => self.format = Format::Jobs,
            'l' => self.format = Format::Long,
            // Everything that "ax" means, as ps has it.
            'x' => self.any_tty = true,
            'w' => self.wide = true,
            'g' | 'm' => {}
            'S' => return Err("-S (queues of commands) is not available in this version".into()),
            other => return Err(format!("there is no option \"-{other}\"")),
        }
        Ok(())
    }

    /// Letters without a dash.
    fn plain(&mut self, letter: char) -> Result<(), String> {
        match letter {
            'a' => self.any_user = true,
            'x' => self.any_tty = true,
            'T' => self.this_tty = true,
            'c' => self.short_command = true,
            'e' => self.environment = true,
            'f' => self.forest = true,
            'j' => self.format = Format::Jobs,
            'l' => self.format = Format::Long,
            'u' => self.format = Format::User,
            'w' => self.wide = true,
            'g' | 'm' | 'n' => {}
            other => return Err(format!("there is no option \"{other}\"")),
        }
        Ok(())
    }
}

fn pids(list: &str) -> Result<Vec<i32>, String> {
    let items = list.split([',', ' ']).filter(|item| !item.is_empty());
    items
        .map(|item| {
            item.parse()
                .map_err(|_| format!("\"{item}\" is no process number"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Options {
        let words: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        match parse(&words) {
            Ok(Wanted::List(options)) => *options,
            other => panic!("{other:?}"),
        }
    }

    fn refused(line: &str) -> String {
        parse(
            &line
                .split_whitespace()
                .map(str::to_string)
                .collect::<Vec<_>>(),
        )
        .unwrap_err()
    }

    #[test]
    fn a_dash_makes_a_difference() {
        assert_eq!(
            parsed("ax"),
            Options {
                any_user: true,
                any_tty: true,
                ..Options::default()
            }
        );
        assert_eq!(
            parsed("-a"),
            Options {
                no_leaders: true,
                with_tty: true,
                ..Options::default()
            }
        );
        assert_eq!(parsed("u").format, Format::User);
        assert_eq!(parsed("-u root,7").users, ["root", "7"]);
        assert!(parsed("e").environment && parsed("-e").all);
    }

    #[test]
    fn lists_are_attached_or_follow() {
        assert_eq!(parsed("-p 1,2 -p3 4").pids, [1, 2, 3, 4]);
        assert_eq!(parsed("p5 -6").pids, [5, 6]);
        assert_eq!(parsed("-t pts/1,/dev/tty2").ttys, ["pts/1", "tty2"]);
        assert!(parsed("t").this_tty);
        assert_eq!(parsed("t pts/1").ttys, ["pts/1"]);
    }

    #[test]
    fn our_own_options() {
        let options = parsed("-InL --ron");
        assert_eq!(options.naming, Naming::Addresses);
        assert!(options.nmigs && options.local_only && options.ron);
        assert!(parsed("-V").guests_only && parsed("-OP").away_only);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(refused("-S").contains("not available"));
        assert!(refused("-Z").contains("-Z"));
        assert!(refused("-p x").contains("\"x\""));
        assert!(refused("-p").contains("needs a list"));
        assert!(refused("--nope").contains("--nope"));
    }
}
