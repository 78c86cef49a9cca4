//! What lies between a client and its Postgres: a wire that a test cuts, holds up and leads to another server.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// With this Postgres says that it has answered and waits; a status follows.
const READY: [u8; 5] = [b'Z', 0, 0, 0, 5];

/// With this it says which of its processes it is; the number follows.
const PROCESS: [u8; 5] = [b'K', 0, 0, 0, 12];

/// What the next request meets; its connection is cut afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It never arrives.
    Request,
    /// It is carried out, and but so many bytes of the answer arrive.
    Answer { after: usize },
}

/// A server's address.
#[derive(Debug, Clone)]
pub enum Server {
    Socket(PathBuf),
    Tcp(String, u16),
}

impl Server {
    pub fn of(options: &PgConnectOptions) -> Self {
        let port = options.get_port();
        let socket = options.get_socket().map(PathBuf::as_path);
        let socket = socket.or_else(|| options.get_host().starts_with('/').then(|| options.get_host().as_ref()));
        match socket {
            Some(folder) => Self::Socket(folder.join(format!(".s.PGSQL.{port}"))),
            None => Self::Tcp(options.get_host().to_owned(), port),
        }
    }
}

pub struct Wire {
    port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    server: Mutex<Server>,
    /// What is lost next, of requests that this is part of.
    next: Mutex<Option<(Loss, &'static str)>>,
    /// Counts how often all connections were cut.
    cuts: watch::Sender<u32>,
    /// Nothing gets through, and nobody is told.
    held: watch::Sender<bool>,
    /// Postgres' processes whose clients are gone.
    left: Mutex<Vec<i32>>,
}

/// One connection.
struct Carried<'a> {
    state: &'a State,
    process: AtomicI32,
    /// How much of the answer under way still arrives, if that is to be lost.
    losing: Mutex<Option<usize>>,
}

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        lock(&self.state.left).push(*self.process.get_mut());
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

impl Wire {
    pub async fn to(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            server: Mutex::new(server),
            next: Mutex::default(),
            cuts: watch::Sender::default(),
            held: watch::Sender::default(),
            left: Mutex::default(),
        });
        let carrying = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&carrying);
                tokio::spawn(async move { state.carry(client).await });
            }
        });
        Self { port, state, task }
    }

    /// By way of this wire.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// All connections end, whatever they are at.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub fn lose(&self, loss: Loss) {
        self.lose_of("", loss);
    }

    /// The next request that this is part of.
    pub fn lose_of(&self, part: &'static str, loss: Loss) {
        *lock(&self.state.next) = Some((loss, part));
    }

    /// Whether what was to be lost is yet to come.
    pub fn is_armed(&self) -> bool {
        lock(&self.state.next).is_some()
    }

    pub fn hold(&self, held: bool) {
        self.state.held.send_replace(held);
    }

    /// Postgres' processes whose clients are gone: they may still be at what they were asked.
    pub fn left(&self) -> Vec<i32> {
        lock(&self.state.left).clone()
    }

    /// They have ended, and their numbers may be others' by and by.
    pub fn forget_left(&self) {
        lock(&self.state.left).clear();
    }

    /// From now on all gets through.
    pub fn be_sound(&self) {
        lock(&self.state.next).take();
        self.hold(false);
    }

    /// New connections go there.
    pub fn lead_to(&self, server: Server) {
        *lock(&self.state.server) = server;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    async fn carry(&self, client: TcpStream) {
        let mut cuts = self.cuts.subscribe();
        cuts.mark_unchanged();
        let server = lock(&self.server).clone();
        let _ = client.set_nodelay(true);
        let carried = async {
            match server {
                Server::Socket(path) => self.between(client, UnixStream::connect(path).await.ok()?).await,
                Server::Tcp(host, port) => {
                    let server = TcpStream::connect((host.as_str(), port)).await.ok()?;
                    let _ = server.set_nodelay(true);
                    self.between(client, server).await
                }
            }
        };
        tokio::select! {
            _ = carried => {}
            _ = cuts.changed() => {}
        }
    }

    async fn between(&self, client: TcpStream, server: impl AsyncRead + AsyncWrite) -> Option<()> {
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = tokio::io::split(server);
        let carried = Carried { state: self, process: AtomicI32::new(0), losing: Mutex::default() };
        tokio::select! {
            ended = carried.up(client_read, server_write) => ended,
            ended = carried.down(server_read, client_write) => ended,
        }
    }

    async fn free(&self) -> Option<()> {
        self.held.subscribe().wait_for(|held| !held).await.ok().map(|_| ())
    }
}

impl Carried<'_> {
    async fn up(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Option<()> {
        let mut chunk = [0; 16_384];
        loop {
            let read = from.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
            self.state.free().await?;
            let meets =
                |part: &str| part.is_empty() || chunk[..read].windows(part.len()).any(|at| at == part.as_bytes());
            match lock(&self.state.next).take_if(|(_, part)| meets(part)) {
                Some((Loss::Request, _)) => return None,
                Some((Loss::Answer { after }, _)) => *lock(&self.losing) = Some(after),
                None => {}
            }
            to.write_all(&chunk[..read]).await.ok()?;
        }
    }

    async fn down(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Option<()> {
        let mut chunk = [0; 16_384];
        loop {
            let read = from.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
            self.state.free().await?;
            if let Some(at) = chunk[..read].windows(9).find(|at| at.starts_with(&PROCESS)) {
                let process = i32::from_be_bytes([at[5], at[6], at[7], at[8]]);
                // What looks like it later on is something else.
                let _ = self.process.compare_exchange(0, process, Ordering::SeqCst, Ordering::SeqCst);
            }
            let (mut passed, mut over) = (read, false);
            if let Some(left) = &mut *lock(&self.losing) {
                passed = read.min(*left);
                *left -= passed;
                // What was asked is done by then.
                over = chunk[..read].strip_suffix(&[chunk[read - 1]]).is_some_and(|rest| rest.ends_with(&READY));
            }
            to.write_all(&chunk[..passed]).await.ok()?;
            if over {
                return None;
            }
        }
    }
}
