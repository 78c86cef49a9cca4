//! A Postgres server that a test stops, starts, and replaces by an older state of itself.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::disallowed_methods, reason = "tests read their configuration")]

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{User, geteuid};
use std::os::unix::process::CommandExt;

pub struct Server {
    folder: PathBuf,
    programs: PathBuf,
    run_as: Option<User>,
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.folder.join("data/postmaster.pid").exists() {
            self.control(&["stop", "-m", "immediate", "-w"]);
        }
    }
}

/// Those on the PATH, where `ops/check` puts them, else the newest that is installed.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let mut installed: Vec<_> = installed.map(|entry| entry.expect("an entry").path().join("bin")).collect();
    installed.sort();
    std::env::split_paths(&path)
        .chain(installed.into_iter().rev())
        .find(|programs| programs.join("initdb").exists())
        .expect("a PostgreSQL server is installed")
}

/// With its owner, as the server's user has to read it.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(copied.success());
}

impl Server {
    /// A new server that runs, alone in its folder.
    pub fn new(folder: &Path) -> Self {
        Self::named(folder, "pg")
    }

    /// One of several.
    pub fn named(folder: &Path, name: &str) -> Self {
        let run_as =
            geteuid().is_root().then(|| User::from_name("postgres").expect("users").expect("a user postgres"));
        let server = Self { folder: folder.join(name), programs: programs(), run_as };
        server.make_folder();
        server.run("initdb", &["-U", "slipway", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
        server.start();
        server
    }

    fn make_folder(&self) {
        std::fs::create_dir(&self.folder).expect("a folder");
        if let Some(user) = &self.run_as {
            chown(&self.folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("handed over");
        }
    }

    pub fn url(&self) -> String {
        format!("postgres:///postgres?host={}&user=slipway", self.folder.display())
    }

    pub fn start(&self) {
        let options = format!("-c listen_addresses='' -c unix_socket_directories='{}'", self.folder.display());
        let log = self.folder.join("log").display().to_string();
        self.control(&["start", "-w", "-t", "60", "-l", &log, "-o", &options]);
    }

    pub fn stop(&self) {
        self.control(&["stop", "-m", "fast", "-w"]);
    }

    /// As if its machine had lost power.
    pub fn crash(&self) {
        self.control(&["stop", "-m", "immediate", "-w"]);
    }

    /// Everything in it, as a file.
    pub fn dump(&self) -> PathBuf {
        let file = self.folder.join("dump");
        self.client("pg_dump", &["-Fc", "-f", &file.display().to_string()]);
        file
    }

    pub fn restore_dump(&self, file: &Path) {
        self.client("pg_restore", &[&file.display().to_string()]);
    }

    fn client(&self, program: &str, arguments: &[&str]) {
        let mut command = self.command(program);
        command.arg("-h").arg(&self.folder).args(["-U", "slipway", "-d", "postgres"]).args(arguments);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {told}");
    }

    /// Notes the state of a server that is stopped, for [`restore`](Self::restore).
    pub fn back_up(&self) {
        copy(&self.folder.join("data"), &self.folder.join("backup"));
    }

    /// Puts the noted state in the place of that of the server, which is stopped.
    pub fn restore(&self) {
        let data = self.folder.join("data");
        std::fs::remove_dir_all(&data).expect("removed");
        std::fs::rename(self.folder.join("backup"), data).expect("in place");
    }

    /// A standby of this server, which is stopped and has to be started again. It has what the server has now, and follows it once both
    /// run.
    pub fn standby(&self, name: &str) -> Self {
        let folder = self.folder.with_file_name(name);
        let standby = Self { folder, programs: self.programs.clone(), run_as: self.run_as.clone() };
        standby.make_folder();
        copy(&self.folder.join("data"), &standby.folder);
        let from = format!("primary_conninfo = 'host={} user=slipway'\n", self.folder.display());
        for (file, text) in [("standby.signal", ""), ("postgresql.auto.conf", &from)] {
            std::fs::write(standby.folder.join("data").join(file), text).expect("written");
        }
        standby
    }

    /// As an archive of write-ahead logs does for all that restore from it.
    pub fn hand_timelines_to(&self, other: &Self) {
        let logs = |server: &Self| server.folder.join("data/pg_wal");
        for file in std::fs::read_dir(logs(self)).expect("its folder").map(|file| file.expect("a file").path()) {
            if file.extension().is_some_and(|extension| extension == "history") {
                copy(&file, &logs(other));
            }
        }
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        self.control(&["promote", "-w"]);
    }

    fn control(&self, arguments: &[&str]) {
        self.run("pg_ctl", arguments);
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = self.command(program);
        command.arg("-D").arg(self.folder.join("data")).args(arguments);
        assert!(command.status().expect("it runs").success(), "{program} {arguments:?}");
    }

    fn command(&self, program: &str) -> Command {
        // Not all who have a server's programs have its clients': those on the PATH are as good, if not older than it is.
        let beside = self.programs.join(program);
        let mut command = if beside.exists() { Command::new(beside) } else { Command::new(program) };
        command.current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(user) = &self.run_as {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}
