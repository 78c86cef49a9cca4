//! A full disk: nothing that was told is lost, nothing is half done, and all goes on when there is room again.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{User, geteuid};
use slipway::service::ExecuteError;
use slipway::store::append::RequestKey;
use slipway::store::{Store, StoreError};

use crate::harness::{launch, subject};
use crate::killed::launched;
use crate::log::{Reader, service, whole};
use crate::outage::migrated;
use crate::postgres::Server;

/// A disk of a few megabytes.
struct Disk(PathBuf);

impl Disk {
    fn new(place: PathBuf) -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("only root may mount".to_owned());
        }
        std::fs::create_dir(&place).map_err(|error| error.to_string())?;
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&place).output();
        let mount = mount.map_err(|error| error.to_string())?;
        if !mount.status.success() {
            return Err(String::from_utf8_lossy(&mount.stderr).into_owned());
        }
        let user = User::from_name("postgres").expect("users").expect("a user postgres");
        chown(&place, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("handed over");
        Ok(Self(place))
    }

    fn fill(&self) {
        let filled = Command::new("dd").args(["if=/dev/zero", "bs=4k", &format!("of={}", self.filler())]).output();
        assert!(!filled.expect("dd runs").status.success(), "there is room left");
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("removed");
    }

    fn filler(&self) -> String {
        self.0.join("filler").display().to_string()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A database on the disk, whose server keeps the rest elsewhere.
async fn on_disk(server: &Server, disk: &Path) -> Store {
    let pool = sqlx::PgPool::connect(&server.url()).await.expect("Postgres answers");
    let space = format!("CREATE TABLESPACE small LOCATION '{}'", disk.display());
    for statement in [space, "CREATE DATABASE small TABLESPACE small".to_owned()] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&pool).await.expect("made");
    }
    pool.close().await;
    let store = Store::connect(&server.url().replacen("/postgres?", "/small?", 1), 8).await.expect("it answers");
    store.migrate().await.expect("the migrations run");
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_nothing_is_half_done_and_all_goes_on_when_there_is_room() {
    let folder = crate::outage::folder();
    let disk = match Disk::new(folder.path().join("disk")) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("WITHOUT the full disk: {why}"),
    };
    let server = Server::new(folder.path());
    drop(migrated(&server).await);
    let store = on_disk(&server, &disk.0).await;
    let (service, reader) = (service(&store), Reader::of(store.clone()));
    let first = launched(&service).await;
    disk.fill();
    // What there was room for in pages that are there already is done.
    let key = |number: usize| RequestKey { key: format!("click-{number}"), fingerprint: [1; 32] };
    let mut done = 1;
    let error = loop {
        match service.launch(launch("alice"), subject("alice"), Some(&key(done))).await {
            Ok(_) => done += 1,
            Err(error) => break error,
        }
        assert!(done < 10_000, "the disk is never full");
    };
    let ExecuteError::Store(StoreError::Database { source, .. }) = &error else { panic!("{error}") };
    let code = source.as_database_error().and_then(|raised| raised.code());
    assert_eq!(code.as_deref(), Some("53100"), "{error}");
    let log = whole(&store).await;
    assert_eq!(log.len(), done + 1, "what was told, and no more; the first was admitted as well");
    reader.has(&log).await;
    assert!(store.cluster(first).await.expect("it can be read").is_some());

    disk.make_room();
    assert!(!service.launch(launch("alice"), subject("alice"), Some(&key(done))).await.expect("room").repeated);
    assert!(service.launch(launch("alice"), subject("alice"), Some(&key(done))).await.expect("room").repeated);
    let log = whole(&store).await;
    assert_eq!(log.len(), done + 2);
    reader.has(&log).await;
    assert_eq!(store.broken_chains().await.expect("a check"), Vec::<String>::new());
    assert_eq!(store.wrong_usage().await.expect("a check"), Vec::<String>::new());
    let mode = std::fs::metadata(&disk.0).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "it was Postgres that wrote there");
}
