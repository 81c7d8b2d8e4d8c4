//! Figures, and how they are shown.

use serde::Serialize;

use super::stats::{Pairs, Spread};

/// Which way a figure is good, and how far it is to get.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum Reach {
    AtMost(f64),
    AtLeast(f64),
    /// As low as can be.
    Print,
}

impl Reach {
    fn holds(self, value: f64) -> Option<bool> {
        match self {
            Reach::AtMost(limit) => Some(value <= limit),
            Reach::AtLeast(limit) => Some(value >= limit),
            Reach::Print => None,
        }
    }
}

/// Where the two sides of a figure ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Placement {
    /// Both on one CPU.
    One,
    /// Home on one, the other node on another.
    Two,
    /// It makes no difference.
    Any,
}

/// What a figure is a ratio of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Ratio {
    /// Ours by theirs.
    Of,
    /// Ours minus theirs.
    Added,
    /// There is no other side.
    Alone,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub what: &'static str,
    /// What it is compared with; empty when there is no other side.
    pub against: &'static str,
    pub placement: Placement,
    pub kind: Ratio,
    /// The figure: the middle one of all rounds, and the quartiles.
    pub value: f64,
    pub low: f64,
    pub high: f64,
    /// The raw figures of both sides, in `unit`.
    pub ours: f64,
    pub theirs: Option<f64>,
    pub unit: &'static str,
    pub reach: Reach,
    /// `None` when there is nothing to reach.
    pub reached: Option<bool>,
    /// How fast the program ran, in each tenth of a second, by how fast it runs alone; empty where that is not the point.
    pub curve: Vec<f64>,
}

/// What is known of a figure before it is measured.
#[derive(Clone, Copy, Debug)]
pub struct About {
    pub name: &'static str,
    pub what: &'static str,
    pub against: &'static str,
    pub unit: &'static str,
    pub reach: Reach,
}

impl Figure {
    /// A ratio, or a difference.
    pub fn compared(
        about: About,
        placement: Placement,
        kind: Ratio,
        pairs: &Pairs,
    ) -> Option<Figure> {
        let (ours, theirs) = (pairs.ours()?, pairs.theirs()?);
        let value = match kind {
            Ratio::Of => pairs.ratio()?,
            Ratio::Added => pairs.difference()?,
            Ratio::Alone => ours,
        };
        let theirs = Some(theirs.median);
        Some(Figure {
            theirs,
            ..Figure::made(about, placement, kind, value, ours.median)
        })
    }

    /// A figure of one side only.
    pub fn alone(about: About, placement: Placement, value: Spread) -> Figure {
        Figure::made(about, placement, Ratio::Alone, value, value.median)
    }

    fn made(about: About, placement: Placement, kind: Ratio, value: Spread, ours: f64) -> Figure {
        Figure {
            name: about.name,
            what: about.what,
            against: about.against,
            placement,
            kind,
            value: value.median,
            low: value.low,
            high: value.high,
            ours,
            theirs: None,
            unit: about.unit,
            reach: about.reach,
            reached: about.reach.holds(value.median),
            curve: Vec::new(),
        }
    }

    /// The line of the table.
    pub fn line(&self) -> String {
        let placement = match self.placement {
            Placement::One => "one CPU",
            Placement::Two => "two CPUs",
            Placement::Any => "",
        };
        let unit = match self.kind {
            Ratio::Of => "",
            Ratio::Added | Ratio::Alone => self.unit,
        };
        let spread = if self.low == self.high {
            String::new()
        } else {
            format!("({}-{})", short(self.low), short(self.high))
        };
        let raw = match self.theirs {
            Some(theirs) => format!("{} / {} {}", short(self.ours), short(theirs), self.unit),
            None => String::new(),
        };
        let reach = match self.reach {
            Reach::AtMost(limit) => format!("<= {limit}"),
            Reach::AtLeast(limit) => format!(">= {limit}"),
            Reach::Print => String::new(),
        };
        let reached = match self.reached {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        let value = format!("{} {unit}", short(self.value));
        let line = format!(
            "{:<14} {placement:<8} {value:>10} {spread:<15} {reach:<8} {reached:<3} {raw:<24} {}",
            self.name, self.what
        );
        let line = match self.against {
            "" => line,
            against => format!("{line}, against {against}"),
        };
        let curve: Vec<String> = self.curve.iter().map(|part| format!("{part:.2}")).collect();
        match curve.is_empty() {
            true => line,
            false => format!(
                "{line}\n    its speed by tenths of a second: {}",
                curve.join(" ")
            ),
        }
    }
}

/// What the columns are.
pub fn heading() -> String {
    format!(
        "{:<14} {:<8} {:>10} {:<15} {:<8} {:<3} {:<24} what",
        "name", "on", "figure ", "quartiles", "reach", "", "ours / theirs"
    )
}

/// Three digits.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: About = About {
        name: "call",
        what: "a call",
        against: "another",
        unit: "us",
        reach: Reach::AtMost(1.5),
    };

    #[test]
    fn a_figure_says_whether_it_is_reached() {
        let mut pairs = Pairs::default();
        pairs.add(3.0, 2.0);
        let figure = Figure::compared(ABOUT, Placement::Two, Ratio::Of, &pairs).unwrap();
        assert_eq!((figure.value, figure.reached), (1.5, Some(true)));
        let figure = Figure::compared(ABOUT, Placement::Two, Ratio::Added, &pairs).unwrap();
        assert_eq!((figure.value, figure.theirs), (1.0, Some(2.0)));
        assert!(Figure::compared(ABOUT, Placement::One, Ratio::Of, &Pairs::default()).is_none());
        let least = About {
            reach: Reach::AtLeast(0.5),
            ..ABOUT
        };
        assert_eq!(
            Figure::alone(least, Placement::Any, Spread::exact(0.4)).reached,
            Some(false)
        );
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [1234.5, 12.345, 1.2345, 0.12345].map(short);
        assert_eq!(shown, ["1234", "12.3", "1.23", "0.123"]);
    }
}
