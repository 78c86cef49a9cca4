//! What is noted of a request while it is answered, and told when that is over, however it ends.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;

use super::access_log::Line;
use super::counters::count;
use crate::proxy::RequestHead;
use crate::proxy::client::connection::Client;

/// What a client that left before its answer counts as; nginx has made the number known.
const GIVEN_UP: u16 = 499;

#[derive(Debug)]
pub(crate) struct Account {
    client: Arc<Client>,
    /// Whether the client would change the protocol.
    upgrade: bool,
    began: Instant,
    status: u16,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// Boxed, as mostly there is none.
    line: Option<Box<Line>>,
}

impl Account {
    /// Opens the account of a request whose head was read.
    pub(crate) fn open(client: &Arc<Client>, request: &RequestHead) -> Self {
        client.pulse.work();
        let line = client.lane.proxy.access_log.as_ref().map(|_| {
            let text = |name| request.fields.share(name);
            Box::new(Line {
                at_ms: client.lane.proxy.clock.now_ms(),
                client: client.address.clone(),
                method: request.method.clone(),
                target: request.uri.clone(),
                version: request.version,
                status: GIVEN_UP,
                sent: 0,
                took: Default::default(),
                referer: text("referer"),
                agent: text("user-agent"),
            })
        });
        Self {
            client: Arc::clone(client),
            upgrade: request.fields.contains("upgrade"),
            began: Instant::now(),
            status: GIVEN_UP,
            sent: 0,
            line,
        }
    }

    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.client.pulse.rest();
        let lane = &self.client.lane;
        let took = self.began.elapsed();
        lane.counters.request(self.status, took);
        count(if self.upgrade { &lane.counters.upgrades } else { &lane.counters.plain });
        if let (Some(log), Some(mut line)) = (&lane.proxy.access_log, self.line.take()) {
            line.status = self.status;
            line.sent = self.sent;
            line.took = took;
            log.tell(line);
        }
    }
}
