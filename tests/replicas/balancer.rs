//! What stands in front of several proxies: it passes on connections, in turn, to those who take them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Which of them a client's port was passed on to.
type Passed = Arc<Mutex<HashMap<u16, usize>>>;

pub struct Balancer {
    pub address: SocketAddr,
    passed: Passed,
    task: JoinHandle<()>,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Balancer {
    pub async fn over(proxies: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let passed = Passed::default();
        let (proxies, turn) = (Arc::new(proxies), Arc::new(AtomicUsize::new(0)));
        let noted = Arc::clone(&passed);
        let task = tokio::spawn(async move {
            while let Ok((mut client, peer)) = listener.accept().await {
                let (proxies, turn, noted) = (Arc::clone(&proxies), Arc::clone(&turn), Arc::clone(&noted));
                tokio::spawn(async move {
                    let first = turn.fetch_add(1, Ordering::SeqCst);
                    for next in 0..proxies.len() {
                        let which = (first + next) % proxies.len();
                        if let Ok(mut proxy) = TcpStream::connect(proxies[which]).await {
                            noted.lock().expect("no panic").insert(peer.port(), which);
                            let _ = tokio::io::copy_bidirectional(&mut client, &mut proxy).await;
                            return;
                        }
                    }
                });
            }
        });
        Self { address, passed, task }
    }

    /// To whom the connection from this port was passed on, if to anybody.
    pub fn whose(&self, port: u16) -> Option<usize> {
        self.passed.lock().expect("no panic").get(&port).copied()
    }
}
