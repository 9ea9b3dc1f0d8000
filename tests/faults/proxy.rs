//! The network between the daemon and its XMPP server: a TCP proxy that can stop forwarding
//! without a word, and cut.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::JoinSet,
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

/// Bytes that a stalled direction takes, as the buffers of a network would.
const BUFFER: usize = 1 << 20;

/// Which ways nothing passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    pub to_server: bool,
    pub to_daemon: bool,
}

#[derive(Clone, Copy, Default)]
struct Control {
    stall: Stall,
    /// How often everything was cut.
    cuts: u64,
    reset: bool,
}

pub struct Proxy {
    port: u16,
    control: watch::Sender<Control>,
    connections: Arc<AtomicUsize>,
    newest: watch::Receiver<Instant>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    pub async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (control, orders) = watch::channel(Control::default());
        let connections = Arc::new(AtomicUsize::new(0));
        let open = connections.clone();
        let (opened, newest) = watch::channel(Instant::now());
        let accept = async move {
            let mut carried = JoinSet::new();
            loop {
                let (daemon, _) = listener.accept().await.unwrap();
                opened.send_replace(Instant::now());
                let (orders, open) = (orders.clone(), open.clone());
                carried.spawn(async move {
                    open.fetch_add(1, Ordering::Relaxed);
                    carry(daemon, upstream, orders).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
                while carried.try_join_next().is_some() {}
            }
        };
        Self {
            port,
            control,
            connections,
            newest,
            _task: AbortOnDropHandle::new(tokio::spawn(accept)),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that the daemon has to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// How long the newest connection has been there.
    pub fn age(&self) -> Duration {
        self.newest.borrow().elapsed()
    }

    /// Until the next order. What was held back then passes.
    pub fn stall(&self, stall: Stall) {
        self.control.send_modify(|control| control.stall = stall);
    }

    /// Ends every connection, in order or with a reset; new ones pass.
    pub fn cut(&self, reset: bool) {
        self.control.send_modify(|control| {
            control.stall = Stall::default();
            control.cuts += 1;
            control.reset = reset;
        });
    }
}

async fn carry(mut daemon: TcpStream, upstream: u16, mut orders: watch::Receiver<Control>) {
    let born = orders.borrow_and_update().cuts;
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)).await else {
        return;
    };
    daemon.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let cut = {
        let (mut from_daemon, mut to_daemon) = daemon.split();
        let (mut from_server, mut to_server) = server.split();
        let out = pump(&mut from_daemon, &mut to_server, orders.clone(), |stall| {
            stall.to_server
        });
        let back = pump(&mut from_server, &mut to_daemon, orders.clone(), |stall| {
            stall.to_daemon
        });
        select! {
            () = out => None,
            () = back => None,
            cut = orders.wait_for(|control| control.cuts > born) => cut.ok().map(|cut| cut.reset),
        }
    };
    if cut == Some(true) {
        let _ = daemon.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

/// Passes bytes on to the end. An end behind a stall is noticed only when the stall is over.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut orders: watch::Receiver<Control>,
    stalled: impl Fn(Stall) -> bool,
) {
    // With room for all of it: without, each read would take 64 bytes, and a server may sit on a stanza
    // whose start tag came in pieces.
    let mut pending = Vec::with_capacity(BUFFER);
    let mut ended = false;
    loop {
        if !stalled(orders.borrow_and_update().stall) {
            if to.write_all(&pending).await.is_err() || ended {
                return;
            }
            pending.clear();
        }
        select! {
            read = from.read_buf(&mut pending), if !ended && pending.len() < BUFFER => {
                ended = !matches!(read, Ok(1..));
            }
            order = orders.changed() => if order.is_err() { return },
        }
    }
}
