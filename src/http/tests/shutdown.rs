//! How a listener stops.

use super::*;

#[tokio::test]
async fn a_request_in_flight_is_answered_and_nothing_new_is_taken() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let mut idle = server.connect().await;
    idle.write_all(&post("t", 1, "")).await.unwrap();
    one_answer(&mut idle).await;
    let mut busy = server.connect().await;
    busy.write_all(&post("wait", 1, "")).await.unwrap();
    fixture.fake.entered.acquire_many(2).await.unwrap().forget();

    server.shutdown.cancel();
    // Idle connections end at once, which shows that the shutdown has begun.
    assert_eq!(to_end(&mut idle).await, "");
    let refused = TcpStream::connect(server.address).await;
    assert!(refused.is_err(), "the listener is still open");

    fixture.fake.gate.add_permits(1);
    let answer = to_end(&mut busy).await;
    assert_eq!(statuses(&answer), ["201"]);
    assert!(answer.contains("connection: close"), "{answer}");
    server.task.await.unwrap();
    assert_eq!(fixture.metrics.http_connections.get(), 0);
}

#[tokio::test]
async fn what_stalls_is_dropped_at_the_deadline() {
    let fixture = Fixture::with(|public| public.body_timeout = LONG);
    let settings = ServeSettings {
        drain: SHORT,
        ..settings(&fixture)
    };
    let server = Server::start(&fixture, settings).await;
    let mut half_a_body = server.connect().await;
    let request = post("t", 100, "Expect: 100-continue\r\n");
    half_a_body
        .write_all(&request[..request.len() - 1])
        .await
        .unwrap();
    // Shows that the handler waits for the body.
    assert!(one_answer(&mut half_a_body).await.contains(" 100 "));
    let mut half_a_header = server.connect().await;
    half_a_header.write_all(b"POST /base").await.unwrap();
    let mut stuck = server.connect().await;
    stuck.write_all(&post("wait", 1, "")).await.unwrap();
    fixture.fake.entered.acquire().await.unwrap().forget();

    server.shutdown.cancel();
    let stopped = timeout(LONG / 2, server.task).await;
    stopped.expect("the deadline ends it").unwrap();
    for stream in [&mut half_a_body, &mut half_a_header, &mut stuck] {
        assert_eq!(to_end(stream).await, "");
    }
    assert_eq!(fixture.metrics.http_connections.get(), 0);
}

#[tokio::test]
async fn a_full_house_does_not_hold_up_the_shutdown() {
    let fixture = Fixture::new();
    let mut settings = settings(&fixture);
    settings.room.connections = 1;
    let server = Server::start(&fixture, settings).await;
    let mut only = server.connect().await;
    only.write_all(&post("t", 1, "")).await.unwrap();
    one_answer(&mut only).await;
    server.shutdown.cancel();
    timeout(LONG / 2, server.task).await.unwrap().unwrap();
}
