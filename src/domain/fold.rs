//! The version of the fold of events to a state.

/// One more whenever [`evolve`](super::cluster::evolve) makes another state of the same events, or the state's JSON is read
/// otherwise: a state that another version has kept counts for nothing. `tests/golden_fold` pins it.
pub const FOLD: i16 = 1;
