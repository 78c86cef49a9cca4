//! Everybody who may come to a door, and whether they get in.

use slipway::domain::{ClusterId, Keyring, ShareId};

use super::{ENDED, GOOD, REVOKED, cookie, id, keyring, share, subject};

/// What it comes with, whether it is known by it, and to which of the three accesses it is admitted.
pub(crate) struct Guest {
    pub headers: String,
    pub query: String,
    pub known: bool,
    pub admitted: [bool; 3],
}

const TO_ALL: [bool; 3] = [true; 3];
const IF_CLASS: [bool; 3] = [false, true, true];
const IF_PUBLIC: [bool; 3] = [false, false, true];

pub(crate) fn guests() -> Vec<Guest> {
    let guest = |headers: String, query: &str, known, admitted| {
        let headers = if headers.is_empty() { headers } else { format!("{headers}\r\n") };
        Guest { headers, query: query.to_owned(), known, admitted }
    };
    let cookie_of = |value: &str| format!("cookie: a=1; slipway={value}; b=2");
    let (good, pass) = (share(GOOD), keyring().pass(id(), None));
    let password = keyring().notebook_token(id());
    let elsewhere: ClusterId = "cluster-678344".parse().expect("an id");
    let other_share = keyring().share_token(elsewhere, ShareId::from_number(GOOD));
    let foreign = Keyring::new(vec![8; 32]).expect("32 bytes");
    vec![
        guest(String::new(), "", false, IF_PUBLIC),
        guest(cookie_of(&cookie("owner")), "", true, TO_ALL),
        guest(cookie_of(&cookie("other")), "", true, IF_CLASS),
        guest(cookie_of(&format!("{}; slipway={}", cookie("other"), cookie("owner"))), "", true, TO_ALL),
        guest(cookie_of("owner.00"), "", false, IF_PUBLIC),
        guest(cookie_of(&foreign.sign_cookie(&subject("owner"))), "", false, IF_PUBLIC),
        guest("authorization: Bearer slipway_owner".into(), "", true, TO_ALL),
        guest("authorization: bearer slipway_other".into(), "", true, IF_CLASS),
        guest("authorization: Bearer slipway_admin".into(), "", true, TO_ALL),
        guest("authorization: Bearer slipway_late".into(), "", false, IF_PUBLIC),
        guest("authorization: Bearer slipway_unknown".into(), "", false, IF_PUBLIC),
        guest(String::new(), &format!("share={good}"), false, TO_ALL),
        guest(String::new(), &format!("sh%61re={good}"), false, TO_ALL),
        guest(String::new(), &format!("share={}", share(ENDED)), false, IF_PUBLIC),
        guest(String::new(), &format!("share={}", share(REVOKED)), false, IF_PUBLIC),
        guest(String::new(), &format!("share={other_share}"), false, IF_PUBLIC),
        guest(String::new(), "share=", false, IF_PUBLIC),
        guest(format!("cookie: slipway-cluster-678343={good}"), "", false, TO_ALL),
        guest(format!("cookie: slipway-cluster-678343={}", share(ENDED)), "", false, IF_PUBLIC),
        guest(format!("{}; slipway-cluster-678343={good}", cookie_of(&cookie("other"))), "", true, TO_ALL),
        guest(format!("authorization: Bearer {good}"), "", false, TO_ALL),
        guest(String::new(), &format!("token={pass}"), false, TO_ALL),
        guest(format!("authorization: token {pass}"), "", false, TO_ALL),
        guest(format!("cookie: slipway-cluster-678343={pass}"), "", false, TO_ALL),
        guest(String::new(), &format!("token={}", keyring().pass(elsewhere, None)), false, IF_PUBLIC),
        // A cluster knows it, and so does whoever was in.
        guest(String::new(), &format!("token={password}"), false, IF_PUBLIC),
        guest(format!("authorization: token {password}"), "", false, IF_PUBLIC),
    ]
}
