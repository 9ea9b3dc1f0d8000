//! A connection between its requests: what reads them is given up, and nothing of the next one is lost.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncWrite, ReadBuf},
    sync::mpsc,
};

use super::*;
use crate::http::{
    client::Peer,
    connection::{Connection, Stream},
    guests::{Guests, REST},
};

/// A socket that says when nothing but its next byte is waited for.
struct Watched {
    stream: TcpStream,
    rests: mpsc::Sender<()>,
}

impl Stream for Watched {
    async fn readable(&self) -> io::Result<()> {
        self.rests.send(()).await.unwrap();
        self.stream.readable().await
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_connection_that_rested_goes_on_where_it_was() {
    let fixture = Fixture::new();
    let ServeSettings { room, metrics, .. } = settings(&fixture);
    let guests = Guests::new(room, metrics);
    let connection = Connection {
        site: Arc::new(fixture.site.clone()),
        unread: LONG,
        drain: LONG,
        shutdown: CancellationToken::new(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, address) = listener.accept().await.unwrap();
    let guest = guests.admit(None, 1).await.unwrap();
    let (rests, mut rested) = mpsc::channel(1);
    let watched = Watched { stream, rests };
    let served = connection.serve(watched, Peer::Ip(address.ip()), guest);
    let served = tokio::spawn(served);
    rested.recv().await.unwrap();

    let look = |waited: Duration| {
        guests.look_around(guests.now() + waited.as_millis() as u64, LONG);
    };
    let (first, next) = (post("t", 1, ""), post("t", 10, ""));
    let header = next.len() - 10;
    // What comes together with a request: nothing, part of the next one's header, all of that, and
    // part of the next one's body. The last two are no moment to rest.
    for (ahead, may_rest) in [(0, true), (9, true), (header, false), (header + 5, false)] {
        client
            .write_all(&[&first, &next[..ahead]].concat())
            .await
            .unwrap();
        assert_eq!(statuses(&one_answer(&mut client).await), ["201"]);
        look(REST / 2);
        look(REST);
        if may_rest {
            timeout(LONG, rested.recv()).await.expect("it rests");
        }
        client.write_all(&next[ahead..]).await.unwrap();
        assert_eq!(statuses(&one_answer(&mut client).await), ["201"], "{ahead}");
        assert!(rested.try_recv().is_err(), "{ahead}");
        assert_eq!(fixture.fake.taken().len(), 2);
    }
    // A call that comes too late: the next request has begun.
    client.write_all(&first).await.unwrap();
    assert_eq!(statuses(&one_answer(&mut client).await), ["201"]);
    look(REST);
    client.write_all(&next[..5]).await.unwrap();
    client.write_all(&next[5..]).await.unwrap();
    assert_eq!(statuses(&one_answer(&mut client).await), ["201"]);
    look(LONG);
    assert_eq!(to_end(&mut client).await, "", "it gives way like any other");
    timeout(LONG, served).await.expect("ended").unwrap();
}
