//! The routes that a proxy lists, and how they differ from the log's.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::uri::{PathAndQuery, Scheme};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::time::timeout;

use super::findings::Finding;
use crate::domain::{ClusterId, RouteTable};

const PATIENCE: Duration = Duration::from_secs(10);
const PLACE: &str = "/api/routes";

/// Where a proxy lists its routes.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    address: Uri,
    token: Option<String>,
}

/// A route as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Listed {
    target: String,
}

impl FromStr for Listing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = || "write the proxy's admin address like http://127.0.0.1:8001".to_owned();
        let mut parts = text.parse::<Uri>().map_err(|_| rule())?.into_parts();
        if parts.scheme != Some(Scheme::HTTP) {
            return Err(rule());
        }
        parts.path_and_query = Some(PathAndQuery::from_static(PLACE));
        Ok(Self { address: Uri::from_parts(parts).map_err(|_| rule())?, token: None })
    }
}

impl Listing {
    pub(super) fn with_token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    pub(super) async fn ask(&self) -> anyhow::Result<BTreeMap<String, Listed>> {
        let answer = timeout(PATIENCE, self.read()).await.context("no answer in time").flatten();
        answer.with_context(|| format!("cannot read the routes at {}", self.address))
    }

    async fn read(&self) -> anyhow::Result<BTreeMap<String, Listed>> {
        let mut request = Request::get(&self.address);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("token {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).context("--routes-token is no header's value")?;
        let answer = Client::builder(TokioExecutor::new()).build_http().request(request).await?;
        let status = answer.status();
        ensure!(status != StatusCode::FORBIDDEN, "it asks for another --routes-token");
        ensure!(status.is_success(), "it answers {status}");
        let body = answer.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&body).context("that is no list of routes")
    }
}

/// What differs, both ways.
pub(super) fn compare(log: &RouteTable, proxy: &BTreeMap<String, Listed>) -> Vec<Finding> {
    let wanted: BTreeMap<String, String> =
        log.iter().map(|(path, route)| (path.to_string(), format!("http://{}", route.target))).collect();
    let about = |path: &str, what: String| Finding { about: path.to_owned(), cluster: cluster_of(path), what };
    let mut found: Vec<Finding> = Vec::new();
    for (path, target) in &wanted {
        match proxy.get(path) {
            None => found.push(about(path, format!("the proxy has no such route, and the log says {target}"))),
            Some(listed) if listed.target != *target => {
                found.push(about(path, format!("the proxy goes to {}, and the log says {target}", listed.target)));
            }
            Some(_) => {}
        }
    }
    let surplus = proxy.iter().filter(|(path, _)| !wanted.contains_key(*path));
    found.extend(surplus.map(|(path, listed)| {
        about(path, format!("the proxy goes to {}, and the log has no such route", listed.target))
    }));
    found
}

fn cluster_of(path: &str) -> Option<ClusterId> {
    path.strip_prefix('/')?.split('_').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Endpoint, Engine, Placed};

    #[test]
    fn routes_are_compared_both_ways() {
        let id = |number| ClusterId::from_number(number).expect("six digits");
        let mut log = RouteTable::default();
        for number in [100_001, 100_002, 100_003] {
            let endpoint = Endpoint {
                address: [10, 0, 0, 7].into(),
                ports: [(Engine::Notebook, 8888)].into(),
                named: [].into(),
            };
            let state = Placed { version: 1, endpoint: Some(endpoint), door: None, since: Default::default() };
            log.start_at(id(number), state);
        }
        let listed = |target: &str| Listed { target: target.to_owned() };
        let proxy = BTreeMap::from([
            ("/cluster-100001".to_owned(), listed("http://10.0.0.7:8888")),
            ("/cluster-100002".to_owned(), listed("http://10.0.0.8:8888")),
            ("/cluster-100004_9001".to_owned(), listed("http://10.0.0.9:8787")),
            ("/".to_owned(), listed("http://10.0.0.9:80")),
        ]);
        let found = compare(&log, &proxy);
        let told: Vec<_> = found.iter().map(Finding::to_string).collect();
        assert_eq!(
            told,
            [
                "/cluster-100002: the proxy goes to http://10.0.0.8:8888, and the log says http://10.0.0.7:8888",
                "/cluster-100003: the proxy has no such route, and the log says http://10.0.0.7:8888",
                "/: the proxy goes to http://10.0.0.9:80, and the log has no such route",
                "/cluster-100004_9001: the proxy goes to http://10.0.0.9:8787, and the log has no such route",
            ]
        );
        let clusters: Vec<_> = found.iter().map(|finding| finding.cluster).collect();
        assert_eq!(clusters, [Some(id(100_002)), Some(id(100_003)), None, Some(id(100_004))]);
    }

    #[test]
    fn an_address_is_taken_with_or_without_the_place_of_the_list() {
        for text in ["http://127.0.0.1:8001", "http://127.0.0.1:8001/", "http://127.0.0.1:8001/api/routes"] {
            assert_eq!(text.parse::<Listing>().expect(text).address, "http://127.0.0.1:8001/api/routes");
        }
        for text in ["", "127.0.0.1:8001", "https://proxy", "ftp://proxy", "http://"] {
            assert!(text.parse::<Listing>().is_err(), "{text:?}");
        }
    }
}
