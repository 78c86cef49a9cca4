//! The API and the page.

use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::Base;
use crate::clock::Clock;
use crate::domain::{Keyring, Profile};
use crate::http::{AccessCode, Api, serve};
use crate::service::Service;
use crate::service::feed::Feed;
use crate::service::line::SharedLine;
use crate::store::events::Caps;

/// What the API offers, and to whom.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    pub profiles: Vec<Profile>,
    pub caps: Caps,
    pub access_code: Option<String>,
}

/// Serves until told to stop.
///
/// # Errors
/// When an event of the log cannot be read.
pub async fn run(
    base: &Base,
    keyring: Keyring,
    config: ApiConfig,
    listener: TcpListener,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let feed = Feed::default();
    let api = Arc::new(Api {
        service: Service::new(base.store.clone(), config.caps),
        feed: feed.clone(),
        line: SharedLine::new(base.store.clone()),
        keyring,
        profiles: config.profiles,
        access_code: config.access_code.map(AccessCode::new),
        clock: Clock::system(),
        stop,
    });
    tokio::select! {
        () = serve(listener, api) => Ok(()),
        Err(error) = feed.run(&base.store, base.bell.clone()) => Err(error).context("the API cannot follow the log"),
    }
}
