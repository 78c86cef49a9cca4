//! A proxy, kept up to date from the log, whose activity goes back to the database.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use super::Base;
use crate::domain::{Keyring, RoutePath};
use crate::error_chain::chain;
use crate::proxy::{Bearer, Doorman, Proxy, Routes, ServerTls, Settings, serve, serve_admin};
use crate::service::routes::routes;
use crate::shutdown::stopped;
use crate::store::{Store, StoreError};

/// How often certificate and key are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How often activity is written down.
const FLUSH: Duration = Duration::from_secs(2);
/// How often tokens are read: one that is revoked opens nothing a moment later.
const LEARN: Duration = Duration::from_millis(500);

/// What the proxy serves beside clusters, and how.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// Where requests go that no cluster's route matches: the API.
    pub fallback: Option<SocketAddr>,
    /// Asked of those who read the routes.
    pub admin_token: Option<String>,
    /// By which visitors are known. Without one every route is open to all.
    pub keyring: Option<Keyring>,
    pub settings: Settings,
    pub tls: Option<Arc<ServerTls>>,
}

/// Loads the routes, then serves until told to stop and the requests under way are answered.
///
/// # Errors
/// When the routes cannot be read from the log.
pub async fn run(
    base: &Base,
    options: ProxyOptions,
    listener: TcpListener,
    admin: TcpListener,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let table = Arc::new(Routes::default());
    let (changes, mut incoming) = mpsc::channel(1024);
    let (loaded, ready) = oneshot::channel();
    let following = routes(&base.store, base.bell.clone(), changes, loaded);
    let applying = async {
        while let Some(change) = incoming.recv().await {
            table.apply([change]);
        }
    };
    let tls = options.tls.clone();
    let certificates = async {
        match &tls {
            Some(tls) => tls.follow(LOOK).await,
            None => std::future::pending().await,
        }
    };
    let serving = async {
        // A closed channel means that `following` has failed, which ends this as well.
        if ready.await.is_err() {
            std::future::pending::<()>().await;
        }
        seed(&base.store, &table).await?;
        let doorman = options.keyring.map(|keyring| Arc::new(Doorman::new(keyring)));
        if let Some(doorman) = &doorman {
            learn(&base.store, doorman).await?;
        }
        let proxy = Arc::new(Proxy {
            doorman: doorman.clone(),
            settings: options.settings,
            tls: options.tls,
            ..Proxy::new(Arc::clone(&table), options.fallback)
        });
        tracing::info!(routes = table.len(), "the proxy has its routes and serves");
        tokio::join!(
            serve(listener, proxy, stopped(stop.clone())),
            serve_admin(admin, Arc::clone(&table), options.admin_token, stopped(stop.clone())),
            flush_all(&base.store, &table, stop.clone()),
            learn_on(&base.store, doorman.as_deref(), stop.clone()),
        );
        Ok(())
    };
    tokio::select! {
        outcome = serving => outcome,
        outcome = following => outcome.context("the proxy cannot follow the log"),
        () = applying => anyhow::bail!("the routes are no longer followed"),
        () = certificates => anyhow::bail!("the certificate is no longer followed"),
    }
}

/// Takes up the activity that was known before.
async fn seed(store: &Store, table: &Routes) -> Result<(), StoreError> {
    let known: HashMap<String, DateTime<Utc>> = store.activity().await?.into_iter().collect();
    for entry in table.list() {
        if let Some(at) = known.get(entry.path().as_str()) {
            table.record(entry.path(), *at);
        }
    }
    Ok(())
}

async fn learn(store: &Store, doorman: &Doorman) -> Result<(), StoreError> {
    let tokens = store.valid_tokens().await?.into_iter().map(|token| {
        let bearer = token.bearer;
        (token.hash, Bearer { subject: bearer.subject, admin: bearer.admin, expires_at: token.expires_at })
    });
    doorman.learn(tokens.collect());
    Ok(())
}

/// While the database is away the tokens known last count on: nobody can revoke one meanwhile.
async fn learn_on(store: &Store, doorman: Option<&Doorman>, stop: watch::Receiver<bool>) {
    let Some(doorman) = doorman else { return };
    loop {
        tokio::select! {
            () = sleep(LEARN) => {}
            () = stopped(stop.clone()) => return,
        }
        if let Err(error) = learn(store, doorman).await {
            tracing::warn!(error = %chain(&error), "cannot read the tokens; those known count on");
        }
    }
}

async fn flush_all(store: &Store, table: &Routes, stop: watch::Receiver<bool>) {
    let mut unwritten: HashMap<RoutePath, DateTime<Utc>> = HashMap::new();
    loop {
        let over = tokio::select! {
            () = sleep(FLUSH) => false,
            () = stopped(stop.clone()) => true,
        };
        for (path, at) in table.take_activity() {
            unwritten.insert(path, at);
        }
        if !unwritten.is_empty() {
            let batch: Vec<_> = unwritten.iter().map(|(path, at)| (path.clone(), *at)).collect();
            match store.record_activity(&batch).await {
                Ok(()) => unwritten.clear(),
                Err(error) => tracing::warn!(error = %chain(&error), "cannot write activity down; keeping it"),
            }
        }
        if over {
            return;
        }
    }
}
