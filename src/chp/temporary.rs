//! Files that go with the process.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A file of this process's, removed with it unless another has put its own there meanwhile.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    identity: (u64, u64),
}

impl Temporary {
    /// What has just been made there.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(&fs::metadata(path)?) })
    }

    /// One that holds the process id.
    pub(super) fn pid(path: &Path) -> anyhow::Result<Self> {
        let id = std::process::id().to_string();
        // A new file, not another content of one that a process which still runs would remove.
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{id}"));
        fs::write(&unfinished, id)
            .and_then(|()| fs::rename(&unfinished, path))
            .and_then(|()| Self::of(path))
            .with_context(|| format!("cannot write --pid-file {}", path.display()))
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let ours = fs::metadata(&self.path).is_ok_and(|there| identity(&there) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove a file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_file_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pid");
        let (one, other) =
            (Temporary::pid(&path).expect("written"), Temporary::pid(&path).expect("written again"));
        drop(one);
        assert_eq!(fs::read_to_string(&path).expect("the other's"), std::process::id().to_string());
        drop(other);
        assert!(!path.exists());
    }
}
