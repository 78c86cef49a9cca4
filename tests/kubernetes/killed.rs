//! A worker that is killed between any two effects of a launch.

use super::apiserver::Strike;
use super::cluster;
use super::house::{FAKE, House, within};

/// As many as `requests.rs` counts.
const WRITES: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_killed_worker_had_done_there_is_one_of_each_in_the_end() {
    let mut house = House::new("killed", FAKE, &[]).await;
    let student = house.student().await;
    house.running(&student, 1).await;
    for at in 0..WRITES {
        for done in [false, true] {
            house.apiserver.strike(Strike { at, done, pid: house.worker_pid() });
            let id = house.launched(&student, 2).await;
            within(60, "the worker to be struck", async || house.worker_is_dead().then_some(())).await;
            assert!(!house.apiserver.is_armed());
            house.kill_worker().await;
            house.start_worker();
            house.settled(&student, &id, 2).await;
            let what = format!("killed at write {at}, done: {done}");
            assert_eq!(cluster::get(&["namespace", &id]).len(), 1, "{what}");
            assert_eq!(cluster::pods(&id, "scheduler"), ["scheduler"], "{what}");
            assert_eq!(cluster::pods(&id, "workers").len(), 2, "{what}");
            assert_eq!(cluster::get(&["replicationcontrollers", "-n", &id]).len(), 1, "{what}");
            assert_eq!(cluster::get(&["networkpolicies", "-n", &id]).len(), 2, "{what}");
            student.stop(&id).await;
        }
    }
    house.close().await;
}
