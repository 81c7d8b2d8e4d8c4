//! What mathematics says of randomized gossip; `docs/GOSSIP.md` derives it. Times are in units of the gossip.

/// A cluster that gossips.
#[derive(Clone, Copy, Debug)]
pub struct Theory {
    pub nodes: f64,
    /// Entries of a message.
    pub window: f64,
    /// Share of datagrams that are lost.
    pub loss: f64,
}

impl Theory {
    /// Messages that a node gets in a unit of time: those that are sent to it, and the answers to its own.
    pub fn rate(&self) -> f64 {
        let arrives = 1.0 - self.loss;
        arrives + arrives * arrives
    }

    /// Nodes that have a piece of news `time` after one had it: logistic growth.
    pub fn informed(&self, time: f64) -> f64 {
        let grown = (self.rate() * time.min(500.0 / self.rate())).exp();
        self.nodes * grown / (self.nodes - 1.0 + grown)
    }

    /// Time until `share` of all nodes have a piece of news that is always passed on.
    pub fn spread(&self, share: f64) -> f64 {
        ((self.nodes - 1.0) * share / (1.0 - share)).ln() / self.rate()
    }

    /// Time until the last of all nodes has it, on the average.
    pub fn spread_to_all(&self) -> f64 {
        2.0 * (self.nodes.ln() + 0.577) / self.rate()
    }

    /// The age up to which reports are passed on: then as many are newer as a message holds.
    pub fn window_age(&self) -> f64 {
        if self.window >= self.nodes {
            return f64::INFINITY;
        }
        (self.window * (self.nodes - 1.0) / (self.nodes - self.window)).ln() / self.rate()
    }

    /// Share of reports that are not older than `age`.
    pub fn not_older(&self, age: f64) -> f64 {
        // A report waits for its node's next turn, up to one unit.
        let steps = 20;
        let waited = (0..steps).map(|step| (f64::from(step) + 0.5) / f64::from(steps));
        waited
            .map(|wait| self.spread_share(age - wait))
            .sum::<f64>()
            / f64::from(steps)
    }

    fn spread_share(&self, time: f64) -> f64 {
        if time < 0.0 {
            return 0.0;
        }
        let limit = self.window_age();
        if time <= limit {
            return self.informed(time) / self.nodes;
        }
        let share = self.window / self.nodes;
        1.0 - (1.0 - share) * (-self.rate() * share * (time - limit)).exp()
    }

    /// The age that `share` of the reports do not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        while self.not_older(high) < share && high < 1e9 {
            high *= 2.0;
        }
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            if self.not_older(middle) < share {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// Average age of a report.
    pub fn mean_age(&self) -> f64 {
        let most = self.quantile(0.999_999);
        let steps = 4000;
        let width = most / f64::from(steps);
        let older = |step: i32| 1.0 - self.not_older((f64::from(step) + 0.5) * width);
        (0..steps).map(older).sum::<f64>() * width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_clusters_follow_the_simple_law() {
        let theory = Theory {
            nodes: 10_000.0,
            window: 24.0,
            loss: 0.0,
        };
        // n / (r w) and the time until a report leaves the windows.
        let simple = 10_000.0 / (2.0 * 24.0) + 24f64.ln() / 2.0 + 0.5;
        assert!(
            (theory.mean_age() / simple - 1.0).abs() < 0.02,
            "{}",
            theory.mean_age()
        );
        assert!((theory.quantile(0.5) / (simple * 2f64.ln()) - 1.0).abs() < 0.02);
    }

    #[test]
    fn small_clusters_know_all_in_logarithmic_time() {
        let theory = Theory {
            nodes: 16.0,
            window: 24.0,
            loss: 0.0,
        };
        assert!((theory.informed(0.0) - 1.0).abs() < 1e-9);
        assert!((theory.spread(0.5) - 15f64.ln() / 2.0).abs() < 1e-9);
        assert!(
            (1.0..3.0).contains(&theory.mean_age()),
            "{}",
            theory.mean_age()
        );
        let lossy = Theory {
            loss: 0.5,
            ..theory
        };
        assert!((lossy.rate() - 0.75).abs() < 1e-9);
        assert!(lossy.mean_age() > 2.0 * theory.mean_age());
    }
}
