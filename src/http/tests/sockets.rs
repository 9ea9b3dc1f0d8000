//! Raw bytes over loopback: what slow, greedy and odd clients get.

use tokio::net::UnixStream;

use super::*;
use crate::metrics::PushResult;

fn impatient(fixture: &Fixture) -> ServeSettings {
    ServeSettings {
        patience: SHORT,
        ..settings(fixture)
    }
}

#[tokio::test]
async fn a_slow_header_ends_the_connection() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, impatient(&fixture)).await;
    for start in ["", "PR", "POST /base/push/t HTTP/1.1\r\nHost: x\r\nTTL"] {
        assert_eq!(statuses(&server.exchange(start.as_bytes()).await), [""; 0]);
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_last_answer() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, impatient(&fixture)).await;
    let answers = server.exchange(&post("t", 1, "")).await;
    assert_eq!(statuses(&answers), ["201"]);
}

#[tokio::test]
async fn a_slow_body_gets_503_and_the_connection_ends() {
    let fixture = Fixture::with(|public| public.body_timeout = SHORT);
    let server = Server::start(&fixture, settings(&fixture)).await;
    let mut request = post("t", 100, "");
    request.truncate(request.len() - 1);
    let answer = server.exchange(&request).await;
    assert_eq!(statuses(&answer), ["503"]);
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
    assert_eq!(fixture.metrics.pushes.get(PushResult::Abandoned), 1);
    assert_eq!(fixture.fake.taken(), []);
}

#[tokio::test]
async fn a_client_that_reads_no_answers_is_dropped() {
    let fixture = Fixture::new();
    let mut settings = impatient(&fixture);
    settings.room.connections = 1;
    let server = Server::start(&fixture, settings).await;
    let mut deaf = server.connect().await;
    let request = b"GET /base/ HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    // At last neither side can write any more.
    let dropped = tokio::spawn(async move { while deaf.write_all(&request).await.is_ok() {} });
    let answer = server.exchange(&post("t", 1, CLOSE)).await;
    assert_eq!(statuses(&answer), ["201"]);
    timeout(LONG, dropped).await.expect("dropped").unwrap();
}

#[tokio::test]
async fn sizes_are_held_to_with_a_length() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    for (length, status) in [(0, "400"), (1, "201"), (4096, "201"), (4097, "413")] {
        let answer = server.exchange(&post("t", length, CLOSE)).await;
        assert_eq!(statuses(&answer), [status], "{length} bytes");
    }
}

#[tokio::test]
async fn sizes_are_held_to_in_chunks() {
    let fixture = Fixture::with(|public| public.body_timeout = SHORT);
    let server = Server::start(&fixture, settings(&fixture)).await;
    let head = "POST /base/push/t HTTP/1.1\r\nHost: x\r\n\
        Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400));
    let cases = [
        ("0\r\n\r\n".to_owned(), "400"),
        (chunk.repeat(4) + "0\r\n\r\n", "201"),
        (chunk.repeat(4) + "1\r\nx\r\n0\r\n\r\n", "413"),
        // Refused although its end is nowhere near.
        (chunk.repeat(5), "413"),
        ("no chunk".to_owned(), "503"),
    ];
    for (body, status) in cases {
        let answer = server.exchange((head.to_owned() + &body).as_bytes()).await;
        assert_eq!(statuses(&answer), [status], "{} bytes", body.len());
    }
    assert_eq!(fixture.fake.taken().len(), 1);
}

#[tokio::test]
async fn a_connection_stays_open_whatever_shape_its_bodies_have() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let head = "POST /base/push/t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = server.connect().await;
    for body in ["1\r\nx\r\n0\r\n\r\n", "1\r\nx\r\n0\r\nDigest: x\r\n\r\n"] {
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        assert_eq!(statuses(&one_answer(&mut stream).await), ["201"], "{body}");
    }
    // At once, without waiting for the answers.
    let pipelined = [post("t", 1, ""), post("t", 3072, ""), post("t", 1, CLOSE)].concat();
    stream.write_all(&pipelined).await.unwrap();
    assert_eq!(statuses(&to_end(&mut stream).await), ["201"; 3]);
    assert_eq!(fixture.fake.taken().len(), 5);
}

#[tokio::test]
async fn a_body_too_large_is_refused_before_it_is_sent() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let head = "POST /base/push/t HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n";
    for expect in ["", "Expect: 100-continue\r\n"] {
        let request = format!("{head}{expect}\r\n");
        let answer = server.exchange(request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["413"], "{expect:?}");
    }
    let mut stream = server.connect().await;
    let head = "POST /base/push/t HTTP/1.1\r\nHost: x\r\n\
        Content-Length: 1\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 100 "));
    stream.write_all(b"x").await.unwrap();
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test]
async fn who_is_refused_may_finish_first() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let cases = [
        (post("t", 4097, ""), "413"),
        (post("t", 60_000, ""), "413"),
        (post("t", 4096, "TTL: soon\r\n"), "400"),
    ];
    for (request, status) in cases {
        let (most, last) = request.split_at(request.len() - 1);
        let mut stream = server.connect().await;
        stream.write_all(most).await.unwrap();
        let early = timeout(SHORT, stream.read_u8()).await;
        assert!(early.is_err(), "{status}: answered before the end");
        stream.write_all(last).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(statuses(&to_end(&mut stream).await), [status]);
    }
}

