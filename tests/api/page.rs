//! The page and its parts.

use std::collections::BTreeSet;

use crate::server::Server;

/// What stands in quotation marks behind each of these.
fn quoted(text: &str, before: &str) -> Vec<String> {
    let starts = text.match_indices(before).map(|(at, _)| &text[at + before.len()..]);
    starts.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_page_may_load_nothing_from_elsewhere() {
    let server = Server::start().await;
    let page = server.stranger().get("/").await.is(200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").expect("a policy");
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let html = page.text();
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains(" onclick="), "inline");
}

#[tokio::test]
async fn whoever_has_the_page_is_told_so() {
    let server = Server::start().await;
    let page = server.stranger().get("/").await.is(200);
    let etag = page.header("etag").expect("an etag").to_owned();
    let again = server.stranger().with("if-none-match", &etag).get("/").await.is(304);
    assert!(again.body.is_empty());
    assert_eq!(again.header("etag"), Some(etag.as_str()));
    let weak = server.stranger().with("if-none-match", &format!("\"x\", W/{etag}")).get("/").await;
    weak.is(304);
    server.stranger().with("if-none-match", "\"older\"").get("/").await.is(200);
}

#[tokio::test]
async fn all_that_the_page_asks_for_is_there() {
    let server = Server::start().await;
    let html = server.stranger().get("/").await.text();
    let mut wanted: Vec<String> = quoted(&html, "href=\"/assets/");
    wanted.extend(quoted(&html, "src=\"/assets/"));
    let mut seen = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let part = server.stranger().get(&format!("/assets/{name}")).await.is(200);
        let kind = match name.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            Some((_, "svg")) => "image/svg+xml",
            other => panic!("{other:?}"),
        };
        assert_eq!(part.header("content-type"), Some(kind), "{name}");
        assert!(part.header("etag").is_some() && part.header("content-security-policy").is_some(), "{name}");
        wanted.extend(quoted(&part.text(), "from \"./"));
        wanted.extend(quoted(&part.text(), "import(\"./"));
    }
    assert!(seen.len() > 6 && seen.contains("dom.js"), "{seen:?}");
}

#[tokio::test]
async fn every_module_names_what_the_others_export() {
    let server = Server::start().await;
    let app = server.stranger().get("/assets/app.js").await.text();
    for line in app.lines().filter(|line| line.starts_with("import {")) {
        let names = line.trim_start_matches("import {").split('}').next().expect("names").split(',');
        let module = quoted(line, "from \"./").remove(0);
        let text = server.stranger().get(&format!("/assets/{module}")).await.text();
        for name in names.map(str::trim) {
            let forms = ["function ", "const ", "class ", "let ", "async function "];
            let exported = forms.iter().any(|form| text.contains(&format!("export {form}{name}")));
            assert!(exported, "{module} does not export {name}");
        }
    }
}

#[tokio::test]
async fn the_server_says_whether_it_is_well() {
    let server = Server::start().await;
    assert_eq!(server.stranger().get("/healthz").await.is(200).json()["status"], "ok");
    assert_eq!(server.stranger().get("/readyz").await.is(200).json()["status"], "ready");
}
