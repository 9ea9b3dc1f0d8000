//! Between a client and PostgreSQL: counts how often one waits for the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime,
    sync::oneshot,
};

/// Ends when it is dropped.
pub struct Relay {
    port: u16,
    trips: Arc<AtomicU64>,
    _end: oneshot::Sender<()>,
}

impl Relay {
    /// To the server that listens on this port of 127.0.0.1. In a thread of its own, so that whoever
    /// is served through it may block.
    pub fn start(to: u16) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let trips = Arc::<AtomicU64>::default();
        let counted = trips.clone();
        let (end, ended) = oneshot::channel();
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                tokio::select! {
                    () = serve(listener, to, counted) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            port,
            trips,
            _end: end,
        }
    }

    /// The URL of the same database through it.
    pub fn url(&self, url: &str) -> String {
        let (server, database) = url.rsplit_once('/').unwrap();
        let (host, _) = server.rsplit_once(':').unwrap();
        format!("{host}:{}/{database}", self.port)
    }

    /// How often a server's answer has followed something that a client has sent. Statements that
    /// are sent together are one round trip.
    pub fn trips(&self) -> f64 {
        self.trips.load(Ordering::Relaxed) as f64
    }
}

async fn serve(listener: std::net::TcpListener, to: u16, trips: Arc<AtomicU64>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((client, _)) = listener.accept().await {
        let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
        for socket in [&client, &server] {
            socket.set_nodelay(true).unwrap();
        }
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let asked = Arc::<AtomicBool>::default();
        let asks = asked.clone();
        let ask = move || asks.store(true, Ordering::Relaxed);
        tokio::spawn(pass(from_client, to_server, ask));
        let trips = trips.clone();
        let answer = move || {
            // What the server says unasked is none.
            let trip = asked.swap(false, Ordering::Relaxed);
            trips.fetch_add(u64::from(trip), Ordering::Relaxed);
        };
        tokio::spawn(pass(from_server, to_client, answer));
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, notice: impl Fn()) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        notice();
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
