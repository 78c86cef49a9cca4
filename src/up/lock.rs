//! One `slipway up` per data folder.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail};

/// Held until it is dropped or the process ends, however it ends.
///
/// # Errors
/// When another process holds it.
pub(super) fn take(data_dir: &Path) -> anyhow::Result<File> {
    let file = File::create(data_dir.join("lock")).context("cannot make the lock file of the data folder")?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("another slipway runs on {}: stop it, or choose another --data-dir", data_dir.display())
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error).context("cannot lock the data folder"),
    }
}
