//! Once both sides have agreed on another protocol, bytes only pass through: WebSocket mostly.

use std::io;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::front::Front;
use super::upstream::{Link, Meter};

/// How much is read at once each way. Allocated for as long as the tunnel is open.
const READ: usize = 8 * 1024;

/// A tunnel that opens as soon as the client has its `101`.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub client: OnUpgrade,
    pub target: Link,
    /// Counts what the client sends; what the target says is no sign that anyone is there.
    pub meter: Meter,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("the client did not change over")]
    Refused(#[from] hyper::Error),
    #[error("a side of the tunnel failed")]
    Failed(#[from] io::Error),
}

impl Tunnel {
    /// Until both sides have ended, or one fails. An end is passed on, and the other way stays open.
    pub(super) async fn run(self) -> Result<(), Cut> {
        let parts = match self.client.await?.downcast::<TokioIo<Front>>() {
            Ok(parts) => parts,
            Err(_) => return Err(io::Error::other("the client's connection is of another kind").into()),
        };
        let mut client = parts.io.into_inner().into_io();
        let mut target = self.target.stream;
        if !parts.read_buf.is_empty() {
            self.meter.touch();
            target.write_all(&parts.read_buf).await?;
        }
        if !self.target.input.is_empty() {
            client.write_all(&self.target.input).await?;
        }
        drop((parts.read_buf, self.target.input));
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let (mut from_target, mut to_target) = tokio::io::split(target);
        tokio::try_join!(
            pass(&mut from_client, &mut to_target, || self.meter.touch()),
            pass(&mut from_target, &mut to_client, || ()),
        )?;
        Ok(())
    }
}

async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    seen: impl Fn(),
) -> io::Result<()> {
    let mut buffer = vec![0; READ];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            // The other side may be gone already.
            return match to.shutdown().await {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
                _ => Ok(()),
            };
        }
        seen();
        to.write_all(&buffer[..read]).await?;
    }
}
