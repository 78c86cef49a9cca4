//! PgBouncer between slipway and its Postgres.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::{User, geteuid};
use slipway::service::Service;
use slipway::service::routes::Router;
use slipway::store::{Store, StoreError, listen};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::harness::{NO_CAPS, database, eventually, launch, server, subject};

struct Bouncer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bouncer {
    /// One that runs, with settings beside those that it cannot do without.
    async fn with(settings: &str) -> Self {
        let (behind, _) = server();
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
        let host = behind.get_socket().map_or(behind.get_host().to_owned(), |folder| folder.display().to_string());
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={host} port={} user={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\n{settings}\n",
            behind.get_port(),
            behind.get_username(),
        );
        std::fs::write(&file, text).expect("written");
        // It refuses to run as root.
        let run_as =
            geteuid().is_root().then(|| User::from_name("nobody").expect("users").expect("a user nobody"));
        let mut command = Command::new("/usr/sbin/pgbouncer");
        command.arg(&file).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(user) = run_as {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let child = command.spawn().expect("PgBouncer is installed");
        eventually("PgBouncer to listen", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok())
            .await;
        Self { child, port, _folder: folder }
    }

    /// The address of a database by way of it.
    fn url(&self, direct: &str) -> String {
        let name = direct.split('?').next().and_then(|address| address.rsplit('/').next()).expect("a database");
        format!("postgres://anybody@127.0.0.1:{}/{name}", self.port)
    }
}

#[tokio::test]
async fn a_pool_of_transactions_is_refused_with_what_to_do() {
    let (_, direct) = database().await;
    for lends in ["server_round_robin = 0", "server_round_robin = 1"] {
        let bouncer = Bouncer::with(&format!("pool_mode = transaction\n{lends}")).await;
        let url = bouncer.url(&direct);
        for round in 0..3 {
            let error = Store::connect(&url, 4).await.expect_err(lends);
            assert!(matches!(error, StoreError::Pooled), "{lends}, round {round}: {error:?}");
            assert!(error.to_string().contains("pool_mode = session"), "{error}");
        }
        let proxy = Store::to(&url, 2).expect("an address");
        let error = Router::default().load(&proxy, |_| ()).await.expect_err("the proxy refuses it as well");
        assert!(matches!(error, StoreError::Pooled), "{error:?}");
    }
}

#[tokio::test]
async fn a_pool_of_sessions_is_as_good_as_none() {
    let (_, direct) = database().await;
    let bouncer = Bouncer::with("pool_mode = session\ndefault_pool_size = 50").await;
    let url = bouncer.url(&direct);
    let [writer, reader] =
        [Store::connect(&url, 4).await, Store::connect(&url, 4).await].map(|store| store.expect("it answers"));
    writer.migrate().await.expect("nothing to migrate");
    let (ring, mut bell) = watch::channel(());
    let _ear = tokio::spawn(listen::listen(reader.clone(), ring));
    bell.changed().await.expect("it listens");
    let service = Service::new(writer.clone(), NO_CAPS);
    for _ in 0..20 {
        service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
    }
    bell.borrow_and_update();
    writer.notify().await.expect("it answers");
    timeout(Duration::from_secs(10), bell.changed()).await.expect("notifications arrive").expect("it listens");
    assert_eq!(reader.log_size().await.expect("it answers").1, 20);
}
