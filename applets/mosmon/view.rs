//! What the user has chosen to see, and the keys that change it.

use super::figures::{Node, Shown};

/// How the numbers below the bars are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbering {
    /// Downwards if that shows all nodes and the other way does not.
    #[default]
    Automatic,
    Horizontal,
    Vertical,
    /// Downwards, and no space between the bars.
    Tight,
}

/// All choices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub shown: Shown,
    pub numbering: Numbering,
    /// Also nodes that do not respond.
    pub dead: bool,
    pub count: bool,
    pub help: bool,
    /// The first node on the screen, of those that are shown at all.
    pub first: usize,
}

/// A key, as far as it means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Enter,
    Left,
    Right,
}

/// What is to be done after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Draw,
    /// The terminal's contents may be wrong: draw all of it.
    Redraw,
    Quit,
}

impl View {
    /// Follows a key. `fits`: how many nodes the screen shows; `all`: how many there are to show.
    pub fn key(&mut self, key: Key, fits: usize, all: usize) -> Next {
        if self.help && key != Key::Char('q') {
            self.help = false;
            return Next::Draw;
        }
        match key {
            Key::Char('q') => return Next::Quit,
            Key::Enter => return Next::Redraw,
            Key::Char('h') => self.help = true,
            Key::Char('v') => self.numbering = Numbering::Vertical,
            Key::Char('V') => self.numbering = Numbering::Tight,
            Key::Char('w') => self.numbering = Numbering::Horizontal,
            Key::Char('a') => self.numbering = Numbering::Automatic,
            Key::Char('s') => self.shown = Shown::Speed,
            Key::Char('m') if self.shown == Shown::Memory => self.shown = Shown::Swap,
            Key::Char('m') => self.shown = Shown::Memory,
            Key::Char('f') => self.shown = Shown::Frozen,
            Key::Char('c') => self.shown = Shown::Cores,
            Key::Char('l') => self.shown = Shown::Load,
            Key::Char('d') => self.dead = true,
            Key::Char('D') => self.dead = false,
            Key::Char('t') => self.count = !self.count,
            Key::Right => self.first = self.first.saturating_add(1),
            Key::Left => self.first = self.first.saturating_sub(1),
            Key::Char('n') => self.first = self.first.saturating_add(fits),
            Key::Char('p') => self.first = self.first.saturating_sub(fits),
            Key::Char(_) => {}
        }
        self.first = self.first.min(all.saturating_sub(fits));
        Next::Draw
    }

    /// The nodes that are shown, on this screen or beside it.
    pub fn chosen<'a>(&self, nodes: &'a [Node]) -> Vec<&'a Node> {
        nodes
            .iter()
            .filter(|node| node.alive || self.dead)
            .collect()
    }
}

/// The help screen.
pub const HELP: &[&str] = &[
    "l      load (1.00: one process that computes on a standard processor)",
    "s      speed of the processors (10000: standard)",
    "m      memory: # used, + free",
    "m m    swap space, the same way",
    "f      frozen processes",
    "c      cores",
    "",
    "w      numbers from left to right",
    "v      numbers downwards: more nodes on the screen",
    "V      and no space between the bars: most nodes",
    "a      whichever shows all nodes",
    "d  D   also nodes that do not respond; only those that do",
    "t      how many nodes and processors there are",
    "",
    "right  left    one node on, one node back",
    "n  p           one screen on, one screen back",
    "Enter          draw the screen anew",
    "q              quit",
    "",
    "any key: back to the nodes",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn press(view: &mut View, keys: &str) -> Next {
        let mut next = Next::Draw;
        for key in keys.chars() {
            next = view.key(Key::Char(key), 10, 100);
        }
        next
    }

    #[test]
    fn keys_choose_what_is_shown() {
        let mut view = View::default();
        for (keys, shown) in [
            ("m", Shown::Memory),
            ("m", Shown::Swap),
            ("m", Shown::Memory),
            ("lmm", Shown::Swap),
            ("s", Shown::Speed),
            ("f", Shown::Frozen),
            ("c", Shown::Cores),
            ("l", Shown::Load),
        ] {
            press(&mut view, keys);
            assert_eq!(view.shown, shown, "{keys}");
        }
        press(&mut view, "dtV");
        assert!(view.dead && view.count && view.numbering == Numbering::Tight);
        press(&mut view, "Dta");
        assert!(!view.dead && !view.count && view.numbering == Numbering::Automatic);
        assert_eq!(press(&mut view, "q"), Next::Quit);
        assert_eq!(view.key(Key::Enter, 10, 100), Next::Redraw);
    }

    #[test]
    fn one_cannot_go_beyond_the_nodes() {
        let mut view = View::default();
        view.key(Key::Left, 10, 100);
        assert_eq!(view.first, 0);
        press(&mut view, "nn");
        view.key(Key::Right, 10, 100);
        assert_eq!(view.first, 21);
        press(&mut view, "nnnnnnnnnnnn");
        assert_eq!(view.first, 90);
        press(&mut view, "p");
        assert_eq!(view.first, 80);
        // The screen has become large.
        view.key(Key::Right, 200, 100);
        assert_eq!(view.first, 0);
    }

    #[test]
    fn help_goes_with_any_key() {
        let mut view = View::default();
        press(&mut view, "h");
        assert!(view.help);
        press(&mut view, "m");
        assert_eq!((view.help, view.shown), (false, Shown::Load));
    }
}
