//! A drop-in for configurable-http-proxy: its command line, its REST API and its ways, over slipway's proxy.
//!
//! `options` is the command line, `plan` what it comes to. `book` holds the routes that `api` is told; where there
//! is a database, they go through `recorder` into slipway's log first, which the wiring sees to.

mod api;
mod book;
mod certificates;
mod listen;
mod options;
mod pages;
mod plan;
mod redirect;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use book::{Book, Entry};
pub use options::Options;
pub use plan::Plan;

use crate::proxy::{Clock, Proxy, Routes};
use crate::shutdown::stopped;
use listen::Listener;

/// A certificate that was replaced is in use after so long at most.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);

/// A proxy that listens, and does not answer yet.
#[derive(Debug)]
pub struct Bound {
    plan: Plan,
    fronts: Vec<Listener>,
    apis: Vec<Listener>,
    redirects: Vec<Listener>,
    pub book: Arc<Book>,
    routes: Arc<Routes>,
    _pid: Option<PidFile>,
}

impl Bound {
    /// Opens everything that the plan names. Changes of routes go to `recorder` first, if there is one.
    ///
    /// # Errors
    /// When an address is taken or the file for the process id cannot be written.
    pub async fn new(plan: Plan, recorder: Option<mpsc::Sender<Entry>>) -> anyhow::Result<Self> {
        let routes = Arc::new(Routes::default());
        let book = Arc::new(Book::new(Arc::clone(&routes), plan.rules, Clock::system(), recorder));
        if let Some(target) = &plan.default_target {
            book.set_default(target);
        }
        let fronts = plan.front.bind().await?;
        let apis = plan.api.bind().await?;
        let redirects = match &plan.redirect {
            Some(redirect) => redirect.from.bind().await?,
            None => vec![],
        };
        let pid = plan.pid_file.clone().map(PidFile::write).transpose()?;
        Ok(Self { plan, fronts, apis, redirects, book, routes, _pid: pid })
    }

    /// Answers until told to stop, then for as long as requests under way may take.
    ///
    /// # Errors
    /// When there is something that cannot be served.
    pub async fn serve(self, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let Self { plan, fronts, apis, redirects, book, routes, _pid } = self;
        let (public, api) = (listen::address(&fronts), listen::address(&apis));
        tracing::info!(public, api, "serving; routes are set at /api/routes of the second");
        let proxy = Arc::new(Proxy {
            settings: plan.settings,
            manner: plan.manner,
            tls: plan.tls.front.clone(),
            client_tls: Some(plan.tls.targets),
            ..Proxy::new(routes, None)
        });
        let mut tasks = JoinSet::new();
        let mut renewals = JoinSet::new();
        for tls in [&plan.tls.front, &plan.tls.api].into_iter().flatten() {
            let tls = Arc::clone(tls);
            renewals.spawn(async move { tls.follow(RENEWED_WITHIN).await });
        }
        for front in fronts {
            match front {
                Listener::Tcp(listener) => {
                    tasks.spawn(crate::proxy::serve(listener, Arc::clone(&proxy), stopped(stop.clone())));
                }
                Listener::Socket(_) => anyhow::bail!("--socket is not served yet: give --ip and --port"),
            }
        }
        let api = Arc::new(api::Api::new(book, plan.token.as_deref()));
        for listener in apis {
            tasks.spawn(serve::serve(listener, plan.tls.api.clone(), Arc::clone(&api), stop.clone()));
        }
        if let Some(redirect) = &plan.redirect {
            let service = Arc::new(redirect::ToHttps { port: redirect.to });
            for listener in redirects {
                tasks.spawn(serve::serve(listener, None, Arc::clone(&service), stop.clone()));
            }
        }
        while tasks.join_next().await.transpose().context("a part of the proxy has failed")?.is_some() {}
        Ok(())
    }
}

/// Holds the process id while the process runs.
#[derive(Debug)]
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: PathBuf) -> anyhow::Result<Self> {
        std::fs::write(&path, std::process::id().to_string())
            .with_context(|| format!("cannot write --pid-file {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, "cannot remove the pid file");
        }
    }
}
