//! TLS and HTTP/2 on the proxy's front, with real handshakes and certificates made for the purpose.

mod proxy_bed;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy_bed::{Bed, PATH, Target, read_all, read_exactly, read_head, until, within};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use slipway::domain::{Engine, Prefix};
use slipway::proxy::tls::{ClientCertificates, TlsFiles, WEB};
use slipway::proxy::{Proxy, ServerTls, Settings};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;

/// A folder with `server.pem` and `server.key`.
struct Identity {
    folder: TempDir,
}

impl Identity {
    fn new() -> Self {
        let identity = Self { folder: tempfile::tempdir().expect("a folder") };
        identity.renew("server");
        identity
    }

    /// Writes a new certificate and its key; the certificate as a client sees it.
    fn renew(&self, name: &str) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).expect("written");
        certificate.der().clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            clients: ClientCertificates::NotAsked,
        }
    }

    fn load(&self) -> Arc<ServerTls> {
        Arc::new(ServerTls::load(self.files(), WEB).expect("a pair"))
    }

    /// Shakes hands as a client that trusts this certificate.
    async fn connect(&self, bed: &Bed, offers: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_as(bed, offers, None).await
    }

    async fn connect_as(
        &self,
        bed: &Bed,
        offers: &[&str],
        shows: Option<&str>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("server.pem")).expect("PEM")).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match shows {
            None => config.with_no_client_auth(),
            Some(name) => {
                let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).expect("PEM")];
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).expect("PEM");
                config.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        config.alpn_protocols = offers.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        within(TlsConnector::from(Arc::new(config)).connect(name, bed.connect().await)).await
    }

    async fn http2(&self, bed: &Bed) -> SendRequest<Full<Bytes>> {
        let stream = self.connect(bed, &["h2"]).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let (sender, connection) =
            within(hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)))
                .await
                .expect("a connection");
        tokio::spawn(connection);
        sender
    }
}

async fn bed(tls: &Arc<ServerTls>, target: &Target, settings: Settings) -> Bed {
    let proxy = Proxy { settings, tls: Some(Arc::clone(tls)), ..Proxy::new(Arc::default(), None) };
    let bed = Bed::run(proxy).await;
    bed.route(Engine::Notebook, target.address, Prefix::Keep);
    bed
}

fn get(path: &str) -> http::request::Builder {
    Request::get(format!("https://localhost:8443{path}"))
}

