//! What nodes know of each other: pure; time comes as ticks, chance as a value.
