//! TLS on all sides, as JupyterHub's internal_ssl wants it.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use slipway::proxy::ServerTls;
use slipway::proxy::tls::{ClientCertificates, TlsFiles};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::chp_bed::{Chp, TOKEN, ask, program};

/// A folder of certificates that vouch for themselves.
struct Identities(TempDir);

impl Identities {
    fn new(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
            let certificate = params.expect("names").self_signed(&key).expect("a certificate");
            fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).expect("written");
            fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).expect("written");
        }
        Self(folder)
    }

    fn path(&self, file: &str) -> String {
        self.0.path().join(file).to_str().expect("text").to_owned()
    }

    /// Asks over TLS, trusting `server` and showing `own`; what comes back, or why nothing does.
    async fn ask(
        &self,
        to: std::net::SocketAddr,
        server: &str,
        own: Option<&str>,
        head: &str,
    ) -> std::io::Result<String> {
        let certificate =
            |name: &str| CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate(server)).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(roots);
        let config = match own {
            None => config.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).expect("a key");
                config.with_client_auth_cert(vec![certificate(name)], key).expect("a pair")
            }
        };
        let stream = TcpStream::connect(to).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// An https server that says hello to whoever shows a certificate that `client` vouches for.
    async fn target(&self, clients: ClientCertificates) -> u16 {
        let files =
            TlsFiles { certificate: self.path("target.pem").into(), key: self.path("target.key").into(), clients };
        let tls = ServerTls::load(files, &["http/1.1"]).expect("a pair");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = tls.accept(stream).await else { continue };
                let mut head = vec![];
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        });
        port
    }
}

const GET: &str = "GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn the_public_side_speaks_tls_and_redirects_to_it() {
    let identities = Identities::new(&["front"]);
    let (key, certificate) = (identities.path("front.key"), identities.path("front.pem"));
    let spare = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let port = spare.port().to_string();
    let args = ["--ssl-key", &key, "--ssl-cert", &certificate, "--redirect-port", &port, "--redirect-to", "443"];
    let chp = Chp::start(&args).await;
    let answer = identities.ask(chp.public, "front", None, GET).await.expect("a handshake");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let answer = ask(spare, GET).await;
    assert_eq!(answer.status, 301);
    assert!(answer.head.contains("location: https://localhost/x"), "{}", answer.head);
}

#[tokio::test]
async fn the_api_is_for_those_with_a_certificate() {
    let identities = Identities::new(&["api", "client", "other"]);
    let path = |file| identities.path(file);
    let (key, certificate, authority) = (path("api.key"), path("api.pem"), path("client.pem"));
    let chp = Chp::start(&[
        "--api-ssl-key",
        &key,
        "--api-ssl-cert",
        &certificate,
        "--api-ssl-ca",
        &authority,
        "--api-ssl-request-cert",
        "--api-ssl-reject-unauthorized",
    ])
    .await;
    let head = format!(
        "GET /api/routes HTTP/1.1\r\nhost: a\r\nauthorization: token {TOKEN}\r\nconnection: close\r\n\r\n"
    );
    let answer = identities.ask(chp.api, "api", Some("client"), &head).await.expect("a handshake");
    assert!(answer.ends_with("{}"), "{answer}");
    for nobody in [None, Some("other")] {
        assert!(identities.ask(chp.api, "api", nobody, &head).await.is_err(), "{nobody:?}");
    }
}

#[tokio::test]
async fn https_targets_are_checked_and_shown_our_certificate() {
    let identities = Identities::new(&["target", "client", "other"]);
    let path = |file| identities.path(file);
    let clients = ClientCertificates::Required(PathBuf::from(path("client.pem")));
    let port = identities.target(clients).await;
    let (key, certificate) = (path("client.key"), path("client.pem"));
    let own = ["--client-ssl-key", &key, "--client-ssl-cert", &certificate];
    let (target, other) = (path("target.pem"), path("other.pem"));
    for (options, status) in [
        (&["--client-ssl-ca", &target][..], 200),
        (&["--client-ssl-ca", &other], 503),
        (&["--insecure"], 200),
        (&[], 503),
    ] {
        let chp = Chp::start(&[&own[..], options].concat()).await;
        for host in ["localhost", "127.0.0.1"] {
            chp.post("/x", &format!("https://{host}:{port}")).await;
            let answer = chp.get("/x").await;
            assert_eq!(answer.status, status, "{options:?} {host}");
            assert!(status != 200 || answer.body == "hello", "{answer:?}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_done_with_certificates_is_said() {
    let identities = Identities::new(&["a", "b"]);
    let path = |file| identities.path(file);
    let (key, certificate, other) = (path("a.key"), path("a.pem"), path("b.key"));
    for (args, env, said) in [
        (vec!["--ssl-key", &key, "--ssl-cert", &certificate], "secret", "keys with a passphrase are not read"),
        (vec!["--ssl-key", &other, "--ssl-cert", &certificate], "", "not usable together"),
        (vec!["--ssl-key", "/none", "--ssl-cert", &certificate], "", "cannot read /none"),
        (vec!["--ssl-key", &key, "--ssl-cert", &certificate, "--ssl-request-cert"], "", "needs --ssl-ca"),
    ] {
        let mut command = program();
        command.args(["--ip=127.0.0.1", "--port=0", "--api-port=0"]).args(&args);
        command.env("CONFIGPROXY_SSL_KEY_PASSPHRASE", env).stderr(Stdio::piped());
        let output = command.output().await.expect("it ends");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains(said), "{args:?}: {text}");
    }
}
