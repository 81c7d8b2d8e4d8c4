//! Questions and answers: typed by a person, or by a script that has them ready.

use std::io::{self, BufRead, Write};
use std::path::Path;

use mos::config::save;

/// A conversation. The end of the answers ends it ([`io::ErrorKind::UnexpectedEof`]); what was saved before stays.
pub struct Dialog<R, W> {
    input: R,
    output: W,
}

impl<R: BufRead, W: Write> Dialog<R, W> {
    pub fn new(input: R, output: W) -> Dialog<R, W> {
        Dialog { input, output }
    }

    /// Says something.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.output, "{text}")
    }

    /// Asks, and gives the answer without surrounding blanks: empty for just <Enter>.
    pub fn ask(&mut self, question: &str) -> io::Result<String> {
        write!(self.output, "{question}: ")?;
        self.output.flush()?;
        let mut line = String::new();
        if self.input.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim().to_string())
    }

    /// As [`Dialog::ask`]; <Enter> means `default`.
    pub fn ask_or(&mut self, question: &str, default: &str) -> io::Result<String> {
        let answer = self.ask(&format!("{question} [{default}]"))?;
        Ok(if answer.is_empty() {
            default.to_string()
        } else {
            answer
        })
    }

    /// Asks until `read` understands the answer; it says what is wrong with others.
    pub fn ask_until<T>(
        &mut self,
        question: &str,
        default: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> io::Result<T> {
        loop {
            match read(&self.ask_or(question, default)?) {
                Ok(value) => return Ok(value),
                Err(why) => self.say(&format!("  {why}"))?,
            }
        }
    }

    pub fn yes(&mut self, question: &str, default: bool) -> io::Result<bool> {
        let shown = if default { "Y/n" } else { "y/N" };
        loop {
            match self.ask(&format!("{question} [{shown}]"))?.as_str() {
                "" => return Ok(default),
                "y" | "Y" | "yes" => return Ok(true),
                "n" | "N" | "no" => return Ok(false),
                _ => self.say("  please answer y or n")?,
            }
        }
    }

    /// Writes a file if `check` finds nothing wrong with its new text, and says what became of it.
    pub fn save_checked(
        &mut self,
        file: &Path,
        text: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> io::Result<bool> {
        let saved = check(text).and_then(|()| save(file, text, 0o644).map_err(|e| e.to_string()));
        match &saved {
            Ok(()) => self.say(&format!("  {} is written.", file.display()))?,
            Err(why) => self.say(&format!("  NOT written: {why}"))?,
        }
        Ok(saved.is_ok())
    }

    /// Removes a file, so that what holds without it holds.
    pub fn remove(&mut self, file: &Path) -> io::Result<()> {
        match mos::config::remove(file) {
            Ok(()) => self.say(&format!("  {} is removed.", file.display())),
            Err(why) => self.say(&format!("  NOT removed: {why}")),
        }
    }
}

/// A number between two bounds, for [`Dialog::ask_until`].
pub fn number(least: u32, most: u32) -> impl Fn(&str) -> Result<u32, String> {
    move |text| match text.parse() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => Err(format!("a number from {least} to {most}, please")),
    }
}

/// A file of lines, some of which say something: those can be shown, added and removed by number, and all others stay.
pub struct Lines(Vec<String>);

impl Lines {
    /// Those of a file; none when it is not there.
    pub fn read(file: &Path) -> Lines {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        Lines(text.lines().map(str::to_string).collect())
    }

    fn says_something(line: &str) -> bool {
        !line.split('#').next().unwrap_or_default().trim().is_empty()
    }

    /// The lines that say something, after the first `skip` lines.
    pub fn data(&self, skip: usize) -> Vec<&str> {
        let lines = self.0.iter().skip(skip).map(String::as_str);
        lines.filter(|line| Lines::says_something(line)).collect()
    }

    pub fn add(&mut self, line: String) {
        self.0.push(line);
    }

    /// Removes the line that [`Lines::data`] gives at `index`.
    pub fn remove(&mut self, skip: usize, index: usize) {
        let lines = self.0.iter().enumerate().skip(skip);
        let mut data = lines.filter(|(_, line)| Lines::says_something(line));
        if let Some((at, _)) = data.nth(index) {
            self.0.remove(at);
        }
    }

    pub fn text(&self) -> String {
        self.0.iter().map(|line| format!("{line}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialog(answers: &str) -> Dialog<&[u8], Vec<u8>> {
        Dialog::new(answers.as_bytes(), Vec::new())
    }

    #[test]
    fn questions_are_repeated_until_they_are_answered() {
        let mut talk = dialog("maybe\ny\n\n0\n7\n");
        assert!(talk.yes("Really", false).unwrap());
        assert!(talk.yes("Really", true).unwrap());
        assert_eq!(talk.ask_until("How many", "5", number(1, 9)).unwrap(), 7);
        let end = talk.ask("More").unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        let said = String::from_utf8(talk.output).unwrap();
        assert!(
            said.contains("Really [y/N]: ") && said.contains("from 1 to 9"),
            "{said}"
        );
    }

    #[test]
    fn lines_that_say_nothing_stay() {
        let mut lines = Lines(vec![
            "# ours".into(),
            "one".into(),
            String::new(),
            "two # 2".into(),
        ]);
        assert_eq!(lines.data(0), ["one", "two # 2"]);
        lines.remove(0, 0);
        lines.add("three".into());
        assert_eq!(lines.text(), "# ours\n\ntwo # 2\nthree\n");
        assert_eq!(lines.data(3), ["three"]);
    }
}
