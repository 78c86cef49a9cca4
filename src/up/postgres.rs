//! A Postgres of slipway's own, from the server programs that the machine has.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use nix::unistd::geteuid;
use tokio::process::Command;
use tokio::time::Instant;

use super::user;

/// Linux takes socket paths of 107 bytes; `/.s.PGSQL.5432` and more is put behind the folder.
const LONGEST_FOLDER: usize = 85;

/// Settings at each start. No TCP: only who may enter the folder may connect.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "''"),
    ("max_connections", "100"),
    ("shared_buffers", "128MB"),
    ("max_prepared_transactions", "0"),
    ("log_min_messages", "warning"),
];

/// A running server.
pub(super) struct Embedded {
    programs: PathBuf,
    folder: PathBuf,
    run_as: Option<(u32, u32)>,
}

/// How to connect to the server of this data folder.
pub fn url(data_dir: &Path) -> String {
    format!("postgres:///postgres?host={}&user=slipway", folder(data_dir).display())
}

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("postgres")
}

impl Embedded {
    /// Starts the server, made new the first time; takes over one that a killed slipway left running.
    pub(super) async fn start(data_dir: &Path, say: &impl Fn(&str)) -> anyhow::Result<Self> {
        let began = Instant::now();
        let folder = folder(data_dir);
        let length = folder.as_os_str().len();
        if length > LONGEST_FOLDER {
            bail!(
                "the path {} is too long for a socket ({length} of {LONGEST_FOLDER} bytes): choose a shorter --data-dir",
                folder.display()
            );
        }
        let run_as = if geteuid().is_root() { Some(unprivileged()?) } else { None };
        let server = Self { programs: find_programs(&folder)?, folder, run_as };
        if !server.folder.join("PG_VERSION").exists() {
            say("making a new database");
            server.make().await?;
        }
        if server.is_running().await? {
            say("Postgres is running already; going on with it");
        } else {
            server.launch().await?;
            say(&format!("Postgres is up ({:.1} s)", began.elapsed().as_secs_f64()));
        }
        Ok(server)
    }

    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        self.run("pg_ctl", &["stop", "-m", "fast", "-w", "-t", "60"]).await.map(drop)
    }

    async fn make(&self) -> anyhow::Result<()> {
        // Made under another name, so that an interrupted start leaves no half of a database.
        let unfinished = self.folder.with_extension("unfinished");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).context("cannot remove an unfinished database")?;
        }
        std::fs::create_dir_all(&unfinished).context("cannot make the database's folder")?;
        std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o700))
            .context("cannot protect the database's folder")?;
        if let Some((user, group)) = self.run_as {
            chown(&unfinished, Some(user), Some(group)).context("cannot hand over the database's folder")?;
        }
        let making = Self { folder: unfinished.clone(), programs: self.programs.clone(), run_as: self.run_as };
        // Trust: the socket lies in the folder, which only its owner may enter.
        making.run("initdb", &["-U", "slipway", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]).await?;
        std::fs::rename(&unfinished, &self.folder).context("cannot put the database in place")
    }

    async fn launch(&self) -> anyhow::Result<()> {
        let log = self.folder.join("server.log");
        let mut options = format!("-c unix_socket_directories='{}'", self.folder.display());
        for (name, value) in SETTINGS {
            options.push_str(&format!(" -c {name}={value}"));
        }
        let log_text = log.display().to_string();
        self.run("pg_ctl", &["start", "-w", "-t", "60", "-l", &log_text, "-o", &options])
            .await
            .map(drop)
            .with_context(|| format!("Postgres does not start; see {log_text}"))
    }

    async fn is_running(&self) -> anyhow::Result<bool> {
        let status =
            self.command("pg_ctl").arg("status").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        Ok(status.context("cannot run pg_ctl")?.success())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        // The folder that we stand in may be closed to the other user. A group of its own keeps Ctrl-C
        // from the server: it is stopped last, once everything is written.
        command.arg("-D").arg(&self.folder).current_dir("/").stdin(Stdio::null()).process_group(0);
        if let Some((user, group)) = self.run_as {
            command.uid(user).gid(group);
        }
        command
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        // Into a file: the server that pg_ctl leaves behind would keep a pipe open for ever.
        let said = tempfile::tempfile().context("cannot make a temporary file")?;
        let copy = || said.try_clone().context("cannot share a temporary file");
        let status = self.command(program).args(arguments).stdout(copy()?).stderr(copy()?).status().await;
        let status = status.with_context(|| format!("cannot run {program}"))?;
        if status.success() {
            return Ok(());
        }
        use std::io::{Read, Seek};
        let (mut said, mut text) = (said, String::new());
        said.rewind().and_then(|()| said.read_to_string(&mut text)).context("cannot read what was said")?;
        bail!("{program} failed ({status}): {}", text.trim())
    }
}

fn unprivileged() -> anyhow::Result<(u32, u32)> {
    user::ids("postgres").or_else(|_| user::ids("nobody")).context("Postgres refuses to run as root")
}

/// The newest server programs, or for an existing database those of its version.
fn find_programs(folder: &Path) -> anyhow::Result<PathBuf> {
    let wanted = std::fs::read_to_string(folder.join("PG_VERSION")).ok();
    let wanted = wanted.as_deref().map(str::trim);
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, programs)| programs.join("initdb").exists())
        .collect();
    found.sort();
    let fits = |version: u32| wanted.is_none_or(|wanted| wanted == version.to_string());
    match found.into_iter().rev().find(|(version, _)| fits(*version)) {
        Some((_, programs)) => Ok(programs),
        None => bail!(
            "no PostgreSQL {} server is installed: `apt-get install postgresql` brings one, or name a database \
             with --database-url",
            wanted.unwrap_or("(13 or newer)")
        ),
    }
}
