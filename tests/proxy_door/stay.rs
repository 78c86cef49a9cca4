//! WebSockets are open for hours. Whoever is no longer welcome is shown out, and nobody else.

use std::sync::atomic::Ordering;

use futures_util::{SinkExt, StreamExt};
use slipway::domain::{Access, Door, Engine, Prefix, RouteChange};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::proxy_bed::{PATH, Target, within};
use super::{GOOD, House, NOW, cookie, id, share, status, subject};

struct Guest {
    name: &'static str,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Guest {
    async fn enters(
        house: &House,
        name: &'static str,
        query: &str,
        header: Option<(&'static str, String)>,
    ) -> Self {
        let address = format!("ws://{}{PATH}_9000?{query}", house.bed.address);
        let mut request = address.into_client_request().expect("a request");
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let (socket, _) = within(tokio_tungstenite::connect_async(request)).await.expect(name);
        Self { name, socket }
    }

    async fn is_there(&mut self) {
        let message = Message::text("still here");
        within(self.socket.send(message.clone())).await.expect(self.name);
        assert_eq!(within(self.socket.next()).await.expect(self.name).expect(self.name), message);
    }

    async fn leaves(mut self) {
        let next = within(self.socket.next()).await;
        assert!(matches!(next, None | Some(Err(_))), "{}: {next:?}", self.name);
    }
}

/// With a pod that echoes, as long as it is held.
async fn house() -> (House, Target) {
    let house = House::open_to(Access::Public).await;
    let echo = Target::new(|stream, _| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a handshake");
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.expect("taken");
            }
        }
    })
    .await;
    house.bed.route(Engine::DaskScheduler, echo.address, Prefix::Strip);
    (house, echo)
}

#[tokio::test]
async fn each_stays_as_long_as_the_door_is_open_to_them() {
    let (house, _echo) = house().await;
    let bearer = |token| Some(("authorization", format!("Bearer {token}")));
    let stranger = Guest::enters(&house, "stranger", "", None).await;
    let other = Guest::enters(&house, "other", "", bearer("slipway_other")).await;
    let mut admin = Guest::enters(&house, "admin", "", bearer("slipway_admin")).await;
    // Every browser is known by a cookie; the link counts beside it.
    let cookie = |name| Some(("cookie", format!("slipway={}", cookie(name))));
    let mut friend = Guest::enters(&house, "friend", &format!("share={}", share(GOOD)), cookie("friend")).await;
    let mut owner = Guest::enters(&house, "owner", "", cookie("owner")).await;

    house.door(Some(Access::Class));
    stranger.leaves().await;
    house.door(Some(Access::Owner));
    other.leaves().await;
    for guest in [&mut admin, &mut friend, &mut owner] {
        guest.is_there().await;
    }
    house.doorman.learn(Default::default());
    admin.leaves().await;
    friend.is_there().await;
    let door = Door { owner: subject("owner"), access: Access::Owner, shares: [].into(), claimed: false };
    house.bed.routes.apply([RouteChange::Door { cluster: id(), door: Some(door) }]);
    friend.leaves().await;
    owner.is_there().await;
    house.door(None);
    owner.leaves().await;
}

#[tokio::test]
async fn who_is_forgotten_is_cut_off_and_let_in_no_more() {
    let (house, _echo) = house().await;
    house.door(Some(Access::Class));
    let cookie = |name| Some(("cookie", format!("slipway={}", cookie(name))));
    let mut other = Guest::enters(&house, "other", "", cookie("other")).await;
    let owner = Guest::enters(&house, "owner", "", cookie("owner")).await;
    house.doorman.forget([subject("owner")].into());
    owner.leaves().await;
    other.is_there().await;
    for (name, expected) in [("owner", 401), ("other", 200)] {
        let (header, value) = cookie(name).expect("a cookie");
        let answer = house.get("/cluster-678343_9001/", &format!("{header}: {value}\r\n")).await;
        assert_eq!(status(&answer), expected, "{name}");
    }
}

#[tokio::test]
async fn a_share_and_a_token_end_at_their_time() {
    let (house, _echo) = house().await;
    house.door(Some(Access::Owner));
    let mut friend = Guest::enters(&house, "friend", &format!("share={}", share(GOOD)), None).await;
    let token = Some(("authorization", "Bearer slipway_owner".to_owned()));
    let mut owner = Guest::enters(&house, "owner", "", token).await;
    friend.is_there().await;
    owner.is_there().await;
    house.now.store(NOW + 59_999, Ordering::SeqCst);
    owner.leaves().await;
    friend.is_there().await;
    house.now.store(NOW + 60_000, Ordering::SeqCst);
    // Any change of the door has everybody looked at.
    house.door(Some(Access::Owner));
    friend.leaves().await;
}
