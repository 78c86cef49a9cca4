//! culling
