//! The doorman: settles who may enter a cluster before a byte of the request reaches it.
//!
//! What a visitor proves itself by is slipway's own and goes no further: cookies, tokens and the links' signatures are
//! taken out of the request. A notebook, which asks everybody for its password, is given that instead.

use std::collections::{HashMap, HashSet};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use http::{Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::gate::Gate;
use crate::domain::{ClusterId, Door, Keyring, Subject, Visitor};
use crate::proxy::answer::pages;
use crate::proxy::request::{cookies, forwarded, origin, query};
use crate::proxy::table::routes::Entry;
use crate::proxy::{Body, Fields, RequestHead};

const STRANGER: &str = "This cluster is not open to everybody: come with its owner's cookie, with Authorization: Bearer \
                        and an API token, or by a share link.";
const NOT_YOU: &str = "This cluster is not open to you. Ask its owner for a share link.";
const FOREIGN: &str = "Another site has made your browser ask this.";

/// How the tokens of the command line begin.
const API_TOKEN: &str = "slipway_";
/// More links than this are not looked at in one query.
const MOST_LINKS: usize = 4;

/// SHA-256 of an API token. To look one up by its hash tells nothing by how long it takes.
pub type TokenHash = [u8; 32];

/// Whom an API token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub subject: Subject,
    /// May enter everyone's clusters.
    pub admin: bool,
    pub expires_at: Option<DateTime<Utc>>,
}

/// What it takes to know the visitors of all clusters. Their doors come with the routes.
#[derive(Debug)]
pub struct Doorman {
    keyring: Keyring,
    bearers: ArcSwap<HashMap<TokenHash, Bearer>>,
    /// Whose cookies count no more.
    forgotten: ArcSwap<HashSet<Subject>>,
    relearnt: Notify,
}

impl Bearer {
    fn counts(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }

    fn visitor(&self) -> Visitor<'_> {
        if self.admin { Visitor::Admin } else { Visitor::Known(&self.subject) }
    }
}

/// Not to be let in, or to stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unwelcome;

/// A request at the door of a cluster.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    pub request: &'a RequestHead,
    /// The client would change the protocol.
    pub upgrade: bool,
    pub entry: &'a Entry,
    pub by: forwarded::By<'a>,
    pub now_ms: i64,
    /// There is a page that explains.
    pub page: bool,
}

/// Somebody who was let in, and what the target gets in place of what they sent.
#[derive(Debug)]
pub(crate) struct Luggage<'a> {
    /// By what they may stay, if they are to.
    pub proofs: Vec<Proof>,
    pub authorization: Authorization<'a>,
    /// None if the client's query is as it should be.
    pub query: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Authorization<'a> {
    Kept,
    Dropped,
    /// The notebook's own.
    Password(&'a str),
}

/// What a visitor has shown. What it is worth can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    Known(Subject),
    Bearer(TokenHash),
    Link(Visitor<'static>),
}

