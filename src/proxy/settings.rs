//! What can be set of a proxy.

use std::time::Duration;

use crate::domain::Cidr;

/// Limits and times. The defaults suit a class of a few hundred.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How the clients reach this proxy, as far as it is not told by a trusted proxy: `https` when
    /// something in front of it ends TLS. Goes into `X-Forwarded-Proto`.
    pub scheme: Scheme,
    /// Peers whose `X-Forwarded-*` are believed and extended. From all others these are overwritten.
    pub trusted: Vec<Cidr>,
    /// Connections from one address at once, or from one /64 of IPv6; more are answered with 429, or closed where
    /// TLS is spoken. Trusted peers are not counted. A class may share one address, at ten or twenty each.
    pub connections_per_client: Option<u32>,
    /// Connections from all clients at once; more are answered with 503.
    pub max_connections: Option<u32>,
    /// A client that has not sent a whole request head this long after it connected, or after the last
    /// answer, is disconnected.
    pub head_timeout: Duration,
    /// A client that pauses for this long (at most twice as long) within the body of its request is answered
    /// with 408.
    pub body_timeout: Duration,
    /// A client that has not shaken hands this long after it connected is disconnected. Only with TLS.
    pub handshake_timeout: Duration,
    /// A client that takes nothing of its answer for this long is disconnected.
    pub write_timeout: Duration,
    /// How often a peer that says nothing is asked whether it is still there, by TCP and by HTTP/2. From 1 s on:
    /// the kernel counts in seconds.
    pub keepalive: Duration,
    /// A client that says nothing for this long on a WebSocket is sent a ping. `None` asks nobody: then only
    /// TCP finds out that a client is gone, and not at all behind something that answers in its place.
    pub tunnel_ping: Option<Duration>,
    /// What it then gets to say something, until its tunnel is closed. Programs that compute may be deaf for
    /// a minute or two.
    pub tunnel_pong: Duration,
    /// Longest request head in bytes (431 above; not below 8192) and request target in bytes (414 above).
    pub max_head: usize,
    pub max_target: usize,
    /// A target that does not accept a connection within this time is answered for with 503.
    pub connect_timeout: Duration,
    /// A target that does not begin its answer within this time is answered for with 504. `None` waits
    /// as long as the client does: notebooks do poll for minutes.
    pub answer_timeout: Option<Duration>,
    /// Unused connections kept for the next request: per target, in all per listener, and for how long.
    pub idle_per_target: usize,
    pub idle_total: usize,
    pub idle_age: Duration,
    /// What requests under way get to finish in after a shutdown was asked for, and what tunnels do.
    pub drain: Duration,
    pub drain_tunnels: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            scheme: Scheme::Http,
            trusted: vec![],
            connections_per_client: Some(4096),
            max_connections: None,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(120),
            keepalive: Duration::from_secs(30),
            tunnel_ping: Some(Duration::from_secs(30)),
            tunnel_pong: Duration::from_secs(120),
            max_head: 64 * 1024,
            max_target: 16 * 1024,
            connect_timeout: Duration::from_secs(5),
            answer_timeout: None,
            idle_per_target: 64,
            idle_total: 4096,
            idle_age: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            drain_tunnels: Duration::from_secs(30),
        }
    }
}

/// How clients reach the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}
