//! The same objects as slipway's, created by nothing but requests: what the control plane takes in any case.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kube::api::{DynamicObject, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use slipway::cli::ProfilesOptions;
use slipway::domain::{Blueprint, ClusterId, Keyring, Profile, WorkerCount};
use slipway::runtime::kubernetes::manifest::{Manifest, Plan, namespace, pods};
use slipway::runtime::kubernetes::settings::Extent;
use slipway::runtime::kubernetes::{Settings, Tuning};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::Launch;

pub struct Floor {
    client: Client,
    at_once: Semaphore,
    settings: Settings,
    profile: Profile,
    workers: WorkerCount,
}

impl Floor {
    pub async fn new(
        kubeconfig: &Path,
        at_once: usize,
        key: &str,
        profiles: ProfilesOptions,
        workers: usize,
        bare: bool,
    ) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let profiles = profiles.load().unwrap();
        let extent = if bare { Extent::Notebook } else { Extent::Whole };
        let tuning = Tuning { extent, ..Tuning::default() };
        Self {
            client: Client::try_from(config).unwrap(),
            at_once: Semaphore::new(at_once),
            settings: Settings::new(Keyring::from_hex(key).unwrap(), &profiles, tuning),
            profile: profiles.into_iter().next().unwrap(),
            workers: WorkerCount::try_from(workers as i64).unwrap(),
        }
    }

    pub async fn launch(self, count: usize) -> Vec<Launch> {
        let floor = Arc::new(self);
        let one = |number: u64| {
            let floor = Arc::clone(&floor);
            async move {
                let clicked = Instant::now();
                let id = ClusterId::from_number(700_000 + number).unwrap();
                let made = floor.make(id).await;
                Launch { key: id.to_string(), clicked, answered: Instant::now(), refused: made.err() }
            }
        };
        join_all((0..count as u64).map(|number| tokio::spawn(one(number))))
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect()
    }

    async fn make(&self, id: ClusterId) -> Result<(), String> {
        let blueprint = Blueprint {
            id,
            profile: self.profile.name.clone(),
            workers: self.workers,
            most_workers: self.profile.limits.workers,
            materials: vec![],
        };
        let plan = Plan { blueprint: &blueprint, shape: &self.profile.shape, settings: &self.settings };
        self.create(id, &namespace::namespace(&plan)).await?;
        if self.settings.tuning.extent == Extent::Notebook {
            return self.create(id, &pods::scheduler(&plan)).await;
        }
        let shelter = plan.shelter();
        join_all(shelter.iter().map(|manifest| self.create(id, manifest)))
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        self.create(id, &pods::scheduler(&plan)).await?;
        self.create(id, &namespace::quota(&plan)).await?;
        self.create(id, &pods::workers(&plan)).await
    }

    /// Refusals of a namespace's first moments are tried again, as everybody has to.
    async fn create(&self, id: ClusterId, manifest: &Manifest) -> Result<(), String> {
        let resource = manifest.kind.resource();
        let api: Api<DynamicObject> = if resource.kind == "Namespace" {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), &id.to_string(), &resource)
        };
        let object: DynamicObject = serde_json::from_value(manifest.body.clone()).unwrap();
        let params = PostParams { field_manager: Some("floor".to_owned()), ..PostParams::default() };
        let mut tries = 0;
        loop {
            let permit = self.at_once.acquire().await.unwrap();
            let made = api.create(&params, &object).await;
            drop(permit);
            tries += 1;
            match made {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(status)) if tries < 100 && matches!(status.code, 403 | 429) => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