/// Whose `Authorization` a request bears.
enum Header {
    Absent,
    /// The target's affair.
    Foreign,
    /// One of ours that does not count, or not yet.
    Unknown,
    Bearer(TokenHash),
    Link(Visitor<'static>),
}

impl Doorman {
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring, bearers: ArcSwap::default(), forgotten: ArcSwap::default(), relearnt: Notify::new() }
    }

    /// From now on these are the tokens that count, and no others.
    pub fn learn(&self, bearers: HashMap<TokenHash, Bearer>) {
        if **self.bearers.load() != bearers {
            self.bearers.store(bearers.into());
            self.relearnt.notify_waiters();
        }
    }

    /// From now on cookies of these subjects count no more.
    pub fn forget(&self, subjects: HashSet<Subject>) {
        if **self.forgotten.load() != subjects {
            self.forgotten.store(subjects.into());
            self.relearnt.notify_waiters();
        }
    }

    /// Lets the request in, or answers it.
    pub(crate) fn meet<'a>(&self, asking: &Asking<'a>) -> Result<Luggage<'a>, Box<Response<Body>>> {
        let fields = &asking.request.fields;
        // HTTP/2 names the host in its own way.
        let authority = || asking.request.uri.authority().map(|authority| authority.as_str().as_bytes());
        if origin::is_foreign(asking.request, asking.upgrade, asking.by.host(fields).or_else(authority)) {
            return Err(Box::new(pages::refused(StatusCode::FORBIDDEN, FOREIGN)));
        }
        let Some(gate) = asking.entry.gate() else { return Err(asking.refusal(false)) };
        let door = gate.door();
        let Some(door) = door.as_deref() else { return Err(asking.refusal(false)) };
        let cluster = gate.cluster();
        let now = DateTime::from_timestamp_millis(asking.now_ms).unwrap_or_default();

        let header = self.header(cluster, door, fields, now);
        let mut by_itself = door.admits(Visitor::Stranger, now);
        let (mut known, mut proofs) = (false, vec![]);
        // Whoever is to stay shows all there is, so as not to have to leave while any of it holds.
        if !by_itself || asking.upgrade {
            for proof in self.shown(gate, door, fields, &header) {
                known |= matches!(proof, Proof::Known(_) | Proof::Bearer(_));
                by_itself |= self.welcomes(&proof, door, now).is_ok();
                if asking.upgrade {
                    proofs.push(proof);
                } else if by_itself {
                    break;
                }
            }
        }
        let queried = asking.request.uri.query().unwrap_or_default();
        let link =
            self.link_in(cluster, door, queried).filter(|(_, visitor)| by_itself || door.admits(*visitor, now));
        if !by_itself && link.is_none() {
            return Err(asking.refusal(known));
        }
        proofs.extend(link.as_ref().map(|(_, visitor)| Proof::Link(*visitor)).filter(|_| asking.upgrade));
        let cleaned = || {
            query::without(queried, |name, value| {
                name == "share" || (name == "token" && self.is_link(cluster, door, value))
            })
        };
        if let Some((token, visitor)) = &link
            && asking.navigates()
        {
            let cookie = (!by_itself).then(|| asking.link_cookie(gate, door, token, *visitor, now));
            return Err(Box::new(pages::moved(&asking.at(&cleaned().unwrap_or_default()), cookie)));
        }
        let authorization = match (header, gate.password(asking.entry.path(), &self.keyring)) {
            (Header::Foreign, _) | (Header::Absent, None) => Authorization::Kept,
            (Header::Unknown | Header::Bearer(_) | Header::Link(_), None) => Authorization::Dropped,
            (Header::Absent | Header::Unknown | Header::Bearer(_) | Header::Link(_), Some(password)) => {
                Authorization::Password(password)
            }
        };
        Ok(Luggage { proofs, authorization, query: cleaned() })
    }

    /// Everything in the headers that proves something, true or not any more.
    fn shown<'s>(
        &'s self,
        gate: &'s Gate,
        door: &'s Door,
        fields: &'s Fields,
        header: &'s Header,
    ) -> impl Iterator<Item = Proof> + 's {
        let people = cookies::values(fields, cookies::PERSON)
            .filter_map(|value| self.keyring.verify_cookie(value))
            .filter(|subject| !self.forgotten.load().contains(subject));
        let by_header = match header {
            Header::Absent | Header::Foreign | Header::Unknown => None,
            Header::Bearer(hash) => Some(Proof::Bearer(*hash)),
            Header::Link(visitor) => Some(Proof::Link(*visitor)),
        };
        let links =
            cookies::values(fields, gate.cookie()).filter_map(|token| self.link(gate.cluster(), door, token));
        people.map(Proof::Known).chain(by_header).chain(links.map(Proof::Link))
    }

    /// Until when the proof opens the door, if that has an end.
    fn welcomes(
        &self,
        proof: &Proof,
        door: &Door,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Unwelcome> {
        let bearers = self.bearers.load();
        let (visitor, until) = match proof {
            Proof::Known(subject) if self.forgotten.load().contains(subject) => return Err(Unwelcome),
            Proof::Known(subject) => (Visitor::Known(subject), None),
            Proof::Link(visitor) => (*visitor, door.ends(*visitor)),
            Proof::Bearer(hash) => {
                let bearer = bearers.get(hash).filter(|bearer| bearer.counts(now)).ok_or(Unwelcome)?;
                (bearer.visitor(), bearer.expires_at)
            }
        };
        door.admits(visitor, now).then_some(until).ok_or(Unwelcome)
    }

    /// Whether somebody who has shown all this may still be there, and until when if that has an end.
    ///
    /// # Errors
    /// Whoever may not.
    pub(crate) fn still(
        &self,
        proofs: &[Proof],
        gate: &Gate,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Unwelcome> {
        let door = gate.door();
        let door = door.as_deref().ok_or(Unwelcome)?;
        if door.admits(Visitor::Stranger, now) {
            return Ok(None);
        }
        let ends = proofs.iter().filter_map(|proof| self.welcomes(proof, door, now).ok());
        // Without an end is later than any.
        ends.max_by_key(|end| (end.is_none(), *end)).ok_or(Unwelcome)
    }

    /// Ends when the tokens or people that count have become others.
    pub(crate) fn relearnt(&self) -> Notified<'_> {
        self.relearnt.notified()
    }

    fn header(&self, cluster: ClusterId, door: &Door, fields: &Fields, now: DateTime<Utc>) -> Header {
        let Some(value) = fields.get("authorization") else { return Header::Absent };
        let Some((scheme, token)) = std::str::from_utf8(value).ok().and_then(|text| text.split_once(' ')) else {
            return Header::Foreign;
        };
        if !scheme.eq_ignore_ascii_case("bearer") && !scheme.eq_ignore_ascii_case("token") {
            return Header::Foreign;
        }
        let token = token.trim();
        let hash: TokenHash = Sha256::digest(token.as_bytes()).into();
        if let Some(bearer) = self.bearers.load().get(&hash) {
            return if bearer.counts(now) { Header::Bearer(hash) } else { Header::Unknown };
        }
        match self.link(cluster, door, token) {
            Some(visitor) => Header::Link(visitor),
            // Revoked, or so new that it is not known yet.
            None if token.starts_with(API_TOKEN) => Header::Unknown,
            None => Header::Foreign,
        }
    }

    /// The first link in the query that this installation made, whether or not it still counts.
    fn link_in(&self, cluster: ClusterId, door: &Door, queried: &str) -> Option<(String, Visitor<'static>)> {
        ["share", "token"].into_iter().flat_map(|name| query::values(queried, name)).take(MOST_LINKS).find_map(
            |token| {
                let visitor = self.link(cluster, door, &token)?;
                Some((token.into_owned(), visitor))
            },
        )
    }

    fn link(&self, cluster: ClusterId, door: &Door, token: &str) -> Option<Visitor<'static>> {
        match self.keyring.verify_share(cluster, token) {
            Some(share) => Some(Visitor::Guest(share)),
            None => self.keyring.verify_pass(cluster, door.claimant(), token).then_some(Visitor::Pass),
        }
    }

    fn is_link(&self, cluster: ClusterId, door: &Door, token: &str) -> bool {
        self.link(cluster, door, token).is_some()
    }
}

