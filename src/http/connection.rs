//! One connection: its requests in turn, every wait bounded, and a close after which its client can
//! still read the answer.

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
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::yield_now,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::http::{Site, client::Peer, guests::Guest, listener::Accepted};

/// Bytes of request line and headers; more gets 431. It is what the reader's buffer grows to as well.
const MAX_HEADER: usize = 8 * 1024;
/// What is still read, and thrown away, from a client that was refused while it was writing: a socket
/// that is closed on unread bytes is reset, and the answer is lost on the way.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
/// How long the client may be silent meanwhile, and how long all of it may take.
const LINGER_PAUSE: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(15);

/// What every connection gets a copy of.
#[derive(Clone)]
pub struct Connection {
    pub site: Arc<Site>,
    /// How long an answer may stay unread, and how long requests may go on at the shutdown.
    pub unread: Duration,
    pub drain: Duration,
    pub shutdown: CancellationToken,
}

impl Connection {
    pub async fn run(self, accepted: Accepted, guest: Guest) {
        match accepted {
            Accepted::Tcp(stream, ip) => {
                if let Err(error) = self.tune(&stream) {
                    debug!(%error, "the connection is gone already");
                    return;
                }
                if self.is_silent(&guest, stream.readable()).await {
                    return;
                }
                self.talk(stream, Peer::Ip(ip), guest).await;
            }
            Accepted::Unix(stream) => {
                if self.is_silent(&guest, stream.readable()).await {
                    return;
                }
                self.talk(stream, Peer::Local, guest).await;
            }
        }
    }

    fn tune(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        // hyper has no timer for writing: a client that reads no answers would stay for ever.
        SockRef::from(stream).set_tcp_user_timeout(Some(self.unread))
    }

    /// Waits for the first byte. Until then a connection costs little: nothing is set up for reading.
    async fn is_silent(&self, guest: &Guest, first: impl Future<Output = io::Result<()>>) -> bool {
        tokio::select! {
            biased;
            () = guest.has_to_leave() => true,
            first = first => first.is_err(),
            () = self.shutdown.cancelled() => true,
        }
    }

    /// Boxed, since it needs much more memory than waiting for the first byte.
    fn talk(
        self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
        guest: Guest,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Self {
                site,
                drain,
                shutdown,
                ..
            } = self;
            let guest = Arc::new(guest);
            let visitor = guest.clone();
            let service = service_fn(move |request| answer(&site, request, peer, &visitor));
            let connection = http1::Builder::new()
                // Whoever takes too long is told to leave.
                .header_read_timeout(None)
                .max_buf_size(MAX_HEADER)
                // Who sends a request and closes its side still wants the answer.
                .half_close(true)
                .serve_connection(TokioIo::new(Socket::new(stream, guest.clone())), service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                biased;
                () = guest.has_to_leave() => return,
                ended = connection.as_mut() => Some(ended),
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    timeout(drain, connection).await.ok()
                }
            };
            match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => debug!(%error, "connection ended"),
                None => debug!("connection dropped at shutdown"),
            }
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
    let waits = guest.is_pipelined();
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

/// A client's socket, which counts what it reads and closes after the client had a chance to read.
struct Socket<S> {
    stream: S,
    guest: Arc<Guest>,
    closing: Option<Closing>,
}

/// What is left of a lingering close.
struct Closing {
    bytes: usize,
    /// The end of the client's patience, and of ours.
    silence: Pin<Box<Sleep>>,
    end: Pin<Box<Sleep>>,
}

impl<S> Socket<S> {
    fn new(stream: S, guest: Arc<Guest>) -> Self {
        Self {
            stream,
            guest,
            closing: None,
        }
    }
}

impl<S: AsyncRead + Unpin> Socket<S> {
    /// Reads until the client has closed its side, or has had enough of a chance to.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let closing = self.closing.get_or_insert_with(|| Closing {
            bytes: LINGER_BYTES,
            silence: Box::pin(sleep(LINGER_PAUSE)),
            end: Box::pin(sleep(LINGER)),
        });
        if closing.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut unread = [std::mem::MaybeUninit::uninit(); 4096];
        while closing.bytes > 0 {
            let mut unread = ReadBuf::uninit(&mut unread);
            match Pin::new(&mut self.stream).poll_read(cx, &mut unread) {
                Poll::Pending => return closing.silence.as_mut().poll(cx),
                Poll::Ready(Err(_)) => break,
                Poll::Ready(Ok(())) if unread.filled().is_empty() => break,
                Poll::Ready(Ok(())) => {
                    closing.bytes = closing.bytes.saturating_sub(unread.filled().len());
                    let silence = closing.silence.as_mut();
                    silence.reset(Instant::now() + LINGER_PAUSE);
                }
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let came = buffer.filled().len() - before;
        if came > 0 {
            self.guest.heard(came);
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.guest.is_cut_short() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
