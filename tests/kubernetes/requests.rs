//! What a launch costs the API server.

use std::time::Duration;

use super::cluster;
use super::house::{FAKE, House};

/// Namespace, service account, secret, limits, two policies, service, pod, quota, replication controller.
const OBJECTS: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_is_one_write_for_each_object_and_a_scaling_one_more() {
    let house = House::new("requests", FAKE, &[]).await;
    let student = house.student().await;
    // The watches have begun by then.
    let first = house.running(&student, 1).await;
    house.apiserver.take();
    let id = house.running(&student, 4).await;
    // No more comes of what the watches still have to tell.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = house.apiserver.take();
    let about: Vec<_> =
        asked.iter().filter(|(_, path)| path.contains(&id) || path.contains("/namespaces?")).collect();
    assert_eq!(about.len(), OBJECTS, "one request for each object and none besides: {about:#?}");

    let (status, _) = student.scale(&id, 6).await;
    assert_eq!(status, 202);
    house.settled(&student, &id, 6).await;
    let asked = house.apiserver.take();
    let about: Vec<_> = asked.iter().filter(|(_, path)| path.contains(&id)).collect();
    assert_eq!(about.len(), 1, "one patch of the replicas: {about:#?}");

    student.stop(&id).await;
    super::house::within(60, "the namespace to be gone", async || (!cluster::namespace_exists(&id)).then_some(()))
        .await;
    let asked = house.apiserver.take();
    let about = asked.iter().filter(|(_, path)| path.contains(&id)).count();
    assert!(about <= 3, "one removal, and a look whether it is gone: {asked:#?}");
    student.stop(&first).await;
    house.close().await;
}
