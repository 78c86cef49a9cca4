//! A plain HTTP server for the sides that few ask: the REST API, metrics, redirects.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::watch;

use super::listen::Io;
use crate::proxy::{Accepted, Listener, ServerTls};
use crate::shutdown::stopped;

/// Also between two requests: nobody else is waited for any longer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
const HANDSHAKE: Duration = Duration::from_secs(10);
const BREATH: Duration = Duration::from_millis(50);
/// What is being answered when the proxy stops takes no longer.
const DRAIN: Duration = Duration::from_secs(2);

pub(super) type Answer = Response<Full<Bytes>>;

/// Answers requests.
pub(super) trait Service: Send + Sync + 'static {
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send;
}

/// Serves what the listener accepts until it is told to stop, and what is being answered then.
pub(super) async fn serve(
    listener: Listener,
    tls: Option<Arc<ServerTls>>,
    service: Arc<impl Service>,
    stop: watch::Receiver<bool>,
) {
    let connections = GracefulShutdown::new();
    let mut stopping = pin!(stopped(stop));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopping => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let service = Arc::clone(&service);
                let answer = service_fn(move |request| {
                    let service = Arc::clone(&service);
                    async move { Ok::<_, Infallible>(service.answer(request).await) }
                });
                let (tls, watcher) = (tls.clone(), connections.watcher());
                tokio::spawn(async move {
                    let shaken = tokio::time::timeout(HANDSHAKE, encrypted(stream, tls)).await;
                    let Ok(Ok(stream)) = shaken else {
                        return tracing::debug!("no TLS handshake");
                    };
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), answer);
                    if let Err(error) = watcher.watch(connection).await {
                        tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early");
                    }
                });
            }
            Err(error) => {
                // Anything but a client that is gone already passes when others finish.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::error!(%error, "cannot accept connections");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, connections.shutdown()).await;
}

async fn encrypted(stream: Accepted, tls: Option<Arc<ServerTls>>) -> io::Result<Box<dyn Io>> {
    match (stream, tls) {
        (Accepted::Tcp(stream), Some(tls)) => Ok(Box::new(tls.accept(stream).await?)),
        (Accepted::Tcp(stream), None) => Ok(Box::new(stream)),
        // Nobody listens in between.
        (Accepted::Socket(stream), _) => Ok(Box::new(stream)),
    }
}

pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    with_type(status, "text/plain; charset=utf-8", text)
}

pub(super) fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