async fn text(answer: Response<Incoming>) -> String {
    let body = within(answer.into_body().collect()).await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_on_one_port() {
    let (identity, target) = (Identity::new(), Target::echo().await);
    let bed = bed(&identity.load(), &target, Settings::default()).await;

    let mut http2 = identity.http2(&bed).await;
    let request = get(&format!("{PATH}/x?y"))
        .header("cookie", "a=1")
        .header("cookie", "slipway=secret")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-forwarded-proto", "http");
    let answer = within(http2.send_request(request.body(Full::default()).expect("a request"))).await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, http::Version::HTTP_2));
    assert_eq!(
        text(answer).await,
        format!(
            "GET {PATH}/x?y HTTP/1.1\r\nhost: localhost:8443\r\ncookie: a=1; b=2\r\nx-forwarded-for: 127.0.0.1\r\n\
             x-forwarded-proto: https\r\nx-forwarded-port: 8443\r\nx-forwarded-host: localhost:8443\r\n\r\n"
        )
    );

    for offers in [&["http/1.1"][..], &[]] {
        let mut http1 = identity.connect(&bed, offers).await.expect("a handshake");
        let request = format!("GET {PATH} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        http1.write_all(request.as_bytes()).await.expect("taken");
        let mut answer = String::new();
        within(http1.read_to_string(&mut answer)).await.expect("closed in order");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("x-forwarded-proto: https\r\nx-forwarded-port: 443\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn many_requests_share_one_http2_connection() {
    let (identity, target) = (Identity::new(), Target::echo().await);
    let bed = bed(&identity.load(), &target, Settings::default()).await;
    let http2 = identity.http2(&bed).await;
    let asked = (0..300).map(|number| {
        let mut http2 = http2.clone();
        async move {
            let request = get(&format!("{PATH}/{number}")).body(Full::default()).expect("a request");
            text(http2.send_request(request).await.expect("an answer")).await.contains(&format!("/{number} HTTP"))
        }
    });
    let answers = within(futures_util::future::join_all(asked)).await;
    assert!(answers.into_iter().all(|right| right));
}

#[tokio::test]
async fn bodies_over_http2_arrive_whole_with_or_without_a_length() {
    const SIZE: usize = 3 << 20;
    let target = Target::new(|mut stream, _| async move {
        let head = read_head(&mut stream).await;
        let body = if head.contains("transfer-encoding: chunked\r\n") {
            let mut body = String::new();
            while !body.ends_with("\r\n0\r\n\r\n") {
                body.push_str(&read_exactly(&mut stream, 1).await);
            }
            body
        } else {
            assert!(head.contains(&format!("content-length: {SIZE}\r\n")), "{head}");
            read_exactly(&mut stream, SIZE).await
        };
        let count = body.bytes().filter(|&byte| byte == b'x').count();
        let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{count}");
        stream.write_all(answer.as_bytes()).await.expect("taken");
    })
    .await;
    let identity = Identity::new();
    let bed = bed(&identity.load(), &target, Settings::default()).await;
    let mut http2 = identity.http2(&bed).await;
    let put = || Request::put(format!("https://localhost{PATH}"));
    let request = put().body(Full::from("x".repeat(SIZE))).expect("a request");
    assert_eq!(text(within(http2.send_request(request)).await.expect("an answer")).await, SIZE.to_string());

    let stream = identity.connect(&bed, &["h2"]).await.expect("a handshake");
    let (mut http2, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("a connection");
    tokio::spawn(connection);
    let parts = ["xx", "x"].map(|part| Ok::<_, std::io::Error>(Frame::data(Bytes::from(part))));
    let body = StreamBody::new(futures_util::stream::iter(parts));
    let request = put().body(body).expect("a request");
    assert_eq!(text(within(http2.send_request(request)).await.expect("an answer")).await, "3");
}

#[tokio::test]
async fn http2_requests_are_vetted_as_others_are() {
    let (identity, target) = (Identity::new(), Target::echo().await);
    let bed = bed(&identity.load(), &target, Settings::default()).await;
    let mut http2 = identity.http2(&bed).await;
    let many = (0..200).fold(get(PATH), |request, number| request.header(format!("x-{number}"), "1"));
    for (what, request, status) in [
        ("two hosts", get(PATH).header("host", "other"), 400),
        ("a way up", get(&format!("{PATH}/../x")), 400),
        ("TRACE", Request::builder().method("TRACE").uri(format!("https://localhost{PATH}")), 405),
        ("too long a target", get(&format!("{PATH}/{}", "a".repeat(20_000))), 414),
        ("many headers", many, 431),
        ("nobody's address", get("/cluster-100000"), 404),
    ] {
        let request = request.body(Full::default()).expect("a request");
        let answer = within(http2.send_request(request)).await.expect("an answer");
        assert_eq!(answer.status(), status, "{what}");
        assert!(answer.headers().get("connection").is_none(), "{what}");
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn websockets_pass_through_tls() {
    let target = Target::new(|stream, _| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a handshake");
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.expect("taken");
            }
        }
    })
    .await;
    let identity = Identity::new();
    let bed = bed(&identity.load(), &target, Settings::default()).await;
    let stream = identity.connect(&bed, &["http/1.1"]).await.expect("a handshake");
    let url = format!("wss://localhost{PATH}");
    let (mut socket, _) = within(tokio_tungstenite::client_async(url, stream)).await.expect("a handshake");
    for message in [Message::text("a"), Message::binary(vec![7; 3 << 20]), Message::text("b")] {
        within(socket.send(message.clone())).await.expect("taken");
        assert!(within(socket.next()).await.expect("open").expect("a message") == message);
    }
    within(socket.close(None)).await.expect("closed");
}

#[tokio::test]
async fn a_new_certificate_is_taken_up_and_a_wrong_one_is_not() {
    let (identity, target) = (Identity::new(), Target::echo().await);
    let tls = identity.load();
    let bed = bed(&tls, &target, Settings::default()).await;
    let mut before = identity.http2(&bed).await;

    // Only with a certificate that it trusts does a client shake hands.
    identity.renew("server");
    assert!(identity.connect(&bed, WEB).await.is_err());
    tls.reload().expect("a pair");
    identity.connect(&bed, WEB).await.expect("the new certificate");

    let key = fs::read(identity.path("server.key")).expect("a key");
    let certificate = fs::read(identity.path("server.pem")).expect("a certificate");
    identity.renew("other");
    fs::copy(identity.path("other.key"), identity.path("server.key")).expect("copied");
    tls.reload().expect_err("another certificate's key");
    fs::write(identity.path("server.key"), key).expect("written");
    fs::write(identity.path("server.pem"), "nothing of the kind").expect("written");
    tls.reload().expect_err("no certificate");
    fs::write(identity.path("server.pem"), certificate).expect("written");
    identity.connect(&bed, WEB).await.expect("still the new certificate");

    let request = get(PATH).body(Full::default()).expect("a request");
    within(before.send_request(request)).await.expect("connections go on with what they began with");
}

#[tokio::test]
async fn changed_files_are_noticed() {
    let (identity, target) = (Identity::new(), Target::echo().await);
    let tls = identity.load();
    let bed = bed(&tls, &target, Settings::default()).await;
    let following = tokio::spawn({
        let tls = Arc::clone(&tls);
        async move { tls.follow(Duration::from_millis(1)).await }
    });
    within(async {
        loop {
            identity.renew("server");
            if identity.connect(&bed, WEB).await.is_ok() {
                break;
            }
        }
    })
    .await;
    following.abort();
}

#[tokio::test]
async fn clients_show_certificates_where_that_is_asked() {
    let (identity, target) = (Identity::new(), Target::echo().await);
    identity.renew("friend");
    identity.renew("stranger");
    let authority = identity.path("friend.pem");
    for (clients, nobody) in [
        (ClientCertificates::Asked(authority.clone()), true),
        (ClientCertificates::Required(authority.clone()), false),
    ] {
        let files = TlsFiles { clients, ..identity.files() };
        let tls = Arc::new(ServerTls::load(files, WEB).expect("a pair"));
        let bed = bed(&tls, &target, Settings::default()).await;
        for (shows, welcome) in [(None, nobody), (Some("friend"), true), (Some("stranger"), false)] {
            // In TLS 1.3 a client hears of a refusal only when it reads.
            let mut stream = identity.connect_as(&bed, &["http/1.1"], shows).await.expect("its part");
            let request = format!("GET {PATH} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(request.as_bytes()).await;
            let mut answer = vec![];
            let read = within(stream.read_to_end(&mut answer)).await;
            assert_eq!(read.is_ok() && answer.starts_with(b"HTTP/1.1 200"), welcome, "{shows:?}");
        }
    }
}

#[tokio::test]
async fn who_does_not_shake_hands_is_disconnected() {
    let (identity, target) = (Identity::new(), Target::echo().await);
    let settings = Settings { handshake_timeout: Duration::from_millis(50), ..Settings::default() };
    let bed = bed(&identity.load(), &target, settings).await;
    assert_eq!(read_all(&mut bed.connect().await).await, "");
    let plain = bed.ask(&format!("GET {PATH} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
    assert!(!plain.contains("HTTP/"), "{plain}");
    assert!(identity.connect(&bed, &["http/0.9"]).await.is_err(), "no common protocol");
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn an_idle_http2_connection_ends_in_good_order() {
    let (identity, target) = (Identity::new(), Target::echo().await);
    let settings = Settings { head_timeout: Duration::from_millis(50), ..Settings::default() };
    let bed = bed(&identity.load(), &target, settings).await;
    let http2 = identity.http2(&bed).await;
    until(|| http2.is_closed()).await;
}

#[tokio::test]
async fn an_http2_client_that_makes_no_room_for_its_answer_is_disconnected() {
    let ended = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&ended);
    let target = Target::new(move |mut stream, _| {
        let over = Arc::clone(&over);
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("taken");
            while stream.write_all(&[7; 64 << 10]).await.is_ok() {}
            over.store(true, Ordering::SeqCst);
        }
    })
    .await;
    let identity = Identity::new();
    let soon = Duration::from_millis(100);
    let settings = Settings { write_timeout: soon, head_timeout: soon, ..Settings::default() };
    let bed = bed(&identity.load(), &target, settings).await;
    let mut http2 = identity.http2(&bed).await;
    let request = get(PATH).body(Full::default()).expect("a request");
    // The connection goes on being read; only the answer is not taken.
    let _answer = within(http2.send_request(request)).await.expect("an answer");
    until(|| ended.load(Ordering::SeqCst)).await;
}

#[test]
fn what_is_wrong_with_the_files_is_told() {
    let identity = Identity::new();
    let problem = |files| ServerTls::load(files, WEB).expect_err("unusable").to_string();
    let missing = TlsFiles { key: identity.path("none.key"), ..identity.files() };
    assert!(problem(missing).contains("none.key: give a PEM file"));
    let swapped = TlsFiles {
        certificate: identity.path("server.key"),
        key: identity.path("server.key"),
        ..identity.files()
    };
    assert!(problem(swapped).contains("no certificate in"));
    identity.renew("other");
    let mixed = TlsFiles { key: identity.path("other.key"), ..identity.files() };
    assert!(problem(mixed).contains("not usable together"));
    let clients = ClientCertificates::Required(identity.path("server.key"));
    assert!(problem(TlsFiles { clients, ..identity.files() }).contains("no certificate in"));
}
