//! What is kept ready, from the command line, and whom nobody can be.

use serde_json::json;
use slipway::domain::Subject;

use crate::harness::launch;
use crate::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn the_pools_are_listed_with_what_they_are_to_have_and_have() {
    let program = Program::new().await;
    assert_eq!(program.run_json(&["pools", "--json"]), json!([]));
    let name = launch("nobody").profile;
    let owner = Subject::of_pool(&name, [7; 8]);
    program.running(owner.as_str()).await;
    program.service.store().set_pools(&[(&name, owner, 3)]).await.expect("set");
    let told = json!([{"profile": "default", "wanted": 3, "ready": 0, "others": 1}]);
    assert_eq!(program.run_json(&["pools", "--json"]), told, "somebody is still at it");
    let listed = program.run(&["pools"]);
    assert!(listed.contains("PROFILE") && listed.contains("default"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_be_a_pool() {
    let program = Program::new().await;
    for asked in [
        &["token", "create", "--name", "x", "--subject", "pool:default:1"][..],
        &["launch", "--owner", "pool:default:1", "--no-wait"],
        &["forget", "pool:default:1", "--yes"],
    ] {
        let told = program.fails(1, asked);
        assert!(told.contains("nobody"), "{told}");
    }
}
