//! The nodes: of this cluster, their numbers, and those of partners.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use mos::config::partners::{self, DEFAULT_PRIORITY, Partner, relation_line, with_relation};
use mos::config::{ConfigError, NodeMap, UserView, check_aliases};

use super::Session;
use super::ask::{Lines, number};

impl<R: BufRead, W: Write> Session<R, W> {
    /// 4.2: which nodes are in this cluster.
    pub fn nodes(&mut self) -> io::Result<()> {
        let file = self.paths.map();
        let mut advanced = Lines::read(&file)
            .data(0)
            .iter()
            .any(|line| line.contains('='));
        loop {
            let lines = Lines::read(&file);
            self.list("Nodes of this cluster", &lines.data(0))?;
            let more = if advanced {
                "a - another address of a node (alias)"
            } else {
                "a - find the nodes of the subnet (mos_autoconf)\n+ - more choices: distant nodes, aliases"
            };
            self.talk.say(&format!(
                "n - new nodes\nd NUMBER - remove a line\n{more}\nq - back"
            ))?;
            match self.talk.ask("Your choice")?.as_str() {
                "q" | "" => return Ok(()),
                "n" => self.new_nodes(lines, advanced)?,
                "+" => advanced = true,
                "a" if advanced => self.new_alias(lines)?,
                "a" => self.find_nodes()?,
                choice => {
                    if let Some(index) = self.index(choice, lines.data(0).len())? {
                        self.save_map(with_removed(lines, 0, index))?;
                    }
                }
            }
        }
    }

    fn new_nodes(&mut self, mut lines: Lines, advanced: bool) -> io::Result<()> {
        let first = self
            .talk
            .ask("First node of the range (address or host name)")?;
        if first.is_empty() {
            return Ok(());
        }
        let count = self.talk.ask_until(
            "How many nodes, with consecutive addresses",
            "1",
            number(1, 1 << 24),
        )?;
        let near = !advanced || !self.talk.yes(distant_question(count), false)?;
        lines.add(format!("{first} {count}{}", if near { " p" } else { "" }));
        self.save_map(lines)
    }

    fn new_alias(&mut self, mut lines: Lines) -> io::Result<()> {
        let other = self.talk.ask("The other address")?;
        let node = self
            .talk
            .ask("The address or host name that the node is known by")?;
        lines.add(format!("{other}={node}"));
        self.save_map(lines)
    }

    fn save_map(&mut self, lines: Lines) -> io::Result<()> {
        let file = self.paths.map();
        let partners_dir = self.paths.partners();
        let hosts = self.hosts();
        let check = |text: &str| {
            let words = |error: ConfigError| error.to_string();
            let map = NodeMap::parse(text, &file, &hosts).map_err(words)?;
            let partners = Partner::read_all(&partners_dir, &hosts).map_err(words)?;
            check_aliases(&map, &partners, &file).map_err(words)
        };
        self.changed |= self.talk.save_checked(&file, &lines.text(), check)?;
        Ok(())
    }

