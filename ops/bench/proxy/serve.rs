//! The proxy alone on one thread, for the bench: `proxy-bench-serve 127.0.0.1:8001 127.0.0.1:8009` sends
//! what comes for `/cluster-678343` to the second address. `ROUTES` more routes make the table as large
//! as it may get.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use slipway::domain::{ClusterId, Engine, Prefix, Route, RouteChange, RoutePath};
use slipway::proxy::{Proxy, Routes, serve};

const ROUTES: u64 = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut addresses = std::env::args().skip(1);
    let mut next =
        || -> Result<SocketAddr, Box<dyn Error>> { Ok(addresses.next().ok_or("two addresses")?.parse()?) };
    let (listen, target) = (next()?, next()?);
    let routes = Routes::default();
    for number in (678_343..).take(usize::try_from(ROUTES)?) {
        let path = RoutePath::of(ClusterId::from_number(number).ok_or("a number")?, Engine::Notebook);
        let route = Route { target, prefix: Prefix::Keep };
        routes.apply(RouteChange::Put { path, route, since: chrono::DateTime::UNIX_EPOCH });
    }
    let proxy = Arc::new(Proxy::new(Arc::new(routes), None));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        serve(listener, proxy, std::future::pending()).await;
        Ok(())
    })
}
