//! What a client that takes more than its share gets, and that the others notice nothing.

use futures::future::join_all;
use tokio::time::Instant;

use super::*;
use crate::{
    http::late::LATE,
    metrics::{ConnectionEnd, PushResult},
};

const HALF: &[u8] = b"POST /base/push/t HTTP/1.1\r\nHost: x\r\nTTL";

/// As many as are open, however long it takes the server to notice.
async fn open(fixture: &Fixture, connections: i64) {
    let noticed = async {
        while fixture.metrics.http_connections.get() != connections {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, noticed).await.expect("noticed");
}

#[tokio::test]
async fn silent_connections_make_room() {
    let fixture = Fixture::new();
    let mut settings = settings(&fixture);
    settings.room.connections = 8;
    let server = Server::start(&fixture, settings).await;
    let silent = join_all((0..8).map(|_| server.connect())).await;
    open(&fixture, 8).await;
    for _ in 0..16 {
        let answer = server.exchange(&post("t", 1, CLOSE)).await;
        assert_eq!(statuses(&answer), ["201"]);
    }
    assert!(fixture.metrics.http_ends.get(ConnectionEnd::NoRoom) > 0);
    drop(silent);
}

#[tokio::test]
async fn half_requests_make_room_and_whole_ones_are_answered() {
    let fixture = Fixture::new();
    let mut settings = settings(&fixture);
    // For some seven of them.
    settings.room.reading = 100_000;
    let server = Server::start(&fixture, settings).await;
    let mut slow = Vec::new();
    let body = post("t", 4000, "");
    for half in [HALF, &body[..body.len() - 1]].repeat(20) {
        let mut stream = server.connect().await;
        stream.write_all(half).await.unwrap();
        slow.push(stream);
        let answer = server.exchange(&post("t", 4000, CLOSE)).await;
        assert_eq!(statuses(&answer), ["201"]);
    }
    assert!(fixture.metrics.http_ends.get(ConnectionEnd::Reading) > 30);
    assert_eq!(to_end(&mut slow[0]).await, "");
}

#[tokio::test]
async fn one_client_has_its_share_of_the_connections() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    // A trusted proxy may have as many as there are.
    let _proxys = join_all((0..3).map(|_| server.connect())).await;
    open(&fixture, 3).await;
    fixture.rules.set(Rules {
        require_ttl: false,
        read_signatures: true,
        trusted_proxies: Vec::new(),
        connections_per_client: 1,
    });
    let first = server.connect().await;
    open(&fixture, 4).await;
    assert_eq!(to_end(&mut server.connect().await).await, "");
    assert_eq!(
        fixture.metrics.http_ends.get(ConnectionEnd::ClientsShare),
        1
    );
    drop(first);
    open(&fixture, 3).await;
    let answer = server.exchange(&post("t", 1, CLOSE)).await;
    assert_eq!(statuses(&answer), ["201"]);
}

/// The others' requests are between its own, however many it sends at once.
#[tokio::test]
async fn a_pipeline_is_answered_in_turn_with_others() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let mut greedy = server.connect().await;
    let mut healthy = server.connect().await;
    // Both are read for once, so that neither is new.
    for stream in [&mut greedy, &mut healthy] {
        stream.write_all(&post("first", 1, "")).await.unwrap();
        one_answer(stream).await;
    }
    fixture.fake.taken();
    greedy
        .write_all(&post("greedy", 1, "").repeat(60))
        .await
        .unwrap();
    healthy.write_all(&post("healthy", 1, "")).await.unwrap();
    one_answer(&mut healthy).await;
    let taken = fixture.fake.taken();
    let before = taken.iter().position(|taken| taken.token == "healthy");
    assert!(before.is_some_and(|before| before < 10), "{before:?}");
}

#[tokio::test]
async fn guessing_ends_the_connection() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let guesses = post("BadToken", 1, "").repeat(10);
    let answers = server.exchange(&guesses).await;
    assert_eq!(statuses(&answers), ["404", "404", "404", "429"]);
    assert_eq!(fixture.metrics.pushes.get(PushResult::Guessing), 1);
}

/// One that closes on what is still being written would be reset, and its answer lost.
#[tokio::test]
async fn who_is_refused_while_writing_reads_the_answer() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let (large, mut long) = (post("t", 1 << 20, ""), HALF.to_vec());
    long.extend(vec![b'x'; 1 << 20]);
    for (request, status) in [(large, "413"), (long, "431")] {
        let senders = (0..10).map(async |_| {
            let mut stream = server.connect().await;
            stream.write_all(&request).await.expect("read to its end");
            stream.shutdown().await.unwrap();
            statuses(&to_end(&mut stream).await) == [status]
        });
        let read = join_all(senders).await.into_iter().filter(|read| *read);
        assert_eq!(read.count(), 10, "{status}");
    }
}

#[tokio::test]
async fn health_checks_always_find_a_place() {
    let fixture = Fixture::new();
    let settings = ServeSettings::admin(8, fixture.metrics.clone());
    let server = Server::start(&fixture, settings).await;
    let silent = join_all((0..80).map(|_| server.connect())).await;
    for _ in 0..20 {
        let answer = server.exchange(&post("t", 1, CLOSE)).await;
        assert_eq!(statuses(&answer), ["201"]);
    }
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn who_pushes_to_a_full_account_is_slowed_down() {
    let fixture = Fixture::new();
    let refused = async || {
        let begun = Instant::now();
        let answer = fixture.post("AccountFull").await;
        assert_eq!(answer.status, 503);
        begun.elapsed()
    };
    let (first, second) = tokio::join!(refused(), refused());
    assert!(first >= LATE, "{first:?}");
    assert!(second < LATE, "only so many are late at a time: {second:?}");
}