    fn find_nodes(&mut self) -> io::Result<()> {
        if self.image {
            return self
                .talk
                .say("  Nodes are found on a running node only, not for a stored image.");
        }
        if let Err(error) = crate::mos_autoconf::converse(&mut self.talk) {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return Err(error);
            }
            self.talk.say(&format!("  {error}"))?;
        }
        Ok(())
    }

    /// The nodes' numbers.
    pub fn numbers(&mut self) -> io::Result<()> {
        let file = self.paths.userview();
        let hosts = self.hosts();
        let check = |text: &str| {
            let view = UserView::parse(text, &file, &hosts).map(drop);
            view.map_err(|error| error.to_string())
        };
        loop {
            let mut lines = Lines::read(&file);
            self.list(
                "Numbers of nodes (first number, first node, how many)",
                &lines.data(0),
            )?;
            self.talk.say("n - new numbers\na - number all nodes of this cluster from 1\nd NUMBER - remove a line\nq - back")?;
            let lines = match self.talk.ask("Your choice")?.as_str() {
                "q" | "" => return Ok(()),
                "n" => {
                    let first = self.talk.ask("First number")?;
                    let node = self.talk.ask("First node (address or host name)")?;
                    let count = self.talk.ask_or("How many", "1")?;
                    lines.add(format!("{first} {node} {count}"));
                    lines
                }
                "a" => match NodeMap::read(&self.paths.map(), &hosts) {
                    Ok(map) => numbered(&map),
                    Err(error) => {
                        self.talk.say(&format!("  {error}"))?;
                        continue;
                    }
                },
                choice => match self.index(choice, lines.data(0).len())? {
                    Some(index) => with_removed(lines, 0, index),
                    None => continue,
                },
            };
            self.changed |= self.talk.save_checked(&file, &lines.text(), check)?;
        }
    }

    /// 4.3: the other clusters.
    pub fn partners(&mut self) -> io::Result<()> {
        let dir = self.paths.partners();
        loop {
            let names = partners::names(&dir).unwrap_or_default();
            let shown: Vec<String> = names.iter().map(|name| self.summary(name)).collect();
            let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
            self.list("Partner clusters", &shown)?;
            self.talk.say(
                "n - new partner\nNUMBER - change a partner\nd NUMBER - remove a partner\nq - back",
            )?;
            let choice = self.talk.ask("Your choice")?;
            match choice.as_str() {
                "q" | "" => return Ok(()),
                "n" => self.new_partner()?,
                choice if choice.starts_with('d') => {
                    if let Some(index) = self.index(choice, names.len())? {
                        self.talk.remove(&dir.join(&names[index]))?;
                        self.changed = true;
                    }
                }
                choice => {
                    if let Some(index) = self.index(&format!("d {choice}"), names.len())? {
                        self.partner(&names[index])?;
                    }
                }
            }
        }
    }

    fn partner_file(&self, name: &str) -> PathBuf {
        self.paths.partners().join(name)
    }

    fn read_partner(&self, name: &str, text: &str) -> Result<Partner, String> {
        Partner::parse(name, text, &self.partner_file(name), &self.hosts())
            .map_err(|error| error.to_string())
    }

    fn summary(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.partner_file(name)).unwrap_or_default();
        match self.read_partner(name, &text) {
            Ok(partner) => format!("{name}: {} ({})", partner.description, terms(&partner)),
            Err(why) => format!("{name}: WRONG: {why}"),
        }
    }

    fn save_partner(&mut self, name: &str, text: &str) -> io::Result<()> {
        let read = self.read_partner(name, text).map(drop);
        self.changed |= self
            .talk
            .save_checked(&self.paths.partners().join(name), text, |_| read.clone())?;
        Ok(())
    }

    fn new_partner(&mut self) -> io::Result<()> {
        let name = self.talk.ask("Name of the cluster, one word")?;
        if let Err(why) = partners::check_name(&name) {
            return self.talk.say(&format!("  {why}"));
        }
        if self.partner_file(&name).exists() {
            return self.talk.say(&format!("  {name} is there already"));
        }
        let description = self.talk.ask("Description, in a few words")?;
        let mut text = format!(
            "{description}\n{}\n",
            relation_line(DEFAULT_PRIORITY, true, true)
        );
        if let Some(range) = self.ask_partner_range()? {
            text += &(range + "\n");
        }
        self.save_partner(&name, &text)?;
        if self.partner_file(&name).exists() {
            self.partner(&name)?;
        }
        Ok(())
    }

    fn ask_partner_range(&mut self) -> io::Result<Option<String>> {
        let first = self
            .talk
            .ask("First node of a range (address or host name)")?;
        if first.is_empty() {
            return Ok(None);
        }
        let count = self.talk.ask_until(
            "How many nodes, with consecutive addresses",
            "1",
            number(1, 1 << 24),
        )?;
        let near = !self.talk.yes(distant_question(count), true)?;
        Ok(Some(format!("{first} {count} 1 1 {}", u8::from(near))))
    }

    /// One partner: its nodes, relation and priority.
    fn partner(&mut self, name: &str) -> io::Result<()> {
        let file = self.partner_file(name);
        loop {
            let mut lines = Lines::read(&file);
            let text = lines.text();
            let Ok(partner) = self.read_partner(name, &text) else {
                return self.talk.say(&format!(
                    "  {}: remove it or mend it by hand",
                    self.summary(name)
                ));
            };
            self.list(&self.summary(name), &lines.data(2))?;
            self.talk.say("n - new nodes\nd NUMBER - remove nodes\nr - relation\np - priority\nt - description\nq - back")?;
            let text = match self.talk.ask("Your choice")?.as_str() {
                "q" | "" => return Ok(()),
                "n" => match self.ask_partner_range()? {
                    Some(range) => {
                        lines.add(range);
                        lines.text()
                    }
                    None => continue,
                },
                "r" => {
                    let go = self
                        .talk
                        .yes("May processes of this cluster go there", partner.can_go)?;
                    let take = self
                        .talk
                        .yes("May processes from there come here", partner.can_take)?;
                    related(&text, partner.priority, go, take)
                }
                "p" => {
                    let old = partner.priority.to_string();
                    let question = "Priority (0 to 65535, the lower the better)";
                    let new = self.talk.ask_until(question, &old, number(0, 65535))?;
                    related(&text, new as u16, partner.can_go, partner.can_take)
                }
                "t" => {
                    let description = self.talk.ask_or("Description", &partner.description)?;
                    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
                    format!("{description}\n{rest}")
                }
                choice => match self.index(choice, lines.data(2).len())? {
                    Some(index) => with_removed(lines, 2, index).text(),
                    None => continue,
                },
            };
            self.save_partner(name, &text)?;
        }
    }
}

fn related(text: &str, priority: u16, go: bool, take: bool) -> String {
    let line = relation_line(priority, go, take);
    // The file was read a moment ago and has a second line.
    with_relation(text, &line).unwrap_or_default()
}

fn terms(partner: &Partner) -> String {
    let way = match (partner.can_go, partner.can_take) {
        (true, true) => "both ways",
        (true, false) => "ours may go there",
        (false, true) => "theirs may come here",
        (false, false) => "only to be seen",
    };
    format!("priority {}, {way}", partner.priority)
}

fn distant_question(count: u32) -> &'static str {
    if count == 1 {
        "Is this node distant"
    } else {
        "Are these nodes distant"
    }
}

fn with_removed(mut lines: Lines, skip: usize, index: usize) -> Lines {
    lines.remove(skip, index);
    lines
}

/// All nodes of the map, numbered from 1.
pub fn number_all(map: &NodeMap) -> String {
    let mut next = 1;
    let mut text = String::new();
    for range in &map.ranges {
        text += &format!("{next} {} {}\n", range.first, range.count);
        next += range.count;
    }
    text
}

fn numbered(map: &NodeMap) -> Lines {
    let mut lines = Lines::read(std::path::Path::new(""));
    for line in number_all(map).lines() {
        lines.add(line.to_string());
    }
    lines
}
