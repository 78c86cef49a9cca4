//! Unprivileged users, for what must not run as root.

use anyhow::{Context, bail};
use nix::unistd::{User, geteuid};

/// Whom clusters run as: nobody else when slipway itself is not root.
pub(super) fn for_clusters(name: &str) -> anyhow::Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    ids(name).map(Some)
}

/// The user and group of this name.
pub(super) fn ids(name: &str) -> anyhow::Result<(u32, u32)> {
    match User::from_name(name).context("cannot look up users")? {
        Some(user) => Ok((user.uid.as_raw(), user.gid.as_raw())),
        None => bail!("there is no user {name:?}: make it with `useradd --system {name}`, or name another"),
    }
}
