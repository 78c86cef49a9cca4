//! The command line of configurable-http-proxy, as its users know it.

use std::path::PathBuf;

use clap::Parser;

/// Proxies HTTP and WebSockets to targets that a REST API sets: a drop-in for configurable-http-proxy.
///
/// JupyterHub starts it as it starts the other. With a database, routes are events in slipway's log: they outlive
/// the process, and every proxy on the same database serves them.
#[derive(Debug, Parser)]
#[command(
    name = "configurable-http-proxy",
    version,
    max_term_width = 100,
    args_override_self = true,
    after_help = "Exit codes: 1 failed or not understood, 2 ended by SIGTERM or SIGINT."
)]
pub struct Options {
    /// Public address; nothing or * for every one
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) ip: String,
    /// Public port [default: 8000]
    #[arg(long, value_name = "N")]
    pub(super) port: Option<u16>,
    /// Unix socket to serve on, instead of address and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["ip", "port"])]
    pub(super) socket: Option<PathBuf>,
    #[command(flatten)]
    pub(super) ssl: Ssl,
    #[command(flatten)]
    pub(super) unused: Unused,

    /// Address of the REST API
    #[arg(long, value_name = "IP", default_value = "localhost")]
    pub(super) api_ip: String,
    /// Port of the REST API [default: the public port + 1]
    #[arg(long, value_name = "N")]
    pub(super) api_port: Option<u16>,
    /// Unix socket of the REST API, instead of address and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["api_ip", "api_port"])]
    pub(super) api_socket: Option<PathBuf>,

    /// Where requests go that no route matches, like http://host:port
    #[arg(long, value_name = "URL")]
    pub(super) default_target: Option<String>,
    /// Server that makes the pages for errors: asked for /CODE?url=…
    #[arg(long, value_name = "URL")]
    pub(super) error_target: Option<String>,
    /// Folder of pages for errors: CODE.html, else error.html
    #[arg(long, value_name = "DIR", conflicts_with = "error_target")]
    pub(super) error_path: Option<PathBuf>,
    /// Port on which HTTP is answered with a redirect to HTTPS
    #[arg(long, value_name = "PORT")]
    pub(super) redirect_port: Option<u16>,
    /// Port of HTTPS that is redirected to [default: the public port]
    #[arg(long, value_name = "PORT")]
    pub(super) redirect_to: Option<u16>,
    /// File for the process id, removed at the end
    #[arg(long, value_name = "FILE")]
    pub(super) pid_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) rewriting: Rewriting,
    /// Take the host as the first segment of a route's path
    #[arg(long)]
    pub(super) host_routing: bool,

    /// Address of the metrics; nothing for every one
    #[arg(long, value_name = "IP", default_value = "", hide_default_value = true)]
    pub(super) metrics_ip: String,
    /// Port of the metrics [default: none are served]
    #[arg(long, value_name = "N")]
    pub(super) metrics_port: Option<u16>,
    /// Unix socket of the metrics, instead of address and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["metrics_ip", "metrics_port"])]
    pub(super) metrics_socket: Option<PathBuf>,
    /// What to report: debug, info, warn or error
    #[arg(long, value_name = "LEVEL", default_value = "info", ignore_case = true)]
    pub(super) log_level: LogLevel,

    /// Milliseconds that a request may wait for its answer before its connection is dropped
    #[arg(long, value_name = "MS")]
    pub(super) timeout: Option<u64>,
    /// Milliseconds that a target may take to begin its answer
    #[arg(long, value_name = "MS")]
    pub(super) proxy_timeout: Option<u64>,
    /// Milliseconds that an unused connection of a client is kept [default: 5000]
    #[arg(long, value_name = "MS")]
    pub(super) keep_alive_timeout: Option<u64>,

    /// Not of configurable-http-proxy: milliseconds that requests and WebSockets get to end in after SIGTERM
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(super) drain_timeout: u64,
    /// Not of configurable-http-proxy: PostgreSQL of slipway's log, in which routes are kept
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(super) database_url: Option<String>,
    #[arg(long, env = "CONFIGPROXY_AUTH_TOKEN", hide = true, hide_env_values = true)]
    pub(super) auth_token: Option<String>,
}

/// What is changed on the way.
#[derive(Debug, clap::Args)]
pub(super) struct Rewriting {
    /// Do not tell targets of the client in X-Forwarded-* headers
    #[arg(long)]
    pub(super) no_x_forward: bool,
    /// Do not put a target's path before the request's
    #[arg(long)]
    pub(super) no_prepend_path: bool,
    /// Take the route's path off the request's
    #[arg(long)]
    pub(super) no_include_prefix: bool,
    /// Let redirects of a target to itself lead to the proxy
    #[arg(long)]
    pub(super) auto_rewrite: bool,
    /// Name the target in the Host header
    #[arg(long)]
    pub(super) change_origin: bool,
    /// Let redirects of a target to itself have this scheme: http or https
    #[arg(long, value_name = "PROTO")]
    pub(super) protocol_rewrite: Option<String>,
    /// Header for each request, like name:value; may be repeated
    #[arg(long, value_name = "HEADER")]
    pub(super) custom_header: Vec<String>,
}

