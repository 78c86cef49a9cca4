//! The world that the log is compared with: what there is on Kubernetes, and the proxy's routes.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::findings::{Finding, Findings};
use super::listing::{Listing, compare};
use crate::domain::{Cluster, RouteTable};
use crate::runtime::kubernetes::inspect::Inspector;
use crate::store::events::Position;
use crate::store::standing::Standing;
use crate::store::{Store, StoreError};

/// A proxy that missed every hint reads the log once a second.
const PAUSE: Duration = Duration::from_secs(2);

pub(super) struct World {
    store: Store,
    kubernetes: Option<Inspector>,
    proxy: Option<Listing>,
    routes: RouteTable,
    /// Up to where `routes` has the log.
    position: Position,
}

impl World {
    pub(super) fn new(store: Store, kubernetes: Option<Inspector>, proxy: Option<Listing>) -> Self {
        Self { store, kubernetes, proxy, routes: RouteTable::default(), position: Position::default() }
    }

    /// What is found once nothing is under way, or after `wait`. Log and world are read one after the other: what is
    /// wrong is so twice.
    ///
    /// # Errors
    /// When somebody who was asked does not answer.
    pub(super) async fn settled(&mut self, wait: Duration) -> anyhow::Result<Findings> {
        let until = Instant::now() + wait;
        let mut found = self.look().await?;
        loop {
            let is_last = found.under_way.is_empty() || Instant::now() >= until;
            if is_last && found.wrong.is_empty() {
                return Ok(found);
            }
            sleep(PAUSE).await;
            let again = self.look().await?;
            if is_last {
                return Ok(again.confirmed(&found));
            }
            found = again;
        }
    }

    async fn look(&mut self) -> anyhow::Result<Findings> {
        let mut found = Vec::new();
        if self.kubernetes.is_none() && self.proxy.is_none() {
            return Ok(Findings::default());
        }
        let standings = self.store.standings().await?;
        if let Some(inspector) = &self.kubernetes {
            let clusters: Vec<Cluster> =
                standings.iter().map(|Standing { cluster, .. }| cluster.clone()).collect();
            let differences = inspector.differences(&clusters).await?;
            found.extend(differences.into_iter().map(|one| Finding::of(one.cluster, one.what)));
        }
        if let Some(proxy) = &self.proxy {
            let listed = proxy.ask().await?;
            self.catch_up().await?;
            found.extend(compare(&self.routes, &listed));
        }
        Ok(Findings::sorted(found, &standings))
    }

    async fn catch_up(&mut self) -> Result<(), StoreError> {
        if self.position == Position::default() && self.store.archive_end().await?.is_some() {
            // The read models, which are held against the log beside this, have what is in the archive.
            let (placed, position) = self.store.routed().await?;
            self.routes.restart_at(placed);
            self.position = position;
        }
        loop {
            let batch = self.store.read_after(self.position, 1000).await?;
            let Some(last) = batch.last() else { return Ok(()) };
            self.position = last.position;
            for one in &batch {
                self.routes.apply(one.cluster, one.version, &one.event, one.recorded_at);
            }
        }
    }
}
