//! The installation key, in a file that only its owner can read.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::domain::Keyring;

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("secret.key")
}

/// The key of this data folder.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn load(data_dir: &Path) -> anyhow::Result<Keyring> {
    let path = path(data_dir);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the installation key {}", path.display()))?;
    Keyring::from_hex(&text).with_context(|| format!("{} holds no key", path.display()))
}

/// The key of this data folder, made at random the first time.
pub(super) fn load_or_make(data_dir: &Path) -> anyhow::Result<Keyring> {
    let path = path(data_dir);
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(mut file) => {
            let key: [u8; 32] = rand::random();
            file.write_all(hex::encode(key).as_bytes()).context("cannot write the installation key")?;
            file.sync_all().context("cannot write the installation key")?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).context("cannot make the installation key"),
    }
    load(data_dir)
}