impl Asking<'_> {
    /// Whether a browser would show the answer as a page.
    fn navigates(&self) -> bool {
        let fields = &self.request.fields;
        let mode = fields.get("sec-fetch-mode");
        self.request.method.is_safe()
            && !self.upgrade
            && pages::wants_page(fields)
            && mode.is_none_or(|mode| mode == b"navigate")
    }

    /// To the page that explains, if a person would see it there; else what a program can read.
    fn refusal(&self, known: bool) -> Box<Response<Body>> {
        let framed = self.request.fields.get("sec-fetch-dest").is_some_and(|dest| dest != b"document");
        if self.page && self.navigates() && !framed {
            return Box::new(pages::moved(&format!("/?enter={}", pages::quoted(self.request.uri.path())), None));
        }
        let (status, why) =
            if known { (StatusCode::FORBIDDEN, NOT_YOU) } else { (StatusCode::UNAUTHORIZED, STRANGER) };
        Box::new(pages::refused(status, why))
    }

    /// The same address with another query.
    fn at(&self, query: &str) -> String {
        let path = self.request.uri.path();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    /// The cookie by which a browser that followed a link is known at all routes of the cluster, until the link ends.
    fn link_cookie(
        &self,
        gate: &Gate,
        door: &Door,
        token: &str,
        visitor: Visitor<'_>,
        now: DateTime<Utc>,
    ) -> String {
        let until = door.ends(visitor);
        let age = until.map_or_else(String::new, |until| format!("; Max-Age={}", (until - now).num_seconds()));
        let secure = if self.by.is_https(&self.request.fields) { "; Secure" } else { "" };
        format!("{}={token}; Path=/{age}; HttpOnly; SameSite=Lax{secure}", gate.cookie())
    }
}
