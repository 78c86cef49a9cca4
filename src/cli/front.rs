//! What clients of a proxy meet: TLS, whom it believes, and its limits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::domain::Cidr;
use crate::proxy::tls::{ClientCertificates, TlsFiles, WEB};
use crate::proxy::{Scheme, ServerTls, Settings};

/// TLS, whom to believe, and limits.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Clients")]
pub struct FrontArgs {
    /// Speak TLS and HTTP/2 with this certificate and what leads to its authority (PEM); read again when it changes
    #[arg(long, env = "SLIPWAY_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, env = "SLIPWAY_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// How clients reach what stands in front of this proxy; with --tls-cert it is https
    #[arg(long, env = "SLIPWAY_SCHEME", value_name = "SCHEME", default_value = "http")]
    scheme: Speaks,
    /// Peers whose X-Forwarded-* are believed, like 10.0.0.0/8; may be repeated or separated by commas
    #[arg(long = "trusted-proxy", env = "SLIPWAY_TRUSTED_PROXY", value_name = "NETWORK", value_delimiter = ',')]
    trusted: Vec<Cidr>,
    /// Connections from one address at once, trusted proxies apart; a class may share one. 0 for any number
    #[arg(long, env = "SLIPWAY_CONNECTIONS_PER_CLIENT", value_name = "N", default_value_t = 4096)]
    connections_per_client: u32,
    /// Connections from all clients at once [default: as many as there are file descriptors for]
    #[arg(long, env = "SLIPWAY_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<u32>,
    /// What a client may pause within the body of a request
    #[arg(long, env = "SLIPWAY_BODY_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    body_timeout: Duration,
    /// What a client may take to accept some of its answer
    #[arg(long, env = "SLIPWAY_WRITE_TIMEOUT", value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    write_timeout: Duration,
    /// How often a silent peer is asked by TCP whether it is there
    #[arg(long, env = "SLIPWAY_TUNNEL_KEEPALIVE", value_name = "TIME", default_value = "30s", value_parser = seconds)]
    tunnel_keepalive: Duration,
    /// Silence of a client after which its WebSocket is pinged; 0s for never
    #[arg(long, env = "SLIPWAY_TUNNEL_PING", value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    tunnel_ping: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Speaks {
    Http,
    Https,
}

/// The kernel counts these in whole seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time.as_secs() {
        1..=3600 => Ok(time),
        _ => Err("give a time from 1s to 1h".to_owned()),
    }
}

impl FrontArgs {
    pub fn settings(&self) -> Settings {
        Settings {
            scheme: match self.scheme {
                Speaks::Http => Scheme::Http,
                Speaks::Https => Scheme::Https,
            },
            trusted: self.trusted.clone(),
            connections_per_client: Some(self.connections_per_client).filter(|&most| most > 0),
            max_connections: self.max_connections,
            body_timeout: self.body_timeout,
            write_timeout: self.write_timeout,
            keepalive: self.tunnel_keepalive,
            tunnel_ping: Some(self.tunnel_ping).filter(|silence| !silence.is_zero()),
            ..Settings::default()
        }
    }

    /// Reads certificate and key, if there are any.
    pub fn tls(&self) -> anyhow::Result<Option<Arc<ServerTls>>> {
        let (Some(certificate), Some(key)) = (self.tls_cert.clone(), self.tls_key.clone()) else {
            return Ok(None);
        };
        let files = TlsFiles { certificate, key, clients: ClientCertificates::NotAsked };
        let tls = ServerTls::load(files, WEB).context("cannot speak TLS (--tls-cert, --tls-key)")?;
        Ok(Some(Arc::new(tls)))
    }
}
