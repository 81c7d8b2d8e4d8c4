//! What many rounds say together.

/// A measured quantity: the middle one of its rounds and the quartiles around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub low: f64,
    pub median: f64,
    pub high: f64,
}

impl Spread {
    /// `None` when there is no round.
    pub fn of(rounds: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = rounds.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * (sorted.len() - 1) as f64;
            let (below, above) = (
                sorted[place.floor() as usize],
                sorted[place.ceil() as usize],
            );
            below + (above - below) * place.fract()
        };
        (!sorted.is_empty()).then(|| Spread {
            low: at(0.25),
            median: at(0.5),
            high: at(0.75),
        })
    }

    /// As something that is known exactly.
    pub fn exact(value: f64) -> Spread {
        Spread {
            low: value,
            median: value,
            high: value,
        }
    }
}

/// The two sides of a comparison, round by round: what is measured, and what it is measured against just before.
#[derive(Clone, Debug, Default)]
pub struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    pub fn add(&mut self, ours: f64, theirs: f64) {
        self.0.push((ours, theirs));
    }

    /// In another unit.
    pub fn scaled(self, by: f64) -> Pairs {
        Pairs(
            self.0
                .into_iter()
                .map(|(ours, theirs)| (ours * by, theirs * by))
                .collect(),
        )
    }

    /// Nanoseconds for so many bytes, as millions of bytes a second.
    pub fn speeds(self, bytes: f64) -> Pairs {
        let speed = |ns: f64| bytes * 1e3 / ns;
        Pairs(
            self.0
                .into_iter()
                .map(|(ours, theirs)| (speed(ours), speed(theirs)))
                .collect(),
        )
    }

    pub fn ours(&self) -> Option<Spread> {
        Spread::of(self.0.iter().map(|(ours, _)| *ours))
    }

    pub fn theirs(&self) -> Option<Spread> {
        Spread::of(self.0.iter().map(|(_, theirs)| *theirs))
    }

    /// Of the ratios of all rounds, so that what slows the machine for a while slows both sides.
    pub fn ratio(&self) -> Option<Spread> {
        Spread::of(self.0.iter().map(|(ours, theirs)| ours / theirs))
    }

    /// How much more ours are.
    pub fn difference(&self) -> Option<Spread> {
        Spread::of(self.0.iter().map(|(ours, theirs)| ours - theirs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_between_the_rounds() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0, 5.0]).unwrap();
        assert_eq!((spread.low, spread.median, spread.high), (2.0, 3.0, 4.0));
        assert_eq!(Spread::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of([7.0]), Some(Spread::exact(7.0)));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_slow_time_of_the_machine_does_not_change_the_ratio() {
        let mut pairs = Pairs::default();
        for slow in [1.0, 1.0, 10.0] {
            pairs.add(3.0 * slow, 2.0 * slow);
        }
        assert_eq!(pairs.ratio(), Some(Spread::exact(1.5)));
        assert_eq!(pairs.ours().unwrap().median, 3.0);
    }
}
