//! Numbers that look random and are the same for the same seed.

/// A generator (splitmix64).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to less than `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// From 0 to less than 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Exponential with this mean: times between events that do not depend on each other.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Pareto with exponent `alpha` between `least` and `most`: lives of processes, of which few are long and make up most of
    /// the work.
    pub fn pareto(&mut self, alpha: f64, least: f64, most: f64) -> f64 {
        let tail = (least / most).powf(alpha);
        let share = 1.0 - self.unit() * (1.0 - tail);
        least * share.powf(-1.0 / alpha)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_right() {
        let mut random = Random::new(1);
        let mean = |mut draw: Box<dyn FnMut() -> f64>| {
            (0..100_000).map(|_| draw()).sum::<f64>() / 100_000.0
        };
        let mut other = random.clone();
        assert!((mean(Box::new(move || other.unit())) - 0.5).abs() < 0.01);
        let mut other = random.clone();
        assert!((mean(Box::new(move || other.exponential(3.0))) - 3.0).abs() < 0.1);
        let lives: Vec<f64> = (0..1000).map(|_| random.pareto(1.1, 2.0, 500.0)).collect();
        assert!(lives.iter().all(|life| (2.0..=500.0).contains(life)));
        let median = 2.0 * 2f64.powf(1.0 / 1.1);
        let below = lives.iter().filter(|life| **life < median).count();
        assert!((450..550).contains(&below), "{below}");
    }
}
