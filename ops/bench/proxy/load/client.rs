//! An HTTP client that says what became of a request when its connection breaks.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One connection at a time, kept as long as it lasts.
pub struct Client {
    to: SocketAddr,
    kept: Option<SendRequest<Full<Bytes>>>,
}

/// A request without an answer.
#[derive(Debug)]
pub struct Broken {
    /// It was sent on a kept connection that ended before the answer began: any client sends a GET again then,
    /// since it cannot know that the server was about to close.
    pub again: bool,
    pub why: String,
}

impl Client {
    pub fn new(to: SocketAddr) -> Self {
        Self { to, kept: None }
    }

    pub async fn get(&mut self, path: &str) -> Result<StatusCode, Broken> {
        let request = Request::get(path).header("host", "localhost").body(Full::default()).unwrap();
        self.ask(request).await
    }

    /// The answer's status, once all of it is there.
    pub async fn ask(&mut self, request: Request<Full<Bytes>>) -> Result<StatusCode, Broken> {
        let fails = |why: String| Broken { again: false, why };
        let kept = match self.kept.take() {
            // One that was closed meanwhile is no failure: nothing was sent.
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let (again, mut sender) = match kept {
            Some(sender) => (true, sender),
            None => (false, self.connect().await.map_err(fails)?),
        };
        let answer =
            sender.send_request(request).await.map_err(|error| Broken { again, why: format!("{error:?}") })?;
        let status = answer.status();
        answer.into_body().collect().await.map_err(|error| fails(format!("in the body: {error:?}")))?;
        self.kept = Some(sender);
        Ok(status)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(self.to).await.map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
