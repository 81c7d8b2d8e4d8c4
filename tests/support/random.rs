//! Chance that can be repeated: a failing test says its seed.

/// xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.max(1))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number from 0 to `end - 1`.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }
}

/// The seed that this variable of the environment gives, or a fresh one; printed.
pub fn seed(variable: &str) -> u64 {
    let given = std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(mos::sys::unix::random_u64);
    println!("{variable}={seed}");
    seed
}
