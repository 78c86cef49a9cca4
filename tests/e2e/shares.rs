//! A cluster that is shared, as another browser sees it.

use serde_json::Value;

use super::browser::Browser;
use super::installation::{Installation, until};
use super::student::Student;

const PLACE: &str = "return location.pathname + location.search";

#[tokio::test(flavor = "multi_thread")]
async fn a_share_link_opens_the_notebook_in_another_browser_until_it_is_revoked() {
    let mut installation = Installation::started("share", &[]).await;
    let id = Student::new(installation.listen).await.launch(1).await;
    let (lab, dashboard) = (format!("/{id}/lab"), format!("/{id}_9001/status"));
    let browser = Browser::open("share").await;
    browser.goto(&format!("{}{lab}", installation.address())).await;
    let told = browser.shown("[data-testid=enter]").await;
    assert!(told.contains(&id) && told.contains("is not open to you"), "{told}");

    let link = installation.run_json(&["share", &id, "--for", "10m", "--json"]);
    let link_url = link["url"].as_str().expect("a link");
    let path = link_url.strip_prefix(&installation.address()).expect("of this installation");
    // A command rings no bell: the proxy looks once a second.
    until("the link to open", async || (installation.client().get(path).await.status == 200).then_some(())).await;
    browser.complaints().await;
    browser.goto(link_url).await;
    browser.shown("#jp-main-dock-panel").await;
    browser.shown(".jp-Launcher, .jp-Notebook").await;
    let place: Value = browser.run(PLACE).await;
    assert_eq!(place.as_str().and_then(|place| place.split('?').next()), Some(lab.as_str()), "{place}");
    assert!(!place.to_string().contains("share="), "{place}");
    browser.goto(&format!("{}{dashboard}", installation.address())).await;
    browser.until("the dashboard", "return Bokeh.documents.length").await;
    assert_eq!(browser.complaints().await, [""; 0], "every request was answered");

    installation.run(&["unshare", &id, link["id"].as_str().expect("an id")]);
    until("the way back to the start", async || {
        browser.goto(&format!("{}{lab}", installation.address())).await;
        (browser.run("return location.pathname").await == "/").then_some(())
    })
    .await;
    let told = browser.shown("[data-testid=enter]").await;
    assert!(told.contains("Ask its owner for a share link"), "{told}");
    browser.close().await;
    installation.stop().await;
}
