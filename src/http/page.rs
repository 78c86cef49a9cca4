//! The page and its parts, embedded so that the binary is all there is to install.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use warp::http::{HeaderName, HeaderValue, StatusCode, header};
use warp::reply::Response;
use warp::{Filter, Rejection, Reply};

/// Nothing but what this server sends may run, load or frame the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

struct Asset {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
}

macro_rules! assets {
    ($($name:literal: $media_type:expr,)*) => {
        &[$(Asset { name: $name, media_type: $media_type, content: include_str!(concat!("page/", $name)) },)*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

static ASSETS: &[Asset] = assets! {
    "index.html": HTML,
    "style.css": "text/css; charset=utf-8",
    "favicon.svg": "image/svg+xml",
    "api.js": SCRIPT,
    "app.js": SCRIPT,
    "cluster-card.js": SCRIPT,
    "dom.js": SCRIPT,
    "enter.js": SCRIPT,
    "launch.js": SCRIPT,
    "options.js": SCRIPT,
    "shares.js": SCRIPT,
    "watch.js": SCRIPT,
};

/// Changes whenever any part does: the parts of two builds are never mixed.
static ETAG: LazyLock<String> = LazyLock::new(|| {
    let all = ASSETS.iter().fold(Sha256::new(), |hash, asset| hash.chain_update(asset.content));
    format!("\"{}\"", hex::encode(&all.finalize()[..12]))
});

pub(super) fn routes() -> impl Filter<Extract = (Response,), Error = Rejection> + Clone {
    let known = warp::header::optional::<String>("if-none-match");
    let page = warp::path::end().and(warp::get()).and(known).map(|known| respond(&ASSETS[0], known));
    let part = warp::path!("assets" / String).and(warp::get()).and(known).and_then(
        async |name: String, known: Option<String>| {
            let asset = ASSETS.iter().find(|asset| asset.name == name);
            asset.map(|asset| respond(asset, known)).ok_or_else(warp::reject::not_found)
        },
    );
    page.or(part).unify()
}

fn respond(asset: &'static Asset, known: Option<String>) -> Response {
    // Weakened when something on the way compressed the answer, and maybe one of several.
    let mut tags = known.iter().flat_map(|known| known.split(',')).map(str::trim);
    let fresh = tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == *ETAG);
    let mut response =
        if fresh { StatusCode::NOT_MODIFIED.into_response() } else { asset.content.into_response() };
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    put(header::CONTENT_TYPE, asset.media_type);
    put(header::CACHE_CONTROL, "no-cache");
    put(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::REFERRER_POLICY, "no-referrer");
    if let Ok(etag) = HeaderValue::from_str(&ETAG) {
        headers.insert(header::ETAG, etag);
    }
    response
}
