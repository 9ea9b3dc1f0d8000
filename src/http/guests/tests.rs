//! Who gives way; the test moves the time.

use super::*;

const GRACE: Duration = Duration::from_secs(1);

fn guests(connections: usize, reading: usize) -> Arc<Guests> {
    let room = Room {
        connections,
        reading,
        grace: GRACE,
    };
    Guests::new(room, Arc::new(Metrics::new()))
}

fn client(last: u8) -> Option<ClientKey> {
    Some(ClientKey::new([192, 0, 2, last].into()))
}

async fn has_to_leave(guest: &Guest) -> bool {
    timeout(Duration::ZERO, guest.call()).await == Ok(Call::Leave)
}

#[tokio::test(start_paused = true)]
async fn whoever_has_waited_longest_gives_way_and_whoever_works_stays() {
    let guests = guests(3, usize::MAX);
    let working = guests.admit(None, 1).await.unwrap();
    working.heard(10);
    working.works(false);
    tokio::time::advance(GRACE).await;
    let oldest = guests.admit(None, 1).await.unwrap();
    tokio::time::advance(GRACE / 2).await;
    let younger = guests.admit(None, 1).await.unwrap();
    let began = Instant::now();
    let leaves = async {
        assert_eq!(oldest.call().await, Call::Leave);
        drop(oldest);
    };
    let (newcomer, ()) = tokio::join!(guests.admit(None, 1), leaves);
    assert!(newcomer.is_some());
    assert!(began.elapsed() >= GRACE / 2, "before the grace is over");
    assert!(!has_to_leave(&working).await && !has_to_leave(&younger).await);
    assert_eq!(guests.metrics.http_ends.get(ConnectionEnd::NoRoom), 1);
    assert_eq!(guests.metrics.http_connections.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn slow_requests_give_way_before_the_memory_for_them_is_full() {
    let guests = guests(100, 3 * (READER + 100) + READER / 2);
    let mut seated = Vec::new();
    for _ in 0..3 {
        let guest = guests.admit(None, 1).await.unwrap();
        guest.heard(100);
        tokio::time::advance(Duration::from_millis(5)).await;
        seated.push(guest);
    }
    let idle = guests.admit(None, 1).await.unwrap();
    let healthy = guests.admit(None, 1).await.unwrap();
    healthy.heard(100);
    assert!(has_to_leave(&seated[0]).await);
    for stays in [&seated[1], &seated[2], &idle, &healthy] {
        assert!(!has_to_leave(stays).await);
    }
    // What is read whole is counted elsewhere.
    healthy.works(false);
    let next = guests.admit(None, 1).await.unwrap();
    next.heard(100);
    assert!(!has_to_leave(&seated[1]).await);
    drop((seated, idle, healthy, next));
    assert_eq!(guests.reading.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn one_client_has_its_share_and_gets_it_back() {
    let guests = guests(100, usize::MAX);
    let first = guests.admit(client(1), 2).await.unwrap();
    let _second = guests.admit(client(1), 2).await.unwrap();
    assert!(guests.admit(client(1), 2).await.is_none());
    assert!(guests.admit(client(2), 2).await.is_some());
    assert!(guests.admit(None, 2).await.is_some());
    drop(first);
    assert!(guests.admit(client(1), 2).await.is_some());
    assert_eq!(guests.metrics.http_ends.get(ConnectionEnd::ClientsShare), 1);
}
