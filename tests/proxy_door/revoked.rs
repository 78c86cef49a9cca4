//! Two proxies on one database: what is opened or closed on it is so at both within a second.

use std::net::SocketAddr;

use slipway::domain::{Access, ClusterId, Command, Endpoint, Engine, Observation, ShareId};
use slipway::parts::Base;
use slipway::parts::proxy::{self, ProxyOptions};
use slipway::proxy::Place;
use slipway::service::Service;
use slipway::store::Store;
use slipway::store::tokens::Bearer;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::harness::{NO_CAPS, database, eventually, launch, meta, subject};
use super::proxy_bed::{Target, read_all};
use super::{SOON, keyring, later, status};

struct House {
    service: Service,
    proxies: [SocketAddr; 2],
    id: ClusterId,
    _stop: watch::Sender<bool>,
    /// Tells the proxies, as the API's does.
    _base: Base,
    pod: Target,
}

/// A proxy of its own connections, as another process would be.
async fn proxy(url: &str, stop: watch::Receiver<bool>) -> SocketAddr {
    let base = Base::connect(url, 4, false).await.expect("the database answers");
    let place = Place::bind(([127, 0, 0, 1], 0).into(), false).expect("a port");
    place.listen().expect("it listens");
    let (address, admin) = (place.address().expect("an address"), TcpListener::bind("127.0.0.1:0").await);
    let admin = admin.expect("a port");
    let options = ProxyOptions {
        fallback: None,
        admin_token: None,
        keyring: Some(keyring()),
        settings: Default::default(),
        tls: None,
        threads: 1,
        snapshot: None,
        access_log: None,
    };
    tokio::spawn(async move { proxy::run(&base, options, place, admin, stop).await });
    address
}

impl House {
    async fn new() -> Self {
        let (pool, url) = database().await;
        let base = Base::over(Store::over(pool));
        let service = Service::new(base.store.clone(), NO_CAPS);
        let pod = Target::echo().await;
        let id = service.launch(launch("owner"), subject("owner"), None).await.expect("a launch").cluster.id;
        let endpoint = Endpoint {
            address: pod.address.ip(),
            ports: [(Engine::DaskDashboard, pod.address.port())].into(),
            named: [].into(),
        };
        let (stop, stopping) = watch::channel(false);
        let proxies = [proxy(&url, stopping.clone()).await, proxy(&url, stopping).await];
        let house = Self { service, proxies, id, _stop: stop, _base: base, pod };
        let ready = Observation::Present { steps: vec![], endpoint: Some(endpoint), workers_ready: 0 };
        house.tell(Command::Report(ready)).await;
        house
    }

    async fn tell(&self, command: Command) {
        self.service.execute(self.id, &command, &meta("owner"), None).await.expect("it makes sense");
    }

    /// Asks both until they give this status, and tells how long that took.
    async fn both(&self, expected: u16, query: &str, headers: &str) -> std::time::Duration {
        let began = Instant::now();
        let request =
            format!("GET /{}_9001?{query} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}\r\n", self.id);
        for address in self.proxies {
            eventually(&format!("{expected} from {address}"), async || {
                let mut stream = TcpStream::connect(address).await.ok()?;
                stream.write_all(request.as_bytes()).await.ok()?;
                (status(&read_all(&mut stream).await) == expected).then_some(())
            })
            .await;
        }
        began.elapsed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_opens_nothing_a_second_later_at_any_proxy() {
    let house = House::new().await;
    house.both(401, "", "").await;
    assert_eq!(house.pod.connections(), 0);

    let share = ShareId::from_number(7);
    let link = format!("share={}", keyring().share_token(house.id, share));
    house.both(401, &link, "").await;
    house.tell(Command::Share { id: share, until: later(5), now: later(0) }).await;
    house.both(200, &link, "").await;
    house.tell(Command::Unshare { id: share }).await;
    let took = house.both(401, &link, "").await;
    assert!(took < SOON, "a share after {took:?}");

    let (token, bearer) = (Uuid::new_v4(), Bearer { subject: subject("owner"), admin: false });
    let store = house.service.store();
    store.create_token(token, "for a test", &bearer, "slipway_secret", None).await.expect("a token");
    let header = "authorization: Bearer slipway_secret\r\n";
    house.both(200, "", header).await;
    assert!(store.revoke_token(token).await.expect("it can be revoked"));
    let took = house.both(401, "", header).await;
    assert!(took < SOON, "a token after {took:?}");

    house.tell(Command::SetAccess { access: Access::Public }).await;
    house.both(200, "", "").await;
    house.tell(Command::SetAccess { access: Access::Owner }).await;
    let took = house.both(401, "", "").await;
    assert!(took < SOON, "access after {took:?}");

    let cookie = format!("cookie: slipway={}\r\n", keyring().sign_cookie(&subject("owner")));
    house.both(200, "", &cookie).await;
    store.forget(&subject("owner"), &subject("cli:root")).await.expect("forgotten");
    let took = house.both(401, "", &cookie).await;
    assert!(took < SOON, "who was forgotten after {took:?}");
}
