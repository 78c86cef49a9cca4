//! One look at all that an installation has on a Kubernetes: a list per kind, no watch, and nothing is written.

use std::fmt::Debug;

use futures_util::future::try_join_all;
use kube::api::ListParams;
use kube::{Api, Client, Config};
use serde::de::DeserializeOwned;

use super::kind::Kind;
use super::mirror::{Mirror, Seen};
use super::pod::Pod;
use super::settings::Settings;
use super::{calls, manifest};
use crate::domain::Cluster;

pub use super::compare::Difference;
use super::compare::compare;

/// Looks with the right to list, and no other.
pub struct Inspector {
    client: Client,
    settings: Settings,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot list the {kinds} of Kubernetes")]
pub struct InspectError {
    kinds: String,
    #[source]
    source: kube::Error,
}

impl Inspector {
    /// # Errors
    /// When the settings of the connection cannot be used.
    pub fn new(config: Config, settings: Settings) -> Result<Self, kube::Error> {
        Ok(Self { client: calls::client(config)?, settings })
    }

    /// All that differs between the clusters of the log that are not gone and what is there now.
    ///
    /// # Errors
    /// When the API server does not answer, or not to us.
    pub async fn differences(&self, clusters: &[Cluster]) -> Result<Vec<Difference>, InspectError> {
        let there = Mirror::default();
        let objects = Kind::WATCHED.map(|kind| {
            let api = Api::all_with(self.client.clone(), &kind.resource());
            self.list(kind, api, move |object| Seen::Object(kind, object), &there)
        });
        let pods = self.list(Kind::Pod, Api::<Pod>::all(self.client.clone()), Seen::Pod, &there);
        tokio::try_join!(try_join_all(objects), pods)?;
        Ok(compare(&self.settings, clusters, &there))
    }

    async fn list<K: Clone + Debug + DeserializeOwned>(
        &self,
        kind: Kind,
        api: Api<K>,
        seen: impl Fn(K) -> Seen,
        there: &Mirror,
    ) -> Result<(), InspectError> {
        let ours = ListParams::default().labels(&manifest::selector(&self.settings));
        let failed = |source| InspectError { kinds: kind.resource().plural, source };
        let list = api.list(&ours).await.map_err(failed)?;
        there.replace(kind, list.items.into_iter().map(seen).collect());
        Ok(())
    }
}
