//! A student of an installation: a browser session with clusters, notebooks and cells.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::net::SocketAddr;

use serde_json::{Value, json};
use slipway::domain::{Endpoint, Engine};

use super::http::Client;
use super::installation::until;
use super::kernel::Kernel;

pub struct Student {
    client: Client,
    proxy: SocketAddr,
}

impl Student {
    pub async fn new(proxy: SocketAddr) -> Self {
        let student = Self { client: Client::new(&format!("http://{proxy}")), proxy };
        assert_eq!(student.client.get("/api/session").await.status, 200, "a session begins");
        student
    }

    /// The one who already has a cookie.
    pub fn with_cookie(proxy: SocketAddr, cookie: String) -> Self {
        Self { client: Client::identified(&format!("http://{proxy}"), "cookie", cookie), proxy }
    }

    /// A cluster that runs, with so many workers, all of them ready.
    pub async fn launch(&self, workers: u16) -> String {
        let (status, cluster) = self.press(None, workers).await;
        assert_eq!(status, 202, "{cluster}");
        let id = cluster["id"].as_str().expect("an id").to_owned();
        self.ready(&id, workers).await;
        id
    }

    /// Waits for the workers, and uses the notebook meanwhile.
    pub async fn ready(&self, id: &str, workers: u16) {
        until(&format!("{workers} workers of {id}"), async || {
            let cluster = self.cluster(id).await;
            assert!(cluster["reason"].is_null(), "{cluster}");
            let running = cluster["status"] == "running" && self.get(&format!("/{id}/api")).await == 200;
            (running && cluster["workers"]["ready"] == workers).then_some(())
        })
        .await;
    }

    /// The answer to a launch, with this idempotency key.
    pub async fn press(&self, key: Option<&str>, workers: u16) -> (u16, Value) {
        let body = json!({ "workers": workers }).to_string();
        let answer = self.client.send("POST", "/api/clusters", key, &body).await;
        (answer.status, answer.json())
    }

    pub async fn clusters(&self) -> Vec<Value> {
        let all = self.client.get("/api/clusters").await.json();
        all["clusters"].as_array().expect("a list").clone()
    }

    pub async fn cluster(&self, id: &str) -> Value {
        let answer = self.client.get(&format!("/api/clusters/{id}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    pub async fn scale(&self, id: &str, workers: u16) -> (u16, Value) {
        let body = json!({ "workers": workers }).to_string();
        let answer = self.client.send("PATCH", &format!("/api/clusters/{id}"), None, &body).await;
        (answer.status, answer.json())
    }

    pub async fn ask_to_stop(&self, id: &str) {
        assert_eq!(self.client.send("DELETE", &format!("/api/clusters/{id}"), None, "").await.status, 202);
    }

    pub async fn stop(&self, id: &str) {
        self.ask_to_stop(id).await;
        self.ended(id).await;
    }

    /// Waits until it is over, and tells the cluster as it was.
    pub async fn ended(&self, id: &str) -> Value {
        until(&format!("{id} to end"), async || {
            let cluster = self.cluster(id).await;
            (cluster["status"] == "stopped").then_some(cluster)
        })
        .await
    }

    /// `None` when nobody answers.
    pub async fn try_get(&self, path: &str) -> Option<u16> {
        Some(self.client.try_send("GET", path, None, "").await?.status)
    }

    pub async fn get(&self, path: &str) -> u16 {
        self.client.get(path).await.status
    }

    /// Of the notebook: what its link shows.
    pub async fn token(&self, id: &str) -> String {
        let cluster = self.cluster(id).await;
        let url = cluster["url"].as_str().expect("a running cluster has a URL");
        url.rsplit_once("token=").expect("it has a token").1.to_owned()
    }

    pub async fn kernel(&self, id: &str) -> Kernel {
        let endpoint = Endpoint {
            address: self.proxy.ip(),
            ports: [(Engine::Notebook, self.proxy.port())].into(),
            named: [].into(),
        };
        Kernel::start(id.parse().expect("an id"), &endpoint, &self.token(id).await).await
    }

    /// To one that runs already.
    pub async fn kernel_again(&self, id: &str, kernel: &str) -> Kernel {
        Kernel::connect(id.parse().expect("an id"), self.proxy, &self.token(id).await, kernel).await
    }
}
