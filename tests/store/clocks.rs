//! Several daemons on one database, with clocks that are wrong.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use testbed::{Postgres, tests};
use unified_push::{
    model::{
        time::{Clock, SystemClock, TimeSource, Timestamp},
        timekeeper::Timekeeper,
    },
    store::{Claim, NewMessage, Store},
};

use crate::{PostgresTest, messages::*, replicas::two};

pub fn tests() -> Vec<PostgresTest> {
    tests![
        &a_lease_of_a_clock_that_was_ahead_does_not_last,
        all_go_by_the_databases_clock,
    ]
}

async fn a_lease_of_a_clock_that_was_ahead_does_not_last(postgres: &Postgres) {
    const HOURS: u64 = 6 * 3600;
    let [gone, here] = two(postgres).await;
    put(&gone, message(1)).await;
    let claimed = claim(&gone, ORCHARD, after(HOURS)).await;
    assert!(matches!(claimed, Claim::Message(_)), "{claimed:?}");
    // The clock is right again, and the daemon that had the message was killed.
    drop(gone);
    let Claim::Message(again) = claim(&here, ORCHARD, after(1)).await else {
        panic!("it waits for hours")
    };
    assert_eq!(again.payload, message(1).payload);
    assert!(matches!(
        claim(&here, ORCHARD, after(2)).await,
        Claim::Later(_)
    ));
}

/// A computer whose clock is set by so many milliseconds, anew whenever it is told.
#[derive(Clone)]
struct Computer(Arc<AtomicI64>);

impl Computer {
    fn new(wrong: i64) -> Self {
        Self(Arc::new(AtomicI64::new(wrong)))
    }

    async fn clock(&self, store: &Store) -> Arc<dyn Clock> {
        let keeper = Timekeeper::new(self.clone(), store.time_origin().await.unwrap());
        store.clock(Arc::new(keeper)).await.unwrap()
    }
}

impl TimeSource for Computer {
    fn wall(&self) -> Timestamp {
        SystemClock.now().shifted(self.0.load(Ordering::Relaxed))
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }

    fn boot(&self) -> Option<String> {
        SystemClock.boot()
    }
}

async fn all_go_by_the_databases_clock(postgres: &Postgres) {
    let [a, b] = two(postgres).await;
    let machine = Computer::new(90_000);
    let ahead = machine.clock(&a).await;
    let behind = Computer::new(-90_000).clock(&b).await;
    let difference = ahead.now().as_millis().abs_diff(behind.now().as_millis());
    assert!(difference < 1000, "{difference}");
    let of_server = SystemClock.now().as_millis();
    assert!(ahead.now().as_millis().abs_diff(of_server) < 1000);
    // The message that is stored last, by the daemon that is behind, is the one that stays.
    for (store, clock, expected) in [(&a, &ahead, STORED), (&b, &behind, REPLACED)] {
        let now = clock.now();
        let message = NewMessage {
            topic: topic("mail"),
            arrived: now,
            expires: now.saturating_add(Duration::from_secs(30)),
            ..message(u32::from(expected == REPLACED))
        };
        assert_eq!(store.enqueue(message, AMPLE, now).await.unwrap(), expected);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // And the one that is ahead does not take it for expired, nor when its clock is set.
    machine.0.store(6 * 3_600_000, Ordering::Relaxed);
    let claimed = claim(&a, ORCHARD, ahead.now()).await;
    assert!(matches!(claimed, Claim::Message(_)), "{claimed:?}");
}
