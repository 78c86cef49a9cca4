//! Fetching course materials with git.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::LocalConfig;
use super::folder::{Folder, Outcome};
use super::process::{CLUSTER_MARK, ROOT_MARK, SPAWN_MARK};
use crate::domain::{ClusterId, Repository};

/// One repository on its way into one cluster.
pub(super) struct Fetch<'a> {
    pub config: &'a LocalConfig,
    pub folder: &'a Folder,
    pub id: ClusterId,
    pub repository: &'a Repository,
    /// Names the folder it is made in; unique among those of this cluster.
    pub number: usize,
    /// Carried by its processes, so that they are known to be wanted.
    pub mark: &'a str,
}

impl Fetch<'_> {
    /// Puts the repository into the student's folder, or says why not. Interrupted and called again, it ends the same.
    pub async fn run(&self) -> Outcome {
        let patience = self.config.materials_within;
        match tokio::time::timeout(patience, self.place()).await {
            Ok(Ok(commit)) => Outcome::Cloned { commit },
            Ok(Err(why)) => Outcome::Failed { why },
            Err(_) => Outcome::Failed { why: format!("it took longer than {} seconds", patience.as_secs()) },
        }
    }

    async fn place(&self) -> Result<String, String> {
        let target = self.folder.home().join(self.repository.folder());
        if target.exists() {
            return self.update(&target).await;
        }
        // Elsewhere first: what is in the student's folder is then always complete.
        let new = self.folder.run().join(format!("materials-{}", self.number));
        remove(&new).await?;
        if let Err(shallow) = self.clone_shallow(&new).await {
            tracing::debug!(cluster = %self.id, repository = %self.repository, why = shallow, "no shallow clone; trying a full one");
            remove(&new).await?;
            self.clone_fully(&new).await?;
        }
        let commit = self.git(&new, &["rev-parse", "HEAD"]).await?;
        tokio::fs::rename(&new, &target)
            .await
            .map_err(|error| format!("it could not be put into place: {error}"))?;
        Ok(commit)
    }

    /// Just the wanted commit. Some servers cannot do that, nor give a commit by its name.
    async fn clone_shallow(&self, new: &Path) -> Result<(), String> {
        let url = self.repository.url();
        let into = text(new)?;
        match self.repository.reference() {
            Some(commit) if is_commit(commit) => {
                self.git(&self.folder.run(), &["init", "--quiet", "--", into]).await?;
                self.git(new, &["remote", "add", "--", "origin", url]).await?;
                self.git(new, &["fetch", "--quiet", "--depth=1", "--", "origin", commit]).await?;
                self.git(new, &["checkout", "--quiet", "--detach", "FETCH_HEAD"]).await?;
            }
            Some(reference) => {
                let branch = format!("--branch={reference}");
                self.git(&self.folder.run(), &["clone", "--quiet", "--depth=1", &branch, "--", url, into]).await?;
            }
            None => {
                self.git(&self.folder.run(), &["clone", "--quiet", "--depth=1", "--", url, into]).await?;
            }
        }
        Ok(())
    }

    async fn clone_fully(&self, new: &Path) -> Result<(), String> {
        self.git(&self.folder.run(), &["clone", "--quiet", "--", self.repository.url(), text(new)?]).await?;
        if let Some(reference) = self.repository.reference() {
            self.git(new, &["checkout", "--quiet", reference, "--"]).await?;
        }
        Ok(())
    }

    /// The folder is there already: moves it forward if nothing of the student's is in the way, else leaves it.
    async fn update(&self, target: &Path) -> Result<String, String> {
        let taken =
            || format!("the folder {} is there already and is not a clone of it", self.repository.folder());
        let origin = self.git(target, &["config", "--get", "remote.origin.url"]).await.map_err(|_| taken())?;
        // git looks into the folders above too.
        if origin != self.repository.url() || !target.join(".git").exists() {
            return Err(taken());
        }
        let reference = self.repository.reference().unwrap_or("HEAD");
        let fetched = self.git(target, &["fetch", "--quiet", "--", "origin", reference]).await;
        // git itself refuses to overwrite changed files and to merge what has gone another way.
        let moved = match fetched {
            Ok(_) => self.git(target, &["merge", "--quiet", "--ff-only", "FETCH_HEAD"]).await,
            Err(why) => Err(why),
        };
        if let Err(why) = moved {
            tracing::info!(cluster = %self.id, repository = %self.repository, why, "the materials stay as they are");
        }
        self.git(target, &["rev-parse", "HEAD"]).await
    }

    /// Runs git and returns what it printed, or its complaint.
    async fn git(&self, directory: &Path, arguments: &[&str]) -> Result<String, String> {
        let mut command = std::process::Command::new("git");
        command
            // Never a local path or another program, wherever the server may redirect to.
            .args([
                "-c",
                "protocol.allow=never",
                "-c",
                "protocol.http.allow=always",
                "-c",
                "protocol.https.allow=always",
            ])
            .args([
                "-c",
                "core.hooksPath=/dev/null",
                "-c",
                "advice.detachedHead=false",
                "-c",
                "credential.helper=",
            ])
            // A server that sends nothing any more is given up.
            .args(["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=30"])
            .args(arguments)
            .env_clear()
            .envs(self.config.environment.iter().map(|(name, value)| (name, value)))
            .env("HOME", self.folder.run())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .env(ROOT_MARK, &self.config.root)
            .env(CLUSTER_MARK, self.id.to_string())
            .env(SPAWN_MARK, self.mark)
            .current_dir(directory);
        if let Some((user, group)) = self.config.run_as {
            std::os::unix::process::CommandExt::uid(&mut command, user);
            std::os::unix::process::CommandExt::gid(&mut command, group);
        }
        let output = tokio::process::Command::from(command)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| format!("git could not be started: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(complaint(&String::from_utf8_lossy(&output.stderr)))
    }
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| "the data folder's path is not UTF-8".to_owned())
}

fn is_commit(reference: &str) -> bool {
    reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The line of git's that says what is wrong, cut to a length that an event may keep.
fn complaint(stderr: &str) -> String {
    let line = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")))
        .next_back()
        .or_else(|| stderr.lines().rfind(|line| !line.trim().is_empty()))
        .unwrap_or("git failed and did not say why");
    line.chars().take(300).collect()
}

async fn remove(path: &PathBuf) -> Result<(), String> {
    match tokio::fs::remove_dir_all(path).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("what an earlier try left could not be removed: {error}")),
    }
}

/// How long a launch waits for its materials before it goes on without them.
pub(super) const WAITED_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_gits_own_sentence() {
        let said = "Cloning into 'x'...\nfatal: repository 'http://h/x/' not found\n";
        assert_eq!(complaint(said), "repository 'http://h/x/' not found");
        assert_eq!(complaint("Killed\n\n"), "Killed");
        assert_eq!(complaint(""), "git failed and did not say why");
    }

    #[test]
    fn only_a_whole_hash_is_a_commit() {
        assert!(is_commit("0123456789abcdef0123456789abcdef01234567"));
        assert!(!is_commit("0123456"));
        assert!(!is_commit("main"));
    }
}
