//! Who is asking: a browser by its signed cookie, or a program by its bearer token.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::time::Instant;
use uuid::Uuid;
use warp::http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::Api;
use super::problem::Problem;
use crate::domain::Subject;

/// The cookie's name. The proxy takes it out of what clusters get.
const COOKIE: &str = "slipway";
/// How long a browser keeps it, in seconds: half a year, a term with its exams.
const COOKIE_SECONDS: u32 = 180 * 86_400;

/// Somebody who may ask.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) subject: Subject,
    /// Sees and stops everyone's clusters, and reads the audit trail.
    pub(super) admin: bool,
    /// Set when the browser is to be given this cookie.
    pub(super) cookie: Option<HeaderValue>,
}

/// What a class is told so that nobody else launches clusters.
pub struct AccessCode {
    code: String,
    wrong: Mutex<VecDeque<Instant>>,
}

impl fmt::Debug for AccessCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessCode(…)")
    }
}

impl AccessCode {
    /// Wrong codes taken per minute, from everyone together, before the door is shut for the rest of it.
    const MOST_WRONG: usize = 60;

    pub fn new(code: String) -> Self {
        Self { code, wrong: Mutex::default() }
    }

    pub(super) fn check(&self, given: &str) -> Result<(), Problem> {
        let now = Instant::now();
        let mut wrong = self.wrong.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        wrong.retain(|at| now - *at < Duration::from_secs(60));
        if wrong.len() >= Self::MOST_WRONG {
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", "Too many wrong codes")
                .action("Wait a minute, then try again")
                .retry_after(60));
        }
        // As MACs under one key, so that the time taken tells nothing of the code, its length included.
        let mac = |text: &str| Hmac::<Sha256>::new_from_slice(b"access code").map(|mac| mac.chain_update(text));
        let same = match (mac(given.trim()), mac(&self.code)) {
            (Ok(given), Ok(code)) => given.verify(&code.finalize().into_bytes()).is_ok(),
            _ => false,
        };
        if same {
            return Ok(());
        }
        wrong.push_back(now);
        Err(Problem::new(StatusCode::FORBIDDEN, "wrong_access_code", "That is not the access code")
            .action("Ask your teacher for it; capital letters count"))
    }
}

impl Api {
    /// Whom the headers prove the request to be from, if anybody.
    pub(super) async fn known(&self, method: &Method, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            return self.by_token(value).await.map(Some);
        }
        refuse_foreign_site(method, headers)?;
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let ours = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let subject =
            ours.filter(|(name, _)| *name == COOKIE).find_map(|(_, value)| self.keyring.verify_cookie(value));
        let subject = subject.filter(|subject| !self.forgotten.holds(subject));
        Ok(subject.map(|subject| Caller { subject, admin: false, cookie: None }))
    }

    /// As [`known`](Self::known), but a stranger is made known where no access code is asked for.
    pub(super) async fn known_or_new(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
        match self.known(method, headers).await? {
            Some(caller) => Ok(caller),
            None if self.access_code.is_none() => self.newcomer(headers),
            None => {
                Err(Problem::new(StatusCode::UNAUTHORIZED, "access_code_required", "An access code is asked for")
                    .action("Give it on the start page, or send a bearer token"))
            }
        }
    }

    /// As [`known`](Self::known), but a stranger is refused.
    pub(super) async fn known_only(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
        self.known(method, headers).await?.ok_or_else(|| {
            Problem::new(StatusCode::UNAUTHORIZED, "not_signed_in", "The request does not say who asks")
                .action("Open the start page first, or send the cookie of GET /api/session or a bearer token")
        })
    }

    /// # Errors
    /// 403 for callers without an admin token.
    pub(super) async fn admin_only(&self, method: &Method, headers: &HeaderMap) -> Result<Caller, Problem> {
        let caller = self.known_only(method, headers).await?;
        if caller.admin {
            return Ok(caller);
        }
        Err(Problem::new(StatusCode::FORBIDDEN, "admins_only", "Only an administrator may see this")
            .action("Send a token made by `slipway token create --admin`"))
    }

    /// A new identity for a browser, with the cookie that proves it.
    pub(super) fn newcomer(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let subject: Subject = format!("browser:{}", Uuid::new_v4().simple()).parse()?;
        let cookie = Some(self.cookie(&subject, headers));
        Ok(Caller { subject, admin: false, cookie })
    }

    /// The cookie that proves this subject.
    pub(super) fn cookie(&self, subject: &Subject, headers: &HeaderMap) -> HeaderValue {
        let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
        let cookie = format!(
            "{COOKIE}={}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; SameSite=Lax{}",
            self.keyring.sign_cookie(subject),
            if secure { "; Secure" } else { "" },
        );
        HeaderValue::try_from(cookie).expect("subjects and signatures are plain ASCII")
    }

    async fn by_token(&self, value: &HeaderValue) -> Result<Caller, Problem> {
        let token = value.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let bearer = match token {
            Some(token) => self.service.store().bearer(token).await?,
            None => None,
        };
        let bearer = bearer.ok_or_else(|| {
            Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", "The token is unknown, expired or revoked")
                .action("Send Authorization: Bearer and a token made by `slipway token create`")
        })?;
        Ok(Caller { subject: bearer.subject, admin: bearer.admin, cookie: None })
    }
}

/// A cookie comes along even when another site made the browser ask; then it does not count.
fn refuse_foreign_site(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    let own = matches!(site, None | Some("same-origin" | "none"));
    if method.is_safe() || own {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign_site", "Another site has made your browser ask this")
        .action("Use the start page"))
}
