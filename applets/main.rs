//! The multi-call binary: acts by `argv[0]`, or by its first argument when called as `mos`.

fn main() {}
