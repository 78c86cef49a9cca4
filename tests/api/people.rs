//! Whom the API notes, from where, and what becomes of those who are forgotten.

use std::process::{Command, Output, Stdio};

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::harness::{database, eventually, subject};
use crate::server::Server;

const HOME: &str = "203.0.113.7";

async fn texts(server: &Server, sql: &'static str) -> Vec<String> {
    sqlx::query_scalar(sql).fetch_all(&server.pool).await.expect(sql)
}

#[tokio::test]
async fn every_act_is_noted_with_the_clients_address_and_nothing_else_is() {
    let server = Server::start().await;
    // The test is a proxy that is trusted.
    let browser = server.browser().await.with("x-forwarded-for", &format!("198.51.100.9, {HOME}"));
    let id = browser.post("/api/clusters", json!({})).await.is(202).id();
    let path = format!("/api/clusters/{id}");
    browser.patch(&path, json!({"workers": 3})).await.is(202);
    let share = browser.post(&format!("{path}/shares"), json!({"seconds": 60})).await.is(201).json();
    browser.delete(&format!("{path}/shares/{}", share["id"].as_str().expect("an id"))).await.is(200);
    browser.put(&format!("{path}/access"), json!({"access": "class"})).await.is(202);
    server.admin().await.with("x-forwarded-for", "2001:db8::5").delete(&path).await.is(202);
    browser.get("/api/clusters").await.is(200);
    server.stranger().get("/api/session").await.is(200);
    let events = "SELECT concat_ws(' ', e.type, host(o.address)) FROM slipway.event e
                    LEFT JOIN slipway.origin o USING (correlation_id) ORDER BY e.version";
    let noted = ["LaunchRequested", "ScaleRequested", "Shared", "Unshared", "AccessSet"];
    let mut expected: Vec<String> = noted.iter().map(|kind| format!("{kind} {HOME}")).collect();
    expected.push("StopRequested 2001:db8::5".to_owned());
    assert_eq!(texts(&server, events).await, expected);
    let people = server.owner.people(None).await.expect("people");
    let mut addresses: Vec<_> = people.iter().filter_map(|person| person.last_address.as_deref()).collect();
    addresses.sort_unstable();
    assert_eq!(addresses, ["2001:db8::5", HOME]);
    let log = "SELECT event::text FROM slipway.event WHERE event::text LIKE '%203.0.113.7%'";
    assert_eq!(texts(&server, log).await, Vec::<String>::new(), "the log knows no address");
}

#[tokio::test]
async fn a_browser_that_was_forgotten_is_somebody_new() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let launched = browser.post("/api/clusters", json!({})).await.is(202).json();
    let old = launched["owner"].as_str().expect("an owner");
    server.owner.forget(&subject(old), &subject("cli:root")).await.expect("forgotten");
    eventually("the cookie to count no more", async || {
        (browser.get("/api/clusters").await.status == 401).then_some(())
    })
    .await;
    browser
        .get(&format!("/api/clusters/{}", launched["id"].as_str().expect("an id")))
        .await
        .refused(401, "not_signed_in");
    let new = browser.get("/api/session").await.is(200).json()["subject"].clone();
    assert!(new.is_string() && new != *old, "{new}");
    let again = browser.post("/api/clusters", json!({})).await.is(202);
    assert!(again.header("set-cookie").is_some() && again.json()["owner"] != *old);
}

/// The same database as `role`, by the command line.
fn slipway(url: &str, role: &str, arguments: &[&str]) -> Output {
    let url = format!("{url}&options=-c%20role%3D{role}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipway"));
    command.env_clear().stdin(Stdio::null()).args(arguments).args(["--database-url", &url]);
    command.output().expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_find_and_forget_a_person() {
    let (pool, url) = database().await;
    let service =
        slipway::service::Service::new(slipway::store::Store::over(pool.clone()), crate::harness::NO_CAPS);
    let by = slipway::store::append::Meta {
        visit: Some(slipway::store::append::Visit { address: Some(HOME.parse().expect("an address")) }),
        ..crate::harness::meta("browser:1f0c")
    };
    let id = service.launch(crate::harness::launch("browser:1f0c"), by, None).await.expect("a launch").cluster.id;
    let owner = |arguments: &[&str]| slipway(&url, "slipway", arguments);
    assert!(owner(&["people", "name", "browser:1f0c", "Anna Lindqvist"]).status.success());
    let found = said(&owner(&["people", "find", "anna"]));
    assert!(found.contains("browser:1f0c") && found.contains(HOME), "{found}");
    assert!(said(&slipway(&url, "slipway_auditor", &["audit"])).contains("Anna Lindqvist"));

    let unsure = owner(&["forget", "browser:1f0c"]);
    assert!(!unsure.status.success() && said(&unsure).contains("--yes"), "{}", said(&unsure));
    let unknown = owner(&["forget", "browser:1f0d", "--yes"]);
    assert!(!unknown.status.success() && said(&unknown).contains("nobody is known"), "{}", said(&unknown));
    let writer = slipway(&url, "slipway_writer", &["forget", "browser:1f0c", "--yes"]);
    assert!(!writer.status.success() && said(&writer).contains("the database role may not"), "{}", said(&writer));
    let done = owner(&["forget", "browser:1f0c", "--yes"]);
    assert!(done.status.success() && said(&done).contains(&format!("{id} is being stopped")), "{}", said(&done));
    assert!(!said(&owner(&["people", "list"])).contains("browser:1f0c"));
    let row = service.store().launches(DateTime::<Utc>::UNIX_EPOCH, 1).await.expect("rows").remove(0);
    assert_eq!((row.person, row.address, row.outcome.as_str()), (None, None, "stopped"));
    assert!(owner(&["forget", "browser:1f0c", "--yes"]).status.success(), "once more does no harm");
    assert!(slipway(&url, "slipway_writer", &["migrate"]).status.success(), "there is nothing to migrate");
}
