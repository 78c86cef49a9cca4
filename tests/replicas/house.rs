//! A log, and clusters in it whose notebooks are targets of the test.

use std::net::SocketAddr;

use slipway::domain::{Access, ClusterId, Command, Endpoint, Engine, Observation, StopReason};
use slipway::parts::Base;
use slipway::service::Service;
use slipway::store::Store;

use crate::harness::{NO_CAPS, launch, meta, subject};

pub struct House {
    pub url: String,
    pub service: Service,
    /// Tells the others of what this process appends.
    _base: Base,
}

impl House {
    pub async fn new() -> Self {
        let (_, url) = crate::harness::database().await;
        Self::on(url).await
    }

    /// On a database that is there; brings its schema up to date.
    pub async fn on(url: String) -> Self {
        let store = Store::connect(&url, 8).await.expect("Postgres answers");
        store.migrate().await.expect("the migrations run");
        let base = Base::over(store.clone());
        Self { url, service: Service::new(store, NO_CAPS), _base: base }
    }

    /// A cluster that runs, with its notebook at this address.
    pub async fn running(&self, notebook: SocketAddr) -> ClusterId {
        let done = self.service.launch(launch("alice"), subject("alice"), None).await.expect("a launch");
        let id = done.cluster.id;
        self.tell(id, Command::Admit).await;
        self.tell(id, Command::SetAccess { access: Access::Public }).await;
        let endpoint = Endpoint {
            address: notebook.ip(),
            ports: [(Engine::Notebook, notebook.port())].into(),
            named: [].into(),
        };
        self.tell(
            id,
            Command::Report(Observation::Present { steps: vec![], endpoint: Some(endpoint), workers_ready: 0 }),
        )
        .await;
        id
    }

    pub async fn stop(&self, id: ClusterId) {
        self.tell(id, Command::Stop { reason: StopReason::Owner }).await;
    }

    async fn tell(&self, id: ClusterId, command: Command) {
        self.service.execute(id, &command, &meta("alice"), None).await.expect("a command");
    }
}
