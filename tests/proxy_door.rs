//! Who gets past the proxy, how the others are told, and that nothing by which visitors are known reaches a target.

#[path = "proxy_door/guests.rs"]
mod guests;
mod harness;
mod proxy_bed;
#[path = "proxy_door/revoked.rs"]
mod revoked;
#[path = "proxy_door/stay.rs"]
mod stay;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use guests::guests;
use proxy_bed::{Bed, PATH, Target};
use sha2::{Digest, Sha256};
use slipway::domain::{Access, ClusterId, Door, Engine, Keyring, Prefix, RouteChange, ShareId, Subject};
use slipway::proxy::{Bearer, Clock, Doorman, Proxy, Scheme, Settings};

const NOW: i64 = 1_800_000_000_000;
const BROWSER: &str = "accept: text/html,application/xhtml+xml\r\n";

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).expect("a time")
}

fn id() -> ClusterId {
    "cluster-678343".parse().expect("an id")
}

fn subject(name: &str) -> Subject {
    name.parse().expect("a subject")
}

fn keyring() -> Keyring {
    Keyring::new(vec![7; 32]).expect("32 bytes")
}

const GOOD: u64 = 1;
const ENDED: u64 = 2;
const REVOKED: u64 = 3;

fn share(number: u64) -> String {
    keyring().share_token(id(), ShareId::from_number(number))
}

fn cookie(name: &str) -> String {
    keyring().sign_cookie(&subject(name))
}

struct House {
    bed: Bed,
    pod: Target,
    page: Target,
    doorman: Arc<Doorman>,
    now: Arc<AtomicI64>,
}

impl House {
    async fn open_to(access: Access) -> Self {
        Self::with(access, Settings::default()).await
    }

    async fn with(access: Access, settings: Settings) -> Self {
        let (pod, page) = (Target::echo().await, Target::echo().await);
        let (doorman, now) = (Arc::new(Doorman::new(keyring())), Arc::new(AtomicI64::new(NOW)));
        let bearer = |name, admin, expires_at| Bearer { subject: subject(name), admin, expires_at };
        let known = [
            ("slipway_owner", bearer("owner", false, Some(at(NOW + 1)))),
            ("slipway_other", bearer("other", false, None)),
            ("slipway_admin", bearer("organiser", true, None)),
            ("slipway_late", bearer("owner", true, Some(at(NOW)))),
        ];
        doorman.learn(known.into_iter().map(|(token, bearer)| (Sha256::digest(token).into(), bearer)).collect());
        let bed = Bed::run(Proxy {
            doorman: Some(Arc::clone(&doorman)),
            settings,
            clock: Clock::from_fn({
                let now = Arc::clone(&now);
                move || now.load(Ordering::SeqCst)
            }),
            ..Proxy::new(Arc::default(), Some(page.address))
        })
        .await;
        bed.route(Engine::Notebook, pod.address, Prefix::Keep);
        bed.route(Engine::DaskScheduler, pod.address, Prefix::Strip);
        bed.route(Engine::DaskDashboard, pod.address, Prefix::Keep);
        let house = Self { bed, pod, page, doorman, now };
        house.door(Some(access));
        house
    }

    fn door(&self, access: Option<Access>) {
        let shares = [(GOOD, NOW + 60_000), (ENDED, NOW)];
        let shares = shares.map(|(number, until)| (ShareId::from_number(number), at(until)));
        let door =
            access.map(|access| Door { owner: subject("owner"), access, shares: shares.into(), claimed: false });
        self.bed.routes.apply([RouteChange::Door { cluster: id(), door }]);
    }

