//! A click with a pool: the notebook is there before the button was pressed.

use std::time::Instant;

use serde_json::json;

use super::installation::{Installation, until};
use super::student::Student;

const PROFILES: &str = "\
[[profile]]
name = \"course\"
title = \"A course\"
workers = { default = 1, most = 2 }
pool = { ready = 1 }
";

/// What `slipway pools` says of the only one, once it has so many ready.
async fn is_stocked(installation: &Installation, ready: u64) {
    until(&format!("{ready} to be ready"), async || {
        let pools = installation.run_json(&["pools", "--json"]);
        (pools[0]["ready"].as_u64()? == ready && pools[0]["others"] == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_gets_a_notebook_that_was_ready_and_another_one_takes_its_place() {
    let mut installation = Installation::new("pool").await;
    let profiles = installation.data_dir.with_extension("toml");
    std::fs::write(&profiles, PROFILES).expect("written");
    let options = ["--profiles", profiles.to_str().expect("a path")];
    installation.start(&options).await;
    is_stocked(&installation, 1).await;
    let kept = installation.run_json(&["list", "--json"])[0].clone();
    let id = kept["id"].as_str().expect("an id").to_owned();
    assert!(kept["owner"].as_str().is_some_and(|owner| owner.starts_with("pool:course:")), "{kept}");

    // Its routes are there, and shut.
    let stranger = Student::new(installation.listen).await;
    until("its routes", async || installation.routes().await.get(format!("/{id}")).map(|_| ())).await;
    assert_ne!(stranger.get(&format!("/{id}/api")).await, 200);

    let student = Student::new(installation.listen).await;
    let began = Instant::now();
    let (status, cluster) = student.press(None, 1).await;
    let took = began.elapsed();
    assert_eq!((status, &cluster["id"], &cluster["status"]), (202, &json!(id), &json!("running")), "{cluster}");
    eprintln!("answered with a cluster that runs after {took:.1?}");
    student.ready(&id, 1).await;
    let mut kernel = student.kernel(&id).await;
    assert_eq!(kernel.run("print(6 * 7)").await, "42");
    drop(kernel);
    assert_ne!(stranger.get(&format!("/{id}/api")).await, 200, "nobody else has come in with the claim");

    is_stocked(&installation, 1).await;
    let all = installation.run_json(&["list", "--json"]);
    assert_eq!(all.as_array().map(Vec::len), Some(2), "{all}");
    let told = installation.run(&["explain", &id]);
    assert!(told.contains("A cluster that was kept ready is yours"), "{told}");
    let audit = installation.run_json(&["audit", "--json"]);
    let of = |owner: &str| {
        audit
            .as_array()
            .into_iter()
            .flatten()
            .filter(|row| row["owner"].as_str().is_some_and(|it| it.starts_with(owner)))
            .count()
    };
    assert_eq!((of("browser:"), of("pool:course:")), (1, 1), "{audit}");

    // Both come back with the installation, each as whose it was.
    installation.stop().await;
    installation.start(&options).await;
    student.ready(&id, 1).await;
    is_stocked(&installation, 1).await;
    installation.stop().await;
    std::fs::remove_file(profiles).expect("removed");
}
