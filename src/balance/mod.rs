//! Placement and migration policy: pure, no clock, socket, file or random source.
