//! /api/openapi.json says what there is, all of it and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use warp::http::Method;

use crate::server::Server;

const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

fn described(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let methods = |(path, item): (&String, &Value)| {
        let methods = item.as_object().expect("an item").keys();
        methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

/// Each `warp::path!("a" / String)` of the source as `/a/{}`.
fn routes_in_the_source() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let mut routes = BTreeSet::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (at, start) in text.match_indices("warp::path!(") {
            let inner = text[at + start.len()..].split(')').next().expect("it ends");
            let parts = inner.split(" / ").map(|part| match part.trim() {
                "String" => "{}",
                literal => literal.trim_matches('"'),
            });
            routes.insert(format!("/{}", parts.collect::<Vec<_>>().join("/")));
        }
    }
    routes
}

fn without_names(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_of_the_source_is_described_and_no_other() {
    let server = Server::start().await;
    let document = server.stranger().get("/api/openapi.json").await.is(200).json();
    let mut routes = routes_in_the_source();
    assert!(routes.remove("/assets/{}"), "the page is for people");
    assert!(routes.remove("/metrics"), "it is at an address of its own");
    let paths: BTreeSet<String> = described(&document).iter().map(|(_, path)| without_names(path)).collect();
    assert_eq!(paths, routes);
}

#[tokio::test]
async fn what_a_path_does_not_name_is_no_part_of_it() {
    let server = Server::start().await;
    let document = server.stranger().get("/api/openapi.json").await.is(200).json();
    let mut seen = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("an item").values() {
            let list = method["parameters"].as_array().into_iter().flatten();
            let text = |one: &Value, key: &str| one[key].as_str().expect("text").to_owned();
            let named: BTreeSet<String> =
                list.clone().filter(|one| one["in"] == "path").map(|one| text(one, "name")).collect();
            let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            assert_eq!(named, parts.map(str::to_owned).collect(), "{path}");
            seen.extend(list.map(|one| text(one, "in")));
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["header", "path", "query"]);
}

#[tokio::test]
async fn every_described_method_is_answered_and_no_other() {
    let server = Server::start().await;
    let browser = server.browser().await;
    let id = browser.post("/api/clusters", json!({})).await.is(202).id();
    let described = described(&browser.get("/api/openapi.json").await.json());
    let paths: BTreeSet<&String> = described.iter().map(|(_, path)| path).collect();
    for path in paths {
        for method in METHODS {
            let response = browser.open(method.clone(), &path.replace("{id}", &id), None).await;
            let answers = !matches!(response.status().as_u16(), 404 | 405);
            let known = described.contains(&(method.to_string(), path.clone()));
            assert_eq!(answers, known, "{method} {path}: {}", response.status());
        }
    }
}

#[tokio::test]
async fn the_description_holds_together() {
    let document = slipway::http::openapi_document();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let text = document.to_string();
    for (at, start) in text.match_indices("\"$ref\":\"#/components/schemas/") {
        let name = text[at + start.len()..].split('"').next().expect("a name");
        assert!(schemas.contains_key(name), "{name}");
    }
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("an item") {
            let responses = operation["responses"].as_object().expect("responses");
            assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path}");
            for (status, response) in responses.iter().filter(|(status, _)| !status.starts_with('2')) {
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/ErrorBody", "{method} {path} {status}");
            }
        }
    }
}
