//! The Python environment that every cluster of this machine runs in, made once.

use std::path::{Path, PathBuf};
/// x
pub async fn prepare(_data: &Path, _progress: impl Fn(&str)) -> Result<PathBuf, String> {
    Err("x".into())
}
