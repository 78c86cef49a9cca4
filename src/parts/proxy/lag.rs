//! How far the table is behind the log, for whoever watches the proxy.

use std::time::Duration;

use tokio::time::sleep;

use super::Endless;
use crate::proxy::Proxy;
use crate::service::routes::Router;
use crate::store::Store;

const EVERY: Duration = Duration::from_secs(2);

/// Measures as long as the database answers; that it does not shows in when the log was last read.
pub(super) async fn watch(store: &Store, router: &Router, proxy: &Proxy) -> Endless {
    loop {
        sleep(EVERY).await;
        if let Ok(behind) = store.behind(router.position()).await {
            let ms = u64::try_from(behind.age.as_millis()).unwrap_or(u64::MAX);
            proxy.standing.behind(behind.events.unsigned_abs(), ms);
        }
    }
}
