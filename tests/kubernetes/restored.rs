//! A Kubernetes that lost everything: what the log wants comes back from the log alone.

use super::cluster::{get, kubectl, pods};
use super::house::{DOOR, FAKE, House, within};

#[tokio::test(flavor = "multi_thread")]
async fn all_live_clusters_are_back_with_their_names_routes_and_sizes() {
    let mut house = House::new("restored", FAKE, &[]).await;
    let student = house.student().await;
    let mut all = vec![];
    for workers in [1, 2, 3, 5] {
        all.push((house.running(&student, workers).await, workers));
    }
    let stopped = house.running(&student, 1).await;
    student.stop(&stopped).await;
    let profiles = house.folder.join("profiles.toml").display().to_string();
    let agree = |house: &House| {
        let admin = format!("http://{}", house.admin);
        house.try_run(&[
            "verify",
            "--kubernetes",
            "--profiles",
            &profiles,
            "--door-address",
            DOOR,
            "--routes",
            &admin,
            "--wait",
            "60s",
        ])
    };
    let right = agree(&house);
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stdout));

    house.kill_worker().await;
    for (id, _) in &all {
        kubectl(&["delete", "namespace", id, "--wait=false"]);
    }
    within(90, "nothing to be left", async || {
        all.iter().all(|(id, _)| get(&["namespace", id]).is_empty()).then_some(())
    })
    .await;
    let admin = format!("http://{}", house.admin);
    let wrong = house.try_run(&[
        "verify",
        "--kubernetes",
        "--profiles",
        &profiles,
        "--door-address",
        DOOR,
        "--routes",
        &admin,
    ]);
    assert!(!wrong.status.success(), "the loss is seen: {}", String::from_utf8_lossy(&wrong.stdout));

    house.start_worker();
    let told = house.run(&["restore", "--within", "2m"]);
    eprintln!("{told}");
    for (id, workers) in &all {
        assert_eq!(pods(id, "workers").len(), usize::from(*workers), "{id} has its size");
        let pod = get(&["pod", "scheduler", "-n", id]).pop().expect("the notebook's pod");
        let place = format!("http://{}:8888", pod["status"]["podIP"].as_str().expect("an address"));
        within(10, "the route to the new pod", async || {
            (house.target(id).await.as_ref() == Some(&place)).then_some(())
        })
        .await;
    }
    assert!(get(&["namespace", &stopped]).is_empty(), "what was stopped stays away");
    let right = agree(&house);
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stdout));
    house.close().await;
}
