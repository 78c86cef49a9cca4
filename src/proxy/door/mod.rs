//! Who may enter a cluster, and how long they may stay.

pub(super) mod doorman;
pub(super) mod gate;
pub(super) mod stay;
