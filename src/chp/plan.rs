//! What the command line comes to, checked before anything is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use http::header::{HeaderName, HeaderValue};

use super::certificates::Sides;
use super::listen::Place;
use super::options::{Options, Rewriting};
use super::pages::ErrorPages;
use crate::domain::Prefix;
use crate::proxy::{Manner, Relocation, Settings, Upstream};

/// The path on the public port that tells that the proxy runs.
const HEALTH: &str = "/_chp_healthz";
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Everything that one proxy is started with.
#[derive(Debug)]
pub struct Plan {
    pub(super) front: Place,
    pub(super) api: Place,
    pub(super) tls: Sides,
    pub(super) redirect: Option<Redirect>,
    pub(super) metrics: Option<Place>,
    pub(super) token: Option<String>,
    pub(super) default_target: Option<Upstream>,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) rules: Rules,
    pub(super) manner: Manner,
    pub(super) settings: Settings,
    /// Where slipway's log is, if routes are to be kept there.
    pub database: Option<String>,
}

/// Redirects HTTP on one port to HTTPS on another.
#[derive(Debug)]
pub(super) struct Redirect {
    pub from: Place,
    pub to: u16,
}

/// What posted routes are made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Whether a target's path is put before the request's.
    pub prepends: bool,
    pub prefix: Prefix,
    /// Whether a route's first segment is a host.
    pub by_host: bool,
}

impl Options {
    /// What to report before there is a plan.
    pub fn log_filter(&self) -> &'static str {
        self.log_level.filter()
    }

    /// Checks what was given.
    ///
    /// # Errors
    /// With the option that is wrong and what it should be.
    pub fn plan(self) -> anyhow::Result<Plan> {
        for (name, why) in self.unused.given() {
            tracing::warn!("{name} changes nothing: {why}");
        }
        let rules = Rules {
            prepends: !self.rewriting.no_prepend_path,
            prefix: if self.rewriting.no_include_prefix { Prefix::Strip } else { Prefix::Keep },
            by_host: self.host_routing,
        };
        let encrypted = self.ssl.ssl_key.is_some() || self.ssl.ssl_cert.is_some();
        ensure!(encrypted || self.redirect_port.is_none(), "--redirect-port needs --ssl-key and --ssl-cert");
        ensure!(
            !encrypted || self.socket.is_none(),
            "--socket is for programs of this machine and not encrypted: leave out --ssl-key and --ssl-cert"
        );
        let encrypted = self.ssl.api_ssl_key.is_some() || self.ssl.api_ssl_cert.is_some();
        ensure!(
            !encrypted || self.api_socket.is_none(),
            "--api-socket is for programs of this machine and not encrypted: leave out --api-ssl-key and --api-ssl-cert"
        );
        let tls = self.ssl.sides()?;
        let port = self.port.unwrap_or(8000);
        let redirect = self.redirect_port.map(|from| Redirect {
            from: Place::Port { host: self.ip.clone(), port: from },
            to: self.redirect_to.unwrap_or(port),
        });
        let after = if self.socket.is_some() { 8001 } else { port.saturating_add(1) };
        let api_port = self.api_port.unwrap_or(after);
        let token = self.auth_token.filter(|token| !token.is_empty());
        if token.is_none() {
            tracing::warn!("CONFIGPROXY_AUTH_TOKEN is not set: whoever reaches the REST API may change routes");
        }
        let target = |name: &str, text: Option<String>| -> anyhow::Result<Option<Upstream>> {
            let read = |text: String| text.parse().with_context(|| format!("{name} {text} is no target"));
            text.map(read).transpose()
        };
        let pages = match (target("--error-target", self.error_target)?, self.error_path) {
            (Some(upstream), _) => ErrorPages::Target { upstream, tls: Arc::clone(&tls.targets) },
            (None, Some(folder)) => ErrorPages::Folder(folder),
            (None, None) => ErrorPages::Plain,
        };
        let millis = |given: Option<u64>| given.filter(|&ms| ms > 0).map(Duration::from_millis);
        let waits = [millis(self.timeout), millis(self.proxy_timeout)];
        Ok(Plan {
            front: Place::of(self.socket, self.ip, port),
            api: Place::of(self.api_socket, self.api_ip, api_port),
            tls,
            redirect,
            metrics: match (self.metrics_socket, self.metrics_port) {
                (Some(path), _) => Some(Place::Socket(path)),
                (None, Some(port)) => Some(Place::Port { host: self.metrics_ip, port }),
                (None, None) => None,
            },
            token,
            default_target: target("--default-target", self.default_target)?,
            pid_file: self.pid_file,
            rules,
            manner: manner(self.rewriting, rules, pages)?,
            settings: Settings {
                // Whoever stands before the hub's proxy has always been believed.
                trusted: vec!["0.0.0.0/0".parse()?, "::/0".parse()?],
                head_timeout: millis(self.keep_alive_timeout).unwrap_or(KEEP_ALIVE),
                answer_timeout: waits.into_iter().flatten().min(),
                drain: Duration::from_millis(self.drain_timeout),
                drain_tunnels: Duration::from_millis(self.drain_timeout),
                ..Settings::default()
            },
            database: self.database_url.filter(|url| !url.is_empty()),
        })
    }
}

fn manner(rewriting: Rewriting, rules: Rules, pages: ErrorPages) -> anyhow::Result<Manner> {
    let scheme = match rewriting.protocol_rewrite.as_deref() {
        None => None,
        Some("http") => Some("http"),
        Some("https") => Some("https"),
        Some(other) => bail!("--protocol-rewrite {other}: write http or https"),
    };
    let relocation = Relocation { host: rewriting.auto_rewrite, scheme };
    Ok(Manner {
        guards_cookie: false,
        tells_client: !rewriting.no_x_forward,
        names_target: rewriting.change_origin,
        by_host: rules.by_host,
        headers: rewriting.custom_header.iter().map(|text| header(text)).collect::<Result<_, _>>()?,
        relocation: (relocation.host || relocation.scheme.is_some()).then_some(relocation),
        health: Some(HEALTH),
        pages: Some(Arc::new(pages)),
    })
}

fn header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let wrong = || format!("--custom-header {text}: write it as name:value");
    let (name, value) = text.split_once(':').with_context(wrong)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).with_context(wrong)?;
    let framing = ["connection", "content-length", "transfer-encoding", "upgrade", "host"];
    ensure!(!framing.contains(&name.as_str()), "--custom-header {text}: the proxy itself writes this header");
    Ok((name, HeaderValue::from_str(value.trim()).with_context(wrong)?))
}
