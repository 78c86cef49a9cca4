//! The database goes away and comes back, as it was or as it once was: the proxy serves on and catches up.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;
use slipway::domain::ClusterId;
use tokio::net::TcpStream;

use crate::harness::{begin_epoch, eventually};
use crate::house::House;
use crate::load::{Load, notebook};
use crate::postgres::Server;
use crate::process::{Process, free};

async fn becomes(proxy: &Process, id: ClusterId, routed: bool) {
    let path = format!("/{id}");
    eventually(&format!("{path} to be routed: {routed}"), async || {
        (proxy.has_route(&path).await == routed).then_some(())
    })
    .await;
}

/// The route's last activity as the proxy gives it.
async fn last_activity(proxy: &Process, id: ClusterId) -> String {
    proxy.routes().await[format!("/{id}")]["last_activity"].as_str().expect("a time").to_owned()
}

async fn use_it(proxy: &Process, id: ClusterId) {
    let load = Load::on(proxy.listen, &format!("/{id}"), 2);
    load.goes_on(20).await;
    assert_eq!(load.end().await, []);
}

/// A folder that the database's user may enter.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    folder
}

fn start(folder: &Path, server: &Server) -> Process {
    let snapshot = folder.join("routes.snapshot").display().to_string();
    Process::start(folder, free(), &server.url(), &["--snapshot", &snapshot])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_starts_from_its_snapshot_serves_and_catches_up() {
    let (folder, target) = (folder(), notebook().await);
    let server = Server::new(folder.path());
    let house = House::on(server.url()).await;
    let (kept, stopped) = (house.running(target.address).await, house.running(target.address).await);
    let proxy = start(folder.path(), &server);
    proxy.becomes_ready().await;
    eventually("a snapshot", async || proxy.metric("snapshot_age_seconds").await).await;

    server.stop();
    use_it(&proxy, kept).await;
    let used = last_activity(&proxy, kept).await;
    eventually("activity that cannot be written", async || {
        (proxy.metric("activity_pending").await? == 1.0).then_some(())
    })
    .await;
    assert_eq!(proxy.readiness().await, Some(200), "it serves on");
    proxy.stop().await;

    let proxy = start(folder.path(), &server);
    proxy.becomes_ready().await;
    assert!(proxy.log().contains("serving the routes of the snapshot"), "{}", proxy.log());
    assert_eq!(last_activity(&proxy, kept).await, used, "last uses are in the snapshot");
    assert!(proxy.has_route(&format!("/{stopped}")).await);
    assert_eq!(proxy.metric("log_lag_seconds").await, None, "nobody knows");

    server.start();
    let house = House::on(server.url()).await;
    house.stop(stopped).await;
    let new = house.running(target.address).await;
    becomes(&proxy, new, true).await;
    becomes(&proxy, stopped, false).await;
    use_it(&proxy, kept).await;
    eventually("what was used meanwhile to be written down", async || {
        let row = house.service.store().cluster(kept).await.ok()??;
        let written = row.last_activity?.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        (written == last_activity(&proxy, kept).await && written > used).then_some(())
    })
    .await;
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_written_before_a_restart_is_written_after_it() {
    let (folder, target) = (folder(), notebook().await);
    let server = Server::new(folder.path());
    let house = House::on(server.url()).await;
    let id = house.running(target.address).await;
    let proxy = start(folder.path(), &server);
    proxy.becomes_ready().await;
    server.stop();
    use_it(&proxy, id).await;
    let used = last_activity(&proxy, id).await;
    proxy.stop().await;
    server.start();
    let house = House::on(server.url()).await;
    let proxy = start(folder.path(), &server);
    eventually("the use to be written down", async || {
        let written = house.service.store().cluster(id).await.ok()??.last_activity?;
        (written.to_rfc3339_opts(chrono::SecondsFormat::Millis, true) == used).then_some(())
    })
    .await;
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_runs_follows_a_database_that_was_restored() {
    let (folder, target) = (folder(), notebook().await);
    let server = Server::new(folder.path());
    let house = House::on(server.url()).await;
    let (kept, stopped) = (house.running(target.address).await, house.running(target.address).await);
    let proxy = start(folder.path(), &server);
    proxy.becomes_ready().await;
    server.stop();
    server.back_up();
    server.start();
    let house = House::on(server.url()).await;
    house.stop(stopped).await;
    let lost = house.running(target.address).await;
    becomes(&proxy, lost, true).await;
    becomes(&proxy, stopped, false).await;

    server.stop();
    server.restore();
    server.start();
    let house = House::on(server.url()).await;
    becomes(&proxy, lost, false).await;
    becomes(&proxy, stopped, true).await;
    assert!(proxy.has_route(&format!("/{kept}")).await);
    let later = house.running(target.address).await;
    becomes(&proxy, later, true).await;

    // As after a dump is restored to a server whose transaction ids have begun anew.
    let pool = sqlx::PgPool::connect(&server.url()).await.expect("Postgres answers");
    begin_epoch(&pool).await;
    house.stop(later).await;
    becomes(&proxy, later, false).await;
    let last = house.running(target.address).await;
    becomes(&proxy, last, true).await;
    pool.close().await;
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_is_refused_and_nobody_is_served_before_the_database_answers() {
    let (folder, target) = (folder(), notebook().await);
    let server = Server::new(folder.path());
    let house = House::on(server.url()).await;
    let id = house.running(target.address).await;
    let mut proxy = start(folder.path(), &server);
    proxy.becomes_ready().await;
    eventually("a snapshot", async || proxy.metric("snapshot_age_seconds").await).await;
    proxy.signal(Signal::SIGKILL);
    proxy.ended().await;
    server.stop();
    let file = folder.path().join("routes.snapshot");
    let mut bytes = std::fs::read(&file).expect("the snapshot");
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).expect("damaged");

    let proxy = start(folder.path(), &server);
    eventually("it to wait", async || proxy.log().contains("there is no snapshot").then_some(())).await;
    assert!(proxy.log().contains("cannot be used: it is damaged"), "{}", proxy.log());
    assert_eq!(proxy.readiness().await, Some(503));
    assert!(TcpStream::connect(proxy.listen).await.is_err(), "nobody is let wait");
    server.start();
    proxy.becomes_ready().await;
    assert!(proxy.has_route(&format!("/{id}")).await);
    proxy.stop().await;
}
