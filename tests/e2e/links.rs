//! A teacher's link, the choice of profiles, and a place in line, in a real browser.

use serde_json::json;

use super::browser::Browser;
use super::installation::Installation;

const PROFILES: &str = r#"
[[profile]]
name = "plain"
title = "Plain"
workers = { default = 1, most = 2 }

[[profile]]
name = "course"
title = "The course"
description = "With its notebooks"
workers = { default = 2, most = 3 }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_shown_before_it_launches_and_its_launch_waits_in_line() {
    let mut installation = Installation::new("links").await;
    let file = installation.data_dir.join("profiles.toml");
    std::fs::write(&file, PROFILES).expect("written");
    let file = file.display().to_string();
    installation.start(&["--profiles", &file, "--launches-at-once", "1"]).await;
    let browser = Browser::open("links").await;
    browser.goto(&format!("{}/?profile=course&workers=9", installation.address())).await;
    let asked = browser.shown("[data-testid=link]").await;
    for part in ["The course", "3 workers (it says 9; 3 are the most here)", "Nothing starts before"] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
    let offered = browser.shown("[data-testid=profiles]").await;
    assert!(offered.contains("Plain") && offered.contains("With its notebooks"), "{offered}");
    browser.picture("link").await;
    assert_eq!(installation.run_json(&["list", "--json"]), json!([]), "nothing is launched by looking");

    for _ in 0..2 {
        installation.run(&["launch", "--profiles", &file, "--profile", "plain", "--no-wait"]);
    }
    browser.click("[data-testid=launch]").await;
    let line =
        "return document.querySelector('[data-testid=note]').textContent.match(/You are number [12] in line/)";
    browser.until("a place in line", line).await;
    browser.picture("line").await;
    browser.until("the way to the notebook", "return location.pathname.includes('/lab')").await;
    let listed = installation.run_json(&["list", "--json"]);
    let profiles: Vec<_> = listed.as_array().expect("a list").iter().map(|row| &row["profile"]).collect();
    assert_eq!(profiles, ["course", "plain", "plain"]);
    let audit = installation.run_json(&["audit", "--json"]);
    assert!(audit[2]["seconds_in_line"].as_f64() > audit[0]["seconds_in_line"].as_f64(), "{audit}");
    browser.close().await;
    installation.stop().await;
}
