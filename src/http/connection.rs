//! One connection: its requests in turn, every wait bounded. Between its requests it costs little: what
//! reads them is given up after a moment, and made anew.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use hyper::{
    Request,
    body::{Body as _, Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::yield_now,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::http::{
    Site,
    client::Peer,
    guests::{Call, Guest},
    listener::Accepted,
    socket::Socket,
};

/// Bytes of request line and headers; more gets 431. It is what the reader's buffer grows to as well.
const MAX_HEADER: usize = 8 * 1024;
/// What every connection gets a copy of.
#[derive(Clone)]
pub struct Connection {
    pub site: Arc<Site>,
    /// How long an answer may stay unread, and how long requests may go on at the shutdown.
    pub unread: Duration,
    pub drain: Duration,
    pub shutdown: CancellationToken,
}

/// A client's connection of either kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Waits for a byte, or the end.
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send;
}

impl Stream for TcpStream {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.readable()
    }
}

impl Stream for UnixStream {
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Send {
        self.readable()
    }
}

impl Connection {
    pub async fn run(self, accepted: Accepted, guest: Guest) {
        match accepted {
            Accepted::Tcp(stream, ip) => match self.tune(&stream) {
                Ok(()) => self.serve(stream, Peer::Ip(ip), guest).await,
                Err(error) => debug!(%error, "the connection is gone already"),
            },
            Accepted::Unix(stream) => self.serve(stream, Peer::Local, guest).await,
        }
    }

    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        // hyper has no timer for writing: a client that reads no answers would stay for ever.
        SockRef::from(stream).set_tcp_user_timeout(Some(self.unread))
    }

    pub async fn serve(self, mut stream: impl Stream, peer: Peer, guest: Guest) {
        let guest = Arc::new(guest);
        let mut ahead = Bytes::new();
        while self.speaks(&stream, &guest).await {
            match self.talk(stream, ahead, peer, &guest).await {
                Some(rests) => (stream, ahead) = rests,
                None => return,
            }
        }
    }

    /// Waits for the next byte. Until then a connection costs little: nothing is set up for reading.
    async fn speaks(&self, stream: &impl Stream, guest: &Guest) -> bool {
        loop {
            tokio::select! {
                biased;
                call = guest.call() => match call {
                    Call::Leave => return false,
                    Call::Rest => {}
                },
                first = stream.readable() => return first.is_ok(),
                () = self.shutdown.cancelled() => return false,
            }
        }
    }

    /// Answers requests until the connection ends, or may rest: then it is given back, with what was
    /// read of the next request. Boxed, since it needs much more memory than waiting for a byte.
    fn talk<'a, S: Stream>(
        &'a self,
        stream: S,
        ahead: Bytes,
        peer: Peer,
        guest: &'a Arc<Guest>,
    ) -> BoxFuture<'a, Option<(S, Bytes)>> {
        Box::pin(async move {
            let service = service_fn(|request| answer(&self.site, request, peer, guest));
            let socket = Socket::new(stream, ahead, guest.clone());
            let mut connection = http1::Builder::new()
                // Whoever takes too long is told to leave.
                .header_read_timeout(None)
                .max_buf_size(MAX_HEADER)
                // Who sends a request and closes its side still wants the answer.
                .half_close(true)
                .serve_connection(TokioIo::new(socket), service);
            let ended = loop {
                tokio::select! {
                    biased;
                    call = guest.call() => match call {
                        Call::Leave => return None,
                        Call::Rest if guest.may_rest() => {
                            let parts = connection.into_parts();
                            // A copy, since even an empty part keeps the whole buffer.
                            let ahead = Bytes::copy_from_slice(&parts.read_buf);
                            return Some((parts.io.into_inner().stream, ahead));
                        }
                        // The next request has come meanwhile.
                        Call::Rest => {}
                    },
                    ended = &mut connection => break Some(ended),
                    () = self.shutdown.cancelled() => {
                        Pin::new(&mut connection).graceful_shutdown();
                        break timeout(self.drain, connection).await.ok();
                    }
                }
            };
            match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => debug!(%error, "connection ended"),
                None => debug!("connection dropped at shutdown"),
            }
            None
        })
    }
}

/// One request of a connection.
fn answer(
    site: &Arc<Site>,
    request: Request<Incoming>,
    peer: Peer,
    guest: &Arc<Guest>,
) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
    let waits = guest.asked();
    let guest = guest.clone();
    let body = |body| {
        Body::new(Read {
            body,
            ended: false,
            guest: guest.clone(),
        })
    };
    let answer = site.answer(request.map(body), peer);
    async move {
        // What a client sent at once is answered in turn with what others have sent.
        if waits {
            yield_now().await;
        }
        let answer = answer.await;
        guest.answered();
        Ok(answer)
    }
}

/// The body of a request. Its connection's work begins when the body is read or dropped.
struct Read {
    body: Incoming,
    ended: bool,
    guest: Arc<Guest>,
}

impl hyper::body::Body for Read {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.ended |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.guest.works(!self.ended && !self.body.is_end_stream());
    }
}