    async fn ask(&self, method: &str, path: &str, headers: &str) -> String {
        self.bed
            .ask(&format!("{method} {path} HTTP/1.1\r\nhost: h:8000\r\nconnection: close\r\n{headers}\r\n"))
            .await
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        self.ask("GET", path, headers).await
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

fn location(answer: &str) -> &str {
    answer.split("\r\nlocation: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap_or_default()
}

/// What the target saw.
fn seen(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").expect("a head").1
}

/// Nothing by which slipway knows anybody may be in what a target sees.
fn assert_no_secret(seen: &str) {
    let (pass, good) = (keyring().pass(id(), None), share(GOOD));
    let secrets = [cookie("owner"), cookie("other"), good[17..].to_owned(), share(ENDED)[17..].to_owned(), pass];
    for secret in secrets {
        assert!(!seen.contains(&secret), "{seen}");
    }
    for part in ["slipway", "share=", "sh%61re="] {
        assert!(!seen.contains(part), "{seen}");
    }
}

#[tokio::test]
async fn each_visitor_is_admitted_where_it_may_enter_and_told_where_it_may_not() {
    let password = format!("authorization: token {}\r\n", keyring().notebook_token(id()));
    for (at, access) in Access::ALL.into_iter().enumerate() {
        let house = House::open_to(access).await;
        for guest in guests() {
            let case = format!("{access}: {} {}", guest.headers, guest.query);
            let refusal = if guest.known { 403 } else { 401 };
            let before = house.pod.connections();
            for (route, notebook) in
                [(PATH, true), ("/cluster-678343_9000", false), ("/cluster-678343_9001/x", false)]
            {
                let path = format!("{route}?x=1&{}", guest.query);
                let program = house.get(&path, &guest.headers).await;
                let upgrade = format!("upgrade: websocket\r\n{}", guest.headers);
                let upgrade = house
                    .bed
                    .ask(&format!(
                        "GET {path} HTTP/1.1\r\nhost: h:8000\r\nconnection: upgrade, close\r\n{upgrade}\r\n"
                    ))
                    .await;
                let post = house.ask("POST", &path, &format!("content-length: 0\r\n{}", guest.headers)).await;
                if !guest.admitted[at] {
                    for answer in [program, upgrade, post] {
                        assert_eq!(status(&answer), refusal, "{case}: {answer}");
                        assert!(answer.contains("application/json") && answer.contains("no-store"), "{answer}");
                        assert_eq!(answer.contains("www-authenticate: Bearer"), refusal == 401, "{answer}");
                    }
                    let page = house.get(&path, &format!("{BROWSER}{}", guest.headers)).await;
                    assert_eq!(status(&page), 302, "{case}: {page}");
                    assert_eq!(location(&page), format!("/?enter={route}"), "without what may be a secret");
                    continue;
                }
                for answer in [program, upgrade, post] {
                    assert_eq!(status(&answer), 200, "{case}: {answer}");
                    assert_no_secret(seen(&answer));
                    let own = guest.headers.contains(password.trim());
                    assert_eq!(seen(&answer).contains(&password), notebook || own, "{case}: {answer}");
                    assert!(seen(&answer).contains("?x=1"), "{answer}");
                }
            }
            if !guest.admitted[at] {
                assert_eq!(house.pod.connections(), before, "{case}: not a byte");
            }
        }
    }
}

#[tokio::test]
async fn a_browser_that_follows_a_link_gets_a_cookie_for_the_cluster_and_an_address_without_it() {
    let house = House::open_to(Access::Owner).await;
    for (name, token, age) in [("share", share(GOOD), "; Max-Age=60"), ("token", keyring().pass(id(), None), "")] {
        let answer = house.get(&format!("{PATH}/lab/tree/a%20b?x=%26&{name}={token}&y"), BROWSER).await;
        assert_eq!((status(&answer), location(&answer)), (302, "/cluster-678343/lab/tree/a%20b?x=%26&y"));
        assert!(answer.contains("referrer-policy: no-referrer") && answer.contains("no-store"), "{answer}");
        let cookies: Vec<_> = answer.split("\r\n").filter_map(|line| line.strip_prefix("set-cookie: ")).collect();
        let cookie = format!("slipway-cluster-678343={token}; Path=/{age}; HttpOnly; SameSite=Lax");
        assert_eq!(cookies, [cookie.as_str()]);
        let bare = house.get(&format!("{PATH}?{name}={token}"), BROWSER).await;
        assert_eq!(location(&bare), PATH);
        let pair = cookie.split(';').next().expect("a pair");
        let page = house.get(PATH, &format!("{BROWSER}cookie: {pair}\r\n")).await;
        assert_eq!(status(&page), 200, "{page}");
    }
    let owner = format!("{BROWSER}cookie: slipway={}\r\n", cookie("owner"));
    for token in [share(GOOD), share(ENDED)] {
        let answer = house.get(&format!("{PATH}?share={token}"), &owner).await;
        assert_eq!((status(&answer), location(&answer)), (302, PATH));
        assert!(!answer.contains("set-cookie"), "the owner needs none: {answer}");
    }
    assert_eq!(house.pod.connections(), 1);
}

#[tokio::test]
async fn behind_https_the_cookie_stays_there() {
    let settings = Settings { scheme: Scheme::Https, ..Settings::default() };
    let house = House::with(Access::Owner, settings).await;
    let answer = house.get(&format!("{PATH}?share={}", share(GOOD)), BROWSER).await;
    assert!(answer.contains("; SameSite=Lax; Secure\r\n"), "{answer}");
}

#[tokio::test]
async fn parts_of_a_page_and_frames_are_told_as_programs_are() {
    let house = House::open_to(Access::Owner).await;
    for more in ["sec-fetch-mode: cors", "sec-fetch-mode: navigate\r\nsec-fetch-dest: iframe", "accept: */*"] {
        let headers =
            if more.starts_with("accept") { format!("{more}\r\n") } else { format!("{BROWSER}{more}\r\n") };
        assert_eq!(status(&house.get(PATH, &headers).await), 401, "{more}");
    }
    let page =
        house.get(PATH, &format!("{BROWSER}sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n")).await;
    assert_eq!(status(&page), 302, "{page}");
    let odd = house.get(&format!("{PATH}/a%3Fb&c=d;e"), BROWSER).await;
    assert_eq!(location(&odd), "/?enter=/cluster-678343/a%253Fb%26c%3Dd%3Be");
}

#[tokio::test]
async fn another_site_cannot_make_a_browser_act() {
    let house = House::open_to(Access::Public).await;
    let owner = format!("cookie: slipway={}\r\n", cookie("owner"));
    for (origin, foreign) in [
        ("http://h:8000", false),
        ("https://H:8000", false),
        ("http://evil.example", true),
        ("http://h:8001", true),
        ("null", true),
    ] {
        let headers = format!("origin: {origin}\r\n{owner}");
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let answer = house.ask(method, PATH, &format!("content-length: 0\r\n{headers}")).await;
            assert_eq!(status(&answer), if foreign { 403 } else { 200 }, "{method} {origin}: {answer}");
        }
        let upgrade = format!(
            "GET {PATH} HTTP/1.1\r\nhost: h:8000\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n{headers}\r\n"
        );
        assert_eq!(status(&house.bed.ask(&upgrade).await), if foreign { 403 } else { 200 }, "{origin}");
        assert_eq!(status(&house.get(PATH, &headers).await), 200, "it only looks");
    }
}

#[tokio::test]
async fn the_host_is_the_one_that_a_trusted_proxy_was_asked_for() {
    for (trusted, expected) in [(vec!["127.0.0.0/8".parse().expect("a network")], 200), (vec![], 403)] {
        let house = House::with(Access::Public, Settings { trusted, ..Settings::default() }).await;
        let headers = "content-length: 0\r\norigin: https://class.example\r\nx-forwarded-host: class.example\r\n";
        assert_eq!(status(&house.ask("POST", PATH, headers).await), expected);
    }
}

#[tokio::test]
async fn what_belongs_to_the_target_arrives() {
    let house = House::open_to(Access::Public).await;
    let headers = "authorization: Basic eDp5\r\ncookie: a=1; slipway=x; _xsrf=2\r\n\
                   referer: http://h:8000/cluster-678343/lab?a=1&share=SECRET&token=SECRET&b\r\n";
    let answer = house.get("/cluster-678343/proxy?token=own&share=SECRET&a=%20", headers).await;
    let seen = seen(&answer);
    assert!(seen.starts_with("GET /cluster-678343/proxy?token=own&a=%20 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("\r\nauthorization: Basic eDp5\r\n"), "{seen}");
    assert!(seen.contains("\r\ncookie: a=1; _xsrf=2\r\n"), "{seen}");
    assert!(seen.contains("\r\nreferer: http://h:8000/cluster-678343/lab?a=1&b\r\n"), "{seen}");
    assert!(!seen.contains("SECRET"), "{seen}");
}

#[tokio::test]
async fn a_route_without_a_door_is_shut_and_so_is_one_of_no_cluster() {
    let house = House::open_to(Access::Public).await;
    house.door(None);
    let admin = "authorization: Bearer slipway_admin\r\n";
    assert_eq!(status(&house.get(PATH, admin).await), 401);
    assert_eq!(status(&house.get(PATH, &format!("{BROWSER}{admin}")).await), 302);
    house.door(Some(Access::Public));
    assert_eq!(status(&house.get(PATH, "").await), 200, "its routes see the door that comes again");
    house
        .bed
        .routes
        .apply([RouteChange::Remove { path: house.bed.routes.get(PATH).expect("a route").path().clone() }]);
    let answer = house.get(PATH, "").await;
    assert_eq!(status(&answer), 200, "what no route matches is for the API to answer: {answer}");
    assert_eq!(house.page.connections(), 1);
}

#[tokio::test]
async fn a_target_cannot_set_what_lets_visitors_in() {
    let target = Target::saying(
        "HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: slipway-cluster-678343=forged; Path=/\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let house = House::open_to(Access::Public).await;
    house.bed.route(Engine::Notebook, target.address, Prefix::Keep);
    let answer = house.get(PATH, "").await;
    assert!(answer.contains("set-cookie: a=1\r\n") && !answer.contains("forged"), "{answer}");
}

#[tokio::test]
async fn without_a_page_browsers_are_told_too() {
    let proxy = Proxy { doorman: Some(Arc::new(Doorman::new(keyring()))), ..Proxy::new(Arc::default(), None) };
    let bed = Bed::run(proxy).await;
    let pod = Target::echo().await;
    bed.route(Engine::Notebook, pod.address, Prefix::Keep);
    let answer = bed.ask(&format!("GET {PATH} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{BROWSER}\r\n")).await;
    assert_eq!((status(&answer), pod.connections()), (401, 0), "{answer}");
}

const SOON: Duration = Duration::from_secs(1);

fn later(minutes: i64) -> DateTime<Utc> {
    slipway::clock::Clock::system().now() + TimeDelta::minutes(minutes)
}
