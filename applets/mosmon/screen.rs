//! The terminal: raw while the monitor runs, as it was afterwards, whatever ends it.

use std::io::{self, Write};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{self, Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::{cursor, execute, queue};

use super::draw::{Picture, Style};
use super::view::Key;

/// What came from the terminal.
pub enum Input {
    Key(Key),
    Resized,
    /// Control-C.
    Interrupted,
    Nothing,
}

/// The terminal, taken over.
pub struct Screen {
    out: io::Stdout,
    colours: bool,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// When it is none, or cannot do what is needed.
    pub fn open() -> io::Result<Screen> {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        terminal::enable_raw_mode()?;
        let mut screen = Screen {
            out: io::stdout(),
            colours: !plain,
        };
        execute!(screen.out, EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    /// Columns and rows.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn size(&self) -> io::Result<(usize, usize)> {
        let (columns, rows) = terminal::size()?;
        Ok((columns.max(1).into(), rows.max(1).into()))
    }

    /// Shows a picture; `anew` also where the terminal should show it already.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn show(&mut self, picture: &Picture, anew: bool) -> io::Result<()> {
        if anew {
            queue!(self.out, Clear(ClearType::All))?;
        }
        for row in 0..picture.rows {
            queue!(self.out, cursor::MoveTo(0, row as u16))?;
            self.row(picture.row(row))?;
            queue!(self.out, Clear(ClearType::UntilNewLine))?;
        }
        self.out.flush()
    }

    /// A row without the blanks at its end: the last column would make some terminals scroll.
    fn row(&mut self, cells: &[(char, Style)]) -> io::Result<()> {
        let end = cells
            .iter()
            .rposition(|(c, _)| *c != ' ')
            .map_or(0, |last| last + 1);
        for run in cells[..end].chunk_by(|one, other| one.1 == other.1) {
            let text: String = run.iter().map(|(c, _)| *c).collect();
            self.style(run[0].1)?;
            queue!(
                self.out,
                Print(text),
                SetAttribute(Attribute::Reset),
                ResetColor
            )?;
        }
        Ok(())
    }

    fn style(&mut self, style: Style) -> io::Result<()> {
        if style == Style::Strong {
            queue!(self.out, SetAttribute(Attribute::Bold))?;
        }
        let colour = match style {
            Style::Low => Color::Green,
            Style::Middle => Color::Yellow,
            Style::High | Style::Dead => Color::Red,
            Style::Free => Color::Blue,
            Style::Plain | Style::Strong => return Ok(()),
        };
        if self.colours {
            queue!(self.out, SetForegroundColor(colour))?;
        }
        Ok(())
    }

    /// The next thing that comes within `patience`.
    ///
    /// # Errors
    ///
    /// When the terminal is gone.
    pub fn input(&self, patience: Duration) -> io::Result<Input> {
        if !event::poll(patience)? {
            return Ok(Input::Nothing);
        }
        Ok(match event::read()? {
            Event::Resize(..) => Input::Resized,
            Event::Key(key) if key.kind == KeyEventKind::Release => Input::Nothing,
            Event::Key(key) => {
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('c' | 'C') if control => Input::Interrupted,
                    KeyCode::Char('l') if control => Input::Key(Key::Enter),
                    KeyCode::Char(c) => Input::Key(Key::Char(c)),
                    KeyCode::Enter => Input::Key(Key::Enter),
                    KeyCode::Left => Input::Key(Key::Left),
                    KeyCode::Right => Input::Key(Key::Right),
                    _ => Input::Nothing,
                }
            }
            _ => Input::Nothing,
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = execute!(self.out, LeaveAlternateScreen, cursor::Show);
        let _ = terminal::disable_raw_mode();
    }
}
