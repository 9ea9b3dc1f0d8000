//! A TCP connection that acknowledges at once what it has read.
//!
//! Prosody leaves Nagle's algorithm on for components: while anything is unacknowledged, it keeps back what
//! does not fill a segment, which on loopback is 64 KiB. When nothing is sent in return, as to stanzas that
//! get no answer, the kernel acknowledges after 40 ms and more; a phone's answer would wait for that.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

pub struct Prompt(pub TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            // For the next time, too: the kernel goes back to waiting by itself. Where it cannot be told,
            // it is slower.
            let _ = SockRef::from(&self.0).set_tcp_quickack(true);
        }
        polled
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn what_was_read_is_acknowledged_at_once() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap());
        let mut ours = Prompt(ours.await.unwrap());
        let (mut theirs, _) = listener.accept().await.unwrap();
        // After a talk of questions and answers the kernel would wait for the next answer.
        for _ in 0..8 {
            theirs.write_u8(1).await.unwrap();
            ours.read_u8().await.unwrap();
            assert!(SockRef::from(&ours.0).tcp_quickack().unwrap());
            ours.write_u8(2).await.unwrap();
            theirs.read_u8().await.unwrap();
        }
    }
}
