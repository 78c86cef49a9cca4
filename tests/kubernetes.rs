//! Clusters on a real Kubernetes: what students get, who is kept out, and what becomes of every fault.
//!
//! `SLIPWAY_TEST_KUBECONFIG` names one with fake nodes of kwok beside a real one, and with the clusters' image on it;
//! `kubectl` is on the PATH. `ops/check` sees to all that, with `ops/testcluster`. The worker works under the account
//! that `ops/deploy` gives it, and asks the API server through `apiserver.rs`, which counts and can misbehave.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    dead_code,
    reason = "tests read their configuration and tell how long things took; what they share has more than each needs"
)]

#[path = "kubernetes/apiserver.rs"]
mod apiserver;
#[path = "e2e/browser.rs"]
mod browser;
#[path = "kubernetes/cluster.rs"]
mod cluster;
#[path = "kubernetes/computing.rs"]
mod computing;
#[path = "kubernetes/deployed.rs"]
mod deployed;
#[path = "kubernetes/faults.rs"]
mod faults;
#[path = "local_runtime/git.rs"]
mod git;
#[path = "harness/mod.rs"]
mod harness;
#[path = "kubernetes/house.rs"]
mod house;
#[path = "e2e/http.rs"]
mod http;
#[path = "e2e/installation.rs"]
mod installation;
#[path = "kubernetes/isolation.rs"]
mod isolation;
#[path = "local_runtime/kernel.rs"]
mod kernel;
#[path = "kubernetes/killed.rs"]
mod killed;
#[path = "kubernetes/lost.rs"]
mod lost;
#[path = "kubernetes/many.rs"]
mod many;
#[path = "e2e/processes.rs"]
mod processes;
#[path = "kubernetes/refused.rs"]
mod refused;
#[path = "kubernetes/requests.rs"]
mod requests;
#[path = "kubernetes/restored.rs"]
mod restored;
#[path = "e2e/student.rs"]
mod student;