/// Certificates, by the side that they are for.
#[derive(Debug, clap::Args)]
pub(super) struct Ssl {
    #[arg(long, value_name = "FILE", help = "Key of the public side, PEM", help_heading = "TLS")]
    pub(super) ssl_key: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = "Certificates of the public side, PEM", help_heading = "TLS")]
    pub(super) ssl_cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = "Authorities of clients' certificates, PEM", help_heading = "TLS")]
    pub(super) ssl_ca: Option<PathBuf>,
    #[arg(long, help = "Ask clients for certificates", help_heading = "TLS")]
    pub(super) ssl_request_cert: bool,
    #[arg(long, help = "Refuse clients without one that --ssl-ca vouches for", help_heading = "TLS")]
    pub(super) ssl_reject_unauthorized: bool,
    #[arg(long, value_name = "FILE", help = "Key of the REST API, PEM", help_heading = "TLS")]
    pub(super) api_ssl_key: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = "Certificates of the REST API, PEM", help_heading = "TLS")]
    pub(super) api_ssl_cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = "Authorities of the API's clients, PEM", help_heading = "TLS")]
    pub(super) api_ssl_ca: Option<PathBuf>,
    #[arg(long, help = "Ask the API's clients for certificates", help_heading = "TLS")]
    pub(super) api_ssl_request_cert: bool,
    #[arg(long, help = "Refuse those without one that --api-ssl-ca vouches for", help_heading = "TLS")]
    pub(super) api_ssl_reject_unauthorized: bool,
    #[arg(long, value_name = "FILE", help = "Key that is shown to https targets, PEM", help_heading = "TLS")]
    pub(super) client_ssl_key: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = "Certificates that are shown to https targets", help_heading = "TLS")]
    pub(super) client_ssl_cert: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = "Authorities of https targets, PEM", help_heading = "TLS")]
    pub(super) client_ssl_ca: Option<PathBuf>,
    #[arg(long, help = "Changes nothing: a target always shows one", help_heading = "TLS")]
    pub(super) client_ssl_request_cert: bool,
    #[arg(long, help = "Changes nothing: that is always so, without --insecure", help_heading = "TLS")]
    pub(super) client_ssl_reject_unauthorized: bool,
    #[arg(long, help = "Do not check the certificates of https targets", help_heading = "TLS")]
    pub(super) insecure: bool,
    #[arg(long, env = "CONFIGPROXY_SSL_KEY_PASSPHRASE", hide = true, hide_env_values = true)]
    pub(super) ssl_key_passphrase: Option<String>,
    #[arg(long, env = "CONFIGPROXY_API_SSL_KEY_PASSPHRASE", hide = true, hide_env_values = true)]
    pub(super) api_ssl_key_passphrase: Option<String>,
}

/// Taken so that a command line need not be changed.
#[derive(Debug, clap::Args)]
pub(super) struct Unused {
    #[arg(long, value_name = "NAME", help = "Changes nothing: TLS 1.2 and 1.3 are spoken", help_heading = "TLS")]
    pub(super) ssl_protocol: Option<String>,
    #[arg(long, value_name = "LIST", help = "Changes nothing: no weak cipher is spoken", help_heading = "TLS")]
    pub(super) ssl_ciphers: Option<String>,
    #[arg(long, help = "Changes nothing: RC4 is never spoken", help_heading = "TLS")]
    pub(super) ssl_allow_rc4: bool,
    #[arg(
        long,
        value_name = "FILE",
        help = "Changes nothing: no such key exchange is spoken",
        help_heading = "TLS"
    )]
    pub(super) ssl_dhparam: Option<PathBuf>,
    /// Changes nothing: routes are kept in memory, or in a database
    #[arg(long, value_name = "CLASS")]
    pub(super) storage_backend: Option<String>,
}

impl Unused {
    /// Those that were given, each with the reason why it changes nothing.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let tls = "TLS 1.2 and 1.3 are spoken, with the ciphers that are safe";
        [
            (self.ssl_protocol.is_some(), "--ssl-protocol", tls),
            (self.ssl_ciphers.is_some(), "--ssl-ciphers", tls),
            (self.ssl_allow_rc4, "--ssl-allow-rc4", tls),
            (self.ssl_dhparam.is_some(), "--ssl-dhparam", tls),
            (
                self.storage_backend.is_some(),
                "--storage-backend",
                "routes are kept in memory, or in PostgreSQL with --database-url",
            ),
        ]
        .into_iter()
        .filter_map(|(given, name, why)| given.then_some((name, why)))
    }
}

/// How much is reported. The names are those of JupyterHub and of winston.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogLevel {
    #[value(aliases = ["silly", "verbose"])]
    Debug,
    #[value(alias = "http")]
    Info,
    #[value(alias = "warning")]
    Warn,
    #[value(alias = "critical")]
    Error,
}

impl LogLevel {
    /// As a filter of tracing. Connections that clients break off are not worth a line below `debug`.
    pub(super) fn filter(self) -> &'static str {
        match self {
            Self::Debug => "info,slipway=debug",
            Self::Info => "warn,slipway=info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}
