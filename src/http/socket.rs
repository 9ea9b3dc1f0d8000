//! A client's socket as hyper sees it: what comes and goes is told to its [`Guest`], and the client can
//! still read the answer when the connection closes.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::http::guests::Guest;

/// What is still read, and thrown away, from a client that was refused while it was writing: a socket
/// that is closed on unread bytes is reset, and the answer is lost on the way.
const LINGER_BYTES: usize = 4 * 1024 * 1024;
/// How long the client may be silent meanwhile, and how long all of it may take.
const LINGER_PAUSE: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(15);

pub struct Socket<S> {
    pub stream: S,
    /// What was read already, and not used.
    ahead: Bytes,
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
    pub fn new(stream: S, ahead: Bytes, guest: Arc<Guest>) -> Self {
        Self {
            stream,
            ahead,
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
        let mut unread = [MaybeUninit::uninit(); 4096];
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
        let polled = if self.ahead.is_empty() {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        } else {
            let fits = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..fits]);
            self.ahead.advance(fits);
            Poll::Ready(Ok(()))
        };
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
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.guest.flushed();
        Poll::Ready(Ok(()))
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
