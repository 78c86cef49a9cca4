//! JupyterHub from PyPI on our `configurable-http-proxy`, neither of them changed for the other; and the hub's own tests
//! of its proxy. `SLIPWAY_TEST_HUB` names the Python environment, which `ops/check` makes.

mod chp_bed;
#[path = "chp_hub/hub.rs"]
mod hub;
#[path = "local_runtime/kernel.rs"]
mod kernel;
#[path = "e2e/processes.rs"]
#[allow(dead_code, reason = "each test binary uses a part")]
mod processes;

use chp_bed::ask;
use hub::{ADMIN, Hub, PROXY_TOKEN, environment, path_with_ours};
use kernel::Kernel;
use serde_json::json;
use tokio::process::Command;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

/// One test after the other: a hub gives a server ten seconds to start, which on two cores another hub could take.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

#[tokio::test]
async fn a_student_signs_in_computes_loses_the_proxy_and_stops() {
    let _turn = turn().await;
    let hub = Hub::start("").await;
    sign_in(&hub).await;
    let server = Server::start(&hub).await;
    let routes = hub.routes().await;
    assert_eq!(routes["/user/zoe"]["jupyterhub"], true, "{routes}");
    let mut kernel = server.kernel().await;
    assert_eq!(kernel.run("x = 6 * 7; print(x)").await, "42");

    hub.kill_proxy();
    // The hub sees it within a second, starts another, and posts every route again.
    hub.until("the route is back", async || hub.routes().await["/user/zoe"].is_object()).await;
    let mut kernel = server.kernel().await;
    assert_eq!(kernel.run("print(x + 1)").await, "43", "the kernel has noticed nothing");

    let stray = json!({ "target": "http://127.0.0.1:1", "jupyterhub": true, "user": "nobody" }).to_string();
    let head = format!(
        "POST /api/routes/user/nobody HTTP/1.0\r\nauthorization: token {PROXY_TOKEN}\r\ncontent-length: {}\r\n\r\n",
        stray.len()
    );
    assert_eq!(ask(hub.proxy_api, &(head + &stray)).await.status, 201);
    assert_eq!(hub.api(ADMIN, "POST", "/hub/api/proxy", "").await.0, 200, "check_routes");
    let routes = hub.routes().await;
    assert!(routes["/user/nobody"].is_null() && routes["/user/zoe"].is_object(), "{routes}");

    let (status, _) = hub.api(ADMIN, "DELETE", "/hub/api/users/zoe/server", "").await;
    assert!(matches!(status, 202 | 204), "{status}");
    hub.until("the route is gone", async || hub.routes().await["/user/zoe"].is_null()).await;
    let answer = hub.plain("GET", "/user/zoe/lab", "", "").await;
    assert!(!matches!(answer.status, 200 | 503), "the hub answers now: {answer:?}");
}

/// Hub, proxy and servers then show each other certificates of an authority of the hub's own.
#[tokio::test]
async fn a_hub_that_encrypts_what_is_inside_runs_on_it_as_well() {
    let _turn = turn().await;
    let hub = Hub::start(
        r#"
import os
c.JupyterHub.internal_ssl = True
c.JupyterHub.internal_certs_location = os.path.abspath("internal-ssl")
for section, name in [(c.JupyterHub, "hub_bind_url"), (c.ConfigurableHTTPProxy, "api_url")]:
    section[name] = section[name].replace("http:", "https:")
"#,
    )
    .await;
    sign_in(&hub).await;
    let server = Server::start(&hub).await;
    assert_eq!(server.kernel().await.run("print(6 * 7)").await, "42");
    assert_eq!(hub.api(ADMIN, "POST", "/hub/api/proxy", "").await.0, 200, "check_routes\n{}", hub.log());
    assert_eq!(hub.ask_for_routes("").await, "refused", "without a certificate");
    assert_eq!(hub.ask_for_routes("hub-internal").await, "200", "with the hub's");
}

/// A running server of a student's, with a kernel.
struct Server {
    url: String,
    token: String,
    kernel: String,
}

impl Server {
    async fn start(hub: &Hub) -> Self {
        let (status, _) = hub.api(ADMIN, "POST", "/hub/api/users/zoe/server", "").await;
        assert!(matches!(status, 201 | 202), "{status} {}", hub.log());
        let ready = async || {
            let (_, user) = hub.api(ADMIN, "GET", "/hub/api/users/zoe", "").await;
            user["servers"][""]["ready"] == true
        };
        hub.until("the server", ready).await;
        let (status, token) = hub.api(ADMIN, "POST", "/hub/api/users/zoe/tokens", "{}").await;
        assert_eq!(status, 201, "{token}");
        let token = token["token"].as_str().expect("a token").to_owned();
        let (status, started) = hub.api(&token, "POST", "/user/zoe/api/kernels", "{}").await;
        assert_eq!(status, 201, "{started}");
        let kernel = started["id"].as_str().expect("an id").to_owned();
        Self { url: format!("{}/user/zoe", hub.public), token, kernel }
    }

    async fn kernel(&self) -> Kernel {
        Kernel::at(&self.url, &self.token, &self.kernel).await
    }
}

/// By the form, as a browser does.
async fn sign_in(hub: &Hub) {
    let form = hub.plain("GET", "/hub/login", "", "").await;
    assert_eq!(form.status, 200, "{form:?}");
    let cookies = |raw: &str| {
        let set = raw
            .lines()
            .filter_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")));
        set.filter_map(|(_, cookie)| cookie.split(';').next().map(str::to_owned)).collect::<Vec<_>>()
    };
    let before = cookies(&form.raw);
    let xsrf = before.iter().find_map(|cookie| cookie.strip_prefix("_xsrf=")).expect("a token of the form");
    let body = serde_urlencoded_form(&[("username", "zoe"), ("password", "x"), ("_xsrf", xsrf)]);
    let headers = format!("cookie: {}\r\ncontent-type: application/x-www-form-urlencoded\r\n", before.join("; "));
    let signed = hub.plain("POST", "/hub/login?next=%2Fhub%2Fhome", &headers, &body).await;
    assert_eq!(signed.status, 302, "{signed:?}");
    let home =
        hub.plain("GET", "/hub/home", &format!("cookie: {}\r\n", cookies(&signed.raw).join("; ")), "").await;
    assert!(home.status == 200 && home.body.contains("zoe"), "{home:?}");
}

fn serde_urlencoded_form(pairs: &[(&str, &str)]) -> String {
    serde_urlencoded::to_string(pairs).expect("text")
}

/// docs/configurable-http-proxy.md names the two that are skipped.
#[tokio::test]
async fn the_hubs_own_tests_of_its_proxy_pass() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut tests = Command::new(environment().join("bin/python"));
    tests
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "90", "-o", "asyncio_mode=auto"])
        .args(["-o", "asyncio_default_fixture_loop_scope=module", "-o", "asyncio_default_test_loop_scope=module"])
        .args(["--pyargs", "jupyterhub.tests.test_proxy"])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", path_with_ours(folder.path()))
        .env("HOME", folder.path())
        .kill_on_drop(true);
    let output = timeout(hub::PATIENCE * 4, tests.output()).await.expect("in time").expect("pytest starts");
    processes::kill_all(folder.path());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("32 passed, 2 skipped"), "{text}");
}
