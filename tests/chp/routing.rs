//! Where requests go and what arrives there.

use crate::chp_bed::Chp;
use crate::proxy_bed::Target;

/// The first line and the headers that the target got.
async fn arrives(chp: &Chp, path: &str) -> String {
    let answer = chp.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

#[tokio::test]
async fn the_path_is_made_as_the_options_say() {
    let target = Target::echo().await;
    let (plain, based) = (format!("http://{}", target.address), format!("http://{}/foo/", target.address));
    let (no_prepend, no_prefix) = ("--no-prepend-path", "--no-include-prefix");
    for (options, of_base, of_plain) in [
        (&[][..], "/foo/bar/rest?q=%2F", "/plain/a%20b"),
        (&[no_prepend], "/bar/rest?q=%2F", "/plain/a%20b"),
        (&[no_prefix], "/foo/rest?q=%2F", "/a%20b"),
        (&[no_prepend, no_prefix], "/rest?q=%2F", "/a%20b"),
    ] {
        let chp = Chp::start(options).await;
        chp.post("/bar", &based).await;
        chp.post("/plain", &plain).await;
        for (asked, expected) in [("/bar/rest?q=%2F", of_base), ("/plain/a%20b", of_plain)] {
            let text = arrives(&chp, asked).await;
            assert!(text.starts_with(&format!("GET {expected} HTTP/1.1\r\n")), "{options:?} {asked}: {text}");
        }
    }
}

#[tokio::test]
async fn the_longest_route_of_whole_segments_wins() {
    let chp = Chp::start(&[]).await;
    let mut targets = vec![];
    for path in ["/", "/user/zoe@x", "/user/zoe@x/named", "/a/b"] {
        let target = Target::echo().await;
        chp.post(path, &format!("http://{}/to{}", target.address, targets.len())).await;
        targets.push(target);
    }
    for (asked, to) in [
        ("/", 0),
        ("/user/zoe@xy", 0),
        ("/user/zoe@x", 1),
        ("/user/zoe%40x/lab?x", 1),
        ("/user/zoe@x/named/lab", 2),
        ("/user/zoe@x/namedx", 1),
        ("/a", 0),
        ("/a/b", 3),
    ] {
        let text = arrives(&chp, asked).await;
        assert!(text.starts_with(&format!("GET /to{to}/")), "{asked}: {text}");
    }
    assert_eq!(chp.rest("DELETE", "/api/routes/user/zoe@x", "").await.0, 204);
    assert!(arrives(&chp, "/user/zoe@x/lab").await.starts_with("GET /to0/"));
    assert!(arrives(&chp, "/user/zoe@x/named").await.starts_with("GET /to2/"));
}

#[tokio::test]
async fn hosts_have_routes_of_their_own() {
    let chp = Chp::start(&["--host-routing"]).await;
    let target = Target::echo().await;
    for (path, base) in [("/hub.example", "a"), ("/hub.example/user/zoe", "b"), ("/", "c")] {
        chp.post(path, &format!("http://{}/{base}", target.address)).await;
    }
    assert_eq!(chp.routes().await["/hub.example/user/zoe"]["host"], "hub.example");
    for (host, path, expected) in [
        ("hub.example:8000", "/x", "/a/x"),
        ("hub.example", "/user/zoe/lab", "/b/user/zoe/lab"),
        ("other.example", "/hub.example/user/zoe", "/c/hub.example/user/zoe"),
    ] {
        let text = chp.get_of(host, path).await.body;
        assert!(text.starts_with(&format!("GET {expected} ")), "{host}{path}: {text}");
    }
}

#[tokio::test]
async fn a_name_is_looked_up_and_the_default_target_is_a_route() {
    let target = Target::echo().await;
    let default = format!("http://localhost:{}", target.address.port());
    let chp = Chp::start(&["--default-target", &default]).await;
    assert_eq!(chp.routes().await["/"]["target"], default);
    assert!(arrives(&chp, "/anything").await.starts_with("GET /anything "));
}

#[tokio::test]
async fn targets_are_told_of_the_client_unless_that_is_not_wanted() {
    let target = Target::echo().await;
    let url = format!("http://{}", target.address);
    let chp = Chp::start(&["--default-target", &url]).await;
    let ask = "GET / HTTP/1.1\r\nhost: hub.example:8000\r\nx-forwarded-for: 1.2.3.4\r\n\
               x-forwarded-proto: https\r\ncookie: slipway=theirs\r\nconnection: close\r\n\r\n";
    let text = crate::chp_bed::ask(chp.public, ask).await.body;
    for line in [
        "host: hub.example:8000",
        "x-forwarded-for: 1.2.3.4, 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: hub.example:8000",
        "cookie: slipway=theirs",
    ] {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}: {text}");
    }
    let silent = Chp::start(&["--default-target", &url, "--no-x-forward"]).await;
    let text = crate::chp_bed::ask(silent.public, ask).await.body;
    assert!(text.contains("x-forwarded-for: 1.2.3.4\r\n") && !text.contains("x-forwarded-host"), "{text}");
}

#[tokio::test]
async fn headers_are_added_and_the_host_is_the_targets_if_that_is_asked_for() {
    let target = Target::echo().await;
    let url = format!("http://localhost:{}", target.address.port());
    let headers = ["--custom-header", " k1 : v1 ", "--custom-header", "accept:ours", "--change-origin"];
    let chp = Chp::start(&[&["--default-target", &url], &headers[..]].concat()).await;
    let ask = "GET / HTTP/1.1\r\nhost: h\r\naccept: theirs\r\nconnection: close\r\n\r\n";
    let text = crate::chp_bed::ask(chp.public, ask).await.body;
    assert!(text.contains(&format!("\r\nhost: localhost:{}\r\n", target.address.port())), "{text}");
    assert!(text.contains("\r\nk1: v1\r\n") && text.contains("\r\naccept: ours\r\n"), "{text}");
    assert!(!text.contains("theirs") && text.contains("x-forwarded-host: h\r\n"), "{text}");
}

#[tokio::test]
async fn redirects_of_a_target_to_itself_are_rewritten() {
    let target = Target::new(|mut stream, _| async move {
        let head = crate::proxy_bed::read_head(&mut stream).await;
        let address = stream.local_addr().expect("an address");
        let to = if head.starts_with("GET /away") { "elsewhere:1".to_owned() } else { address.to_string() };
        let answer = format!("HTTP/1.1 302 Found\r\nlocation: http://{to}/x?y\r\ncontent-length: 0\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.expect("taken");
    })
    .await;
    let url = format!("http://{}", target.address);
    for (options, location) in [
        (&["--auto-rewrite"][..], "http://hub.example:8000/x?y".to_owned()),
        (&["--auto-rewrite", "--protocol-rewrite", "https"], "https://hub.example:8000/x?y".to_owned()),
        (&[], format!("http://{}/x?y", target.address)),
    ] {
        let chp = Chp::start(&[&["--default-target", &url], options].concat()).await;
        let head = chp.get("/").await.head;
        assert!(head.contains(&format!("location: {location}")), "{options:?}: {head}");
        let head = chp.get("/away").await.head;
        assert!(head.contains("location: http://elsewhere:1/x?y"), "{options:?}: {head}");
    }
}
