//! mosconf: the files of a node, or of a stored root image, by questions and answers.

mod ask;
mod nodes;
mod policies;

use std::ffi::OsString;
use std::io::{self, BufRead, Write};

use clap::Command;
use mos::config::{Hosts, Paths};
use mos::wire::client::Client;
use mos::wire::control::{Admin, FromMosd, ToMosd};

use crate::common::{fail, parse};
pub use ask::Dialog;
pub use nodes::number_all;

/// What can be configured, in the order in which it is best done.
const MENU: &str = "
1 - Which nodes are in this cluster
2 - Authentication (the password)
3 - Logical node numbering
4 - Partner clusters
5 - Processor speed
6 - Freezing policies
7 - Parameters of mosrun
8 - Private temporary files
9 - Miscellaneous policies
q - Exit";

pub fn command() -> Command {
    Command::new("mosconf")
        .about("configures this node, or a stored root image, by questions and answers")
        .version(env!("CARGO_PKG_VERSION"))
}

pub fn run(args: &[OsString]) -> i32 {
    if let Err(status) = parse(command(), args) {
        return status;
    }
    match converse(io::stdin().lock(), io::stdout()) {
        Ok(()) => 0,
        Err(error) => fail("mosconf", error),
    }
}

/// A conversation about one node's files.
pub struct Session<R, W> {
    paths: Paths,
    /// They are not those of a running node.
    image: bool,
    talk: Dialog<R, W>,
    changed: bool,
}

fn converse<R: BufRead, W: Write>(input: R, output: W) -> io::Result<()> {
    let mut talk = Dialog::new(input, output);
    talk.say("Configuring this node: <Enter>. Configuring a stored root image: its directory.")?;
    let root = match talk.ask("Directory") {
        // Nothing was asked for.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
        other => other?,
    };
    let image = !root.is_empty();
    let paths = if image {
        Paths::under(std::path::absolute(&root)?)
    } else {
        Paths::from_env()
    };
    if image && !paths.root().join("etc").is_dir() {
        return Err(io::Error::other(format!(
            "{root} is no root image: it has no directory \"etc\""
        )));
    }
    let mut session = Session {
        paths,
        image,
        talk,
        changed: false,
    };
    let ended = session.menu();
    session.finish()?;
    match ended {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        other => other,
    }
}

impl<R: BufRead, W: Write> Session<R, W> {
    fn menu(&mut self) -> io::Result<()> {
        std::fs::create_dir_all(self.paths.partners())?;
        if !self.paths.var().exists() {
            std::fs::create_dir_all(self.paths.var())?;
        }
        loop {
            self.talk.say(MENU)?;
            match self.talk.ask("Your choice")?.as_str() {
                "1" => self.nodes()?,
                "2" => self.password()?,
                "3" => self.numbers()?,
                "4" => self.partners()?,
                "5" => self.speed()?,
                "6" => self.freezing()?,
                "7" => self.mosrun()?,
                "8" => self.private()?,
                "9" => self.miscellaneous()?,
                "q" => return Ok(()),
                "" => {}
                other => self
                    .talk
                    .say(&format!("  there is no choice \"{other}\""))?,
            }
        }
    }

    /// Names are those of the root that is configured.
    fn hosts(&self) -> Hosts {
        Hosts::of(&self.paths)
    }

    fn list(&mut self, title: &str, lines: &[&str]) -> io::Result<()> {
        self.talk.say(&format!("\n{title}:"))?;
        if lines.is_empty() {
            self.talk.say("  (none)")?;
        }
        for (index, line) in lines.iter().enumerate() {
            self.talk.say(&format!("  {}) {line}", index + 1))?;
        }
        Ok(())
    }

    /// The line that "d NUMBER" means, from 0; what is no such choice is said to be none.
    fn index(&mut self, choice: &str, lines: usize) -> io::Result<Option<usize>> {
        let number = choice
            .strip_prefix('d')
            .map(str::trim)
            .and_then(|text| text.parse::<usize>().ok());
        match number {
            Some(number) if (1..=lines).contains(&number) => Ok(Some(number - 1)),
            _ => {
                self.talk
                    .say(&format!("  there is no choice \"{choice}\""))?;
                Ok(None)
            }
        }
    }

    /// Tells a running mosd; a stored image's nodes have to be told one by one.
    fn finish(&mut self) -> io::Result<()> {
        if !self.changed {
            return Ok(());
        }
        if self.image {
            return self
                .talk
                .say("Nodes that run with this image already: run mossetpe on each of them.");
        }
        let Ok(mut client) = Client::connect(&self.paths) else {
            return self
                .talk
                .say("mosd does not run here: start it with \"mosd\".");
        };
        match client.ask(&ToMosd::Admin(Admin::Reread { wait: false })) {
            Ok(FromMosd::Result(_)) => self.talk.say("The new configuration holds."),
            Ok(_) => Err(crate::cluster::unexpected()),
            Err(error) => self
                .talk
                .say(&format!("The earlier configuration holds: {error}")),
        }
    }
}