#[tokio::test]
async fn a_header_too_large_gets_431() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let long = "a".repeat(17 * 1024);
    let uri = format!("POST /base/push/{long} HTTP/1.1\r\nHost: x\r\n\r\n");
    let header = format!("POST /base/push/t HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n");
    for request in [uri, header] {
        assert_eq!(
            statuses(&server.exchange(request.as_bytes()).await),
            ["431"]
        );
    }
    // The longest endpoint that phones accept is far below that.
    let token = "a".repeat(1000);
    let answer = server.exchange(&post(&token, 1, CLOSE)).await;
    assert_eq!(statuses(&answer), ["201"]);
}

#[tokio::test]
async fn a_connection_is_used_again_and_requests_may_be_pipelined() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let requests = [
        post("t", 1, ""),
        post("Gone", 10, ""),
        post("t", 10, "TTL: soon\r\n"),
        post("LinkDown", 4096, ""),
        post("t", 2, CLOSE),
    ];
    let answers = server.exchange(&requests.concat()).await;
    assert_eq!(statuses(&answers), ["201", "404", "400", "503", "201"]);
}

#[tokio::test]
async fn proxies_may_speak_http_1_0() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let request = b"POST /base/push/t HTTP/1.0\r\nContent-Length: 1\r\n\r\nx";
    let answer = server.exchange(request).await;
    assert!(answer.starts_with("HTTP/1.0 201 "), "{answer}");
}

#[tokio::test]
async fn who_closes_its_side_after_the_request_gets_the_answer() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let mut stream = server.connect().await;
    stream.write_all(&post("wait", 1, "")).await.unwrap();
    stream.shutdown().await.unwrap();
    fixture.fake.entered.acquire().await.unwrap().forget();
    fixture.fake.gate.add_permits(1);
    assert_eq!(statuses(&to_end(&mut stream).await), ["201"]);
}

#[tokio::test]
async fn a_sender_that_hangs_up_in_its_body_is_counted() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let mut request = post("t", 100, "");
    request.truncate(request.len() - 1);
    let mut stream = server.connect().await;
    stream.write_all(&request).await.unwrap();
    stream.shutdown().await.unwrap();
    to_end(&mut stream).await;
    assert_eq!(fixture.metrics.pushes.get(PushResult::Abandoned), 1);
    assert_eq!(fixture.fake.taken(), []);
}

#[tokio::test]
async fn answers_name_no_software() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let answer = server.exchange(&post("t", 1, CLOSE)).await;
    let names = answer.lines().filter_map(|line| line.split_once(": "));
    let names: Vec<_> = names.map(|(name, _)| name.to_ascii_lowercase()).collect();
    assert!(names.contains(&"date".to_owned()), "{answer}");
    assert!(!names.contains(&"server".to_owned()), "{answer}");
}

#[tokio::test]
async fn over_the_cap_a_connection_waits_for_its_turn() {
    let fixture = Fixture::new();
    let mut settings = settings(&fixture);
    settings.room.connections = 1;
    settings.room.grace = LONG;
    let server = Server::start(&fixture, settings).await;

    let mut first = server.connect().await;
    first.write_all(&post("t", 1, "")).await.unwrap();
    one_answer(&mut first).await;
    let mut second = server.connect().await;
    second.write_all(&post("second", 1, "")).await.unwrap();
    // The first is still served, the second not yet.
    first.write_all(&post("t", 1, "")).await.unwrap();
    one_answer(&mut first).await;
    let taken = fixture.fake.taken();
    assert!(taken.iter().all(|push| push.token == "t"), "{taken:?}");
    assert_eq!(fixture.metrics.http_connections.get(), 1);

    drop(first);
    assert!(one_answer(&mut second).await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test]
async fn a_unix_socket_serves_and_its_proxy_is_believed() {
    let fixture = Fixture::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("http.sock");
    let listener = Listener::bind(&Listen::Unix(path.clone())).await.unwrap();
    let shutdown = CancellationToken::new();
    let settings = settings(&fixture);
    let site = fixture.site.clone();
    let task = tokio::spawn(serve(listener, site, settings, shutdown.clone()));

    let guess = async |client: &str| {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let forwarded = format!("X-Forwarded-For: {client}\r\n");
        let request = post("BadToken", 1, &forwarded);
        stream.write_all(&request).await.unwrap();
        one_answer(&mut stream).await[9..12].to_owned()
    };
    for status in ["404", "404", "404", "429"] {
        assert_eq!(guess("192.0.2.1").await, status);
    }
    assert_eq!(guess("192.0.2.2").await, "404");
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn listeners_handed_over_by_systemd_serve() {
    let fixture = Fixture::new();
    let inherited = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = inherited.local_addr().unwrap();
    let listener = Listener::try_from(inherited).unwrap();
    let settings = settings(&fixture);
    let shutdown = CancellationToken::new();
    tokio::spawn(serve(listener, fixture.site, settings, shutdown));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&post("t", 1, CLOSE)).await.unwrap();
    assert_eq!(statuses(&to_end(&mut stream).await), ["201"]);
}
