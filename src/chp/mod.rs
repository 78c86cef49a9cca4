//! A drop-in for configurable-http-proxy: its command line, its REST API and its ways, over slipway's proxy.
//!
//! `options` is the command line, `plan` what it comes to. `book` holds the routes that `api` is told; where there
//! is a database, they go through `recorder` into slipway's log first, which the wiring sees to.

mod api;
mod book;
mod certificates;
mod listen;
mod metrics;
mod options;
mod pages;
mod plan;
mod redirect;
mod serve;
mod temporary;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use book::{Book, Entry};
pub use options::Options;
pub use plan::Plan;

use crate::proxy::{Clock, Listener, Proxy, Routes};
use crate::shutdown::stopped;
use temporary::Temporary;

/// A certificate that was replaced is in use after so long at most.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);

/// A proxy that listens, and does not answer yet.
#[derive(Debug)]
pub struct Bound {
    plan: Plan,
    fronts: Vec<Listener>,
    apis: Vec<Listener>,
    redirects: Vec<Listener>,
    metrics: Vec<Listener>,
    pub book: Arc<Book>,
    routes: Arc<Routes>,
    _files: Vec<Temporary>,
}

impl Bound {
    /// Opens everything that the plan names. Changes of routes go to `recorder` first, if there is one.
    ///
    /// # Errors
    /// When an address is taken or the file for the process id cannot be written.
    pub async fn new(plan: Plan, recorder: Option<mpsc::Sender<Entry>>) -> anyhow::Result<Self> {
        let routes = Arc::new(Routes::default());
        let book = Arc::new(Book::new(
            Arc::clone(&routes),
            plan.rules,
            Clock::system(),
            recorder,
            plan.default_target.clone(),
        ));
        let mut files = vec![];
        let fronts = plan.front.bind(&mut files).await?;
        let apis = plan.api.bind(&mut files).await?;
        let redirects = match &plan.redirect {
            Some(redirect) => redirect.from.bind(&mut files).await?,
            None => vec![],
        };
        let metrics = match &plan.metrics {
            Some(place) => place.bind(&mut files).await?,
            None => vec![],
        };
        files.extend(plan.pid_file.as_deref().map(Temporary::pid).transpose()?);
        Ok(Self { plan, fronts, apis, redirects, metrics, book, routes, _files: files })
    }

    /// Answers until told to stop, then for as long as requests under way may take.
    ///
    /// # Errors
    /// When there is something that cannot be served.
    pub async fn serve(self, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let Self { plan, fronts, apis, redirects, metrics, book, routes, _files } = self;
        let (public, api) = (listen::address(&fronts), listen::address(&apis));
        let seen = Some(listen::address(&metrics)).filter(|address| !address.is_empty());
        tracing::info!(public, api, metrics = seen, "serving; routes are set at /api/routes of the second");
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
            tasks.spawn(crate::proxy::serve(front, Arc::clone(&proxy), stopped(stop.clone())));
        }
        let api = Arc::new(api::Api::new(book, plan.token.as_deref()));
        let service = Arc::new(metrics::Metrics { proxy: Arc::clone(&proxy), api: Arc::clone(&api) });
        for listener in metrics {
            tasks.spawn(serve::serve(listener, None, Arc::clone(&service), stop.clone()));
        }
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
