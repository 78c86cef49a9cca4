//! What a restart leaves as it was.

use serde_json::Value;
use sqlx::Row;

use super::installation::{Installation, until};
use super::student::Student;

#[tokio::test(flavor = "multi_thread")]
async fn after_kill_9_the_same_url_leads_to_the_same_kernel_and_the_routes_are_what_they_were() {
    let mut installation = Installation::started("killed", &[]).await;
    let student = Student::new(installation.listen).await;
    let id = student.launch(1).await;
    let url = student.cluster(&id).await["url"].as_str().expect("a URL").to_owned();
    let mut kernel = student.kernel(&id).await;
    kernel.run("kept = 41").await;

    let before = until("the routes' activity to be written down", async || {
        let routes = installation.routes().await;
        (routes == written_down(&installation, &routes).await).then_some(routes)
    })
    .await;
    assert_eq!(before.as_object().map(|routes| routes.len()), Some(3), "{before}");
    installation.kill().await;
    assert!(installation.processes().len() > 5, "what it started runs on");

    installation.start(&[]).await;
    assert_eq!(installation.routes().await, before);
    assert_eq!(student.get(&url).await, 200, "the same URL works");
    let mut again = student.kernel_again(&id, &kernel.id).await;
    assert_eq!(again.run("print(kept + 1)").await, "42");
    drop(again);
    assert_eq!(became_ready(&installation, &id).len(), 1, "it has not moved, so nothing was recorded");
    student.stop(&id).await;
    installation.stop().await;
}

/// The routes, with the times of the database where it has one.
async fn written_down(installation: &Installation, routes: &Value) -> Value {
    let mut database = installation.database().await;
    let query = "SELECT path, to_char(last_activity AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') \
                 FROM slipway.activity";
    let rows = sqlx::query(query).fetch_all(&mut database).await.expect("activity");
    let mut routes = routes.clone();
    for row in &rows {
        routes[row.get::<&str, _>(0)]["last_activity"] = row.get::<&str, _>(1).into();
    }
    if rows.is_empty() { Value::Null } else { routes }
}

fn became_ready(installation: &Installation, id: &str) -> Vec<Value> {
    let events = installation.events(id).into_iter().map(|event| event["event"].clone());
    events.filter(|event| event["type"] == "BecameReady").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_everything_and_the_next_start_brings_the_cluster_back() {
    let mut installation = Installation::started("stopped", &[]).await;
    let student = Student::new(installation.listen).await;
    let id = student.launch(2).await;
    let url = student.cluster(&id).await["url"].as_str().expect("a URL").to_owned();
    let mut kernel = student.kernel(&id).await;
    kernel.run("open('mine.txt', 'w').write('my work')").await;
    drop(kernel);
    installation.stop().await;
    assert!(installation.home(&id).join("mine.txt").exists());

    installation.start(&[]).await;
    until("the notebook to be back", async || (student.get(&url).await == 200).then_some(())).await;
    student.ready(&id, 2).await;
    assert_eq!(student.cluster(&id).await["url"], url);
    let mut kernel = student.kernel(&id).await;
    assert_eq!(kernel.run("print(open('mine.txt').read())").await, "my work");
    let computed = "from dask.distributed import Client; print(Client().submit(pow, 2, 5).result())";
    assert_eq!(kernel.run(computed).await, "32");
    drop(kernel);
    let places = became_ready(&installation, &id);
    assert!(places.windows(2).all(|pair| pair[0] != pair[1]), "recorded only where it moved: {places:?}");
    assert_eq!(installation.events(&id).iter().filter(|e| e["event"]["type"] == "LaunchRequested").count(), 1);
    student.stop(&id).await;
    installation.stop().await;
}
