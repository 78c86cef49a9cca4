//! What comes after an upgrade.

pub(super) mod upgrade;
mod websocket;
