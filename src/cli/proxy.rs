//! How a proxy of its own starts, stops and tells what it does.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::parts::proxy::ProxyOptions;
use crate::proxy::{AccessLog, LogFormat, ServerTls, Settings};

/// Restarts, threads and the access log of a proxy.
#[derive(Debug, Clone, Args)]
pub struct ProxyArgs {
    /// Threads that serve [default: as many as cores]
    #[arg(long, env = "SLIPWAY_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// File that keeps the routes, for a start while the database is away
    #[arg(long, env = "SLIPWAY_SNAPSHOT", value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// What requests under way get to finish in after SIGTERM
    #[arg(long, env = "SLIPWAY_DRAIN", default_value = "30s", value_name = "TIME", value_parser = humantime::parse_duration)]
    drain: Duration,
    /// What tunnels (WebSockets) get to end in after SIGTERM
    #[arg(long, env = "SLIPWAY_DRAIN_TUNNELS", default_value = "30s", value_name = "TIME", value_parser = humantime::parse_duration)]
    drain_tunnels: Duration,
    /// Share --listen with another process of the same user: start the new one, then end the old one
    #[arg(long, env = "SLIPWAY_REUSE_PORT")]
    pub reuse_port: bool,
    /// Write a line for each request
    #[arg(long, env = "SLIPWAY_ACCESS_LOG", value_name = "FORM")]
    access_log: Option<Form>,
    /// File to append them to [default: standard output]
    #[arg(long, env = "SLIPWAY_ACCESS_LOG_FILE", value_name = "FILE", requires = "access_log")]
    access_log_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Json,
    Combined,
}

impl ProxyArgs {
    /// The options of a proxy with these settings, and as yet without a key; opens the access log.
    pub fn options(
        self,
        settings: Settings,
        tls: Option<Arc<ServerTls>>,
        fallback: Option<SocketAddr>,
        admin_token: Option<String>,
    ) -> anyhow::Result<ProxyOptions> {
        Ok(ProxyOptions {
            fallback,
            admin_token,
            keyring: None,
            tls,
            settings: Settings { drain: self.drain, drain_tunnels: self.drain_tunnels, ..settings },
            threads: self.threads.map_or_else(cores, usize::from),
            access_log: access_log(self.access_log, self.access_log_file)?,
            snapshot: self.snapshot,
        })
    }
}

/// How many threads this process may run at the same time.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn access_log(form: Option<Form>, file: Option<PathBuf>) -> anyhow::Result<Option<AccessLog>> {
    let format = match form {
        None => return Ok(None),
        Some(Form::Json) => LogFormat::Json,
        Some(Form::Combined) => LogFormat::Combined,
    };
    let log = match file {
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(&path);
            AccessLog::start(
                format,
                file.with_context(|| format!("cannot open --access-log-file {}", path.display()))?,
            )
        }
        None => AccessLog::start(format, std::io::stdout()),
    };
    log.map(Some).context("cannot start the access log")
}
