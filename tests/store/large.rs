//! A million messages: what a store does with few it does with many. Prints how long it takes.

use std::time::Duration;

use futures::future::join_all;
use testbed::tests;
use tokio::time::{Instant, timeout};
use unified_push::{
    model::time::Timestamp,
    store::{Caps, Claim, Enqueued, NewMessage, Store},
};

use crate::{Test, messages::*};

const MESSAGES: u32 = 1_000_000;
/// Half of the messages go to accounts with one each, the others to accounts with so many.
const PER_ACCOUNT: u32 = 1000;
const ACCOUNTS: u32 = MESSAGES / 2 / PER_ACCOUNT;
/// How many are stored at a time.
const BATCH: u32 = 256;
const PAYLOAD: usize = 400;

const CAPS: Caps = Caps {
    per_endpoint: 100,
    per_account: PER_ACCOUNT,
    bytes: 16 << 30,
};

/// No single answer takes longer; far more than any should, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn tests() -> Vec<Test> {
    tests![&a_million_messages]
}

fn owner(serial: u32) -> String {
    match serial % 2 {
        0 => format!("lonely{serial:07}@example.org/phone"),
        _ => format!("busy{:03}@example.org/phone", serial / 2 % ACCOUNTS),
    }
}

/// The first half expires before the second.
fn one(serial: u32) -> NewMessage {
    let app = (serial / 2 / ACCOUNTS % 10) as u8;
    NewMessage {
        payload: payload(PAYLOAD),
        arrived: NOW.saturating_add(Duration::from_millis(serial.into())),
        expires: end(u64::from(serial >= MESSAGES / 2)),
        ..message_to(&owner(serial), app, serial)
    }
}

fn end(half: u64) -> Timestamp {
    after(10_000 + half)
}

async fn a_million_messages(store: &Store) {
    let begun = Instant::now();
    for first in (0..MESSAGES).step_by(BATCH as usize) {
        let batch = first..(first + BATCH).min(MESSAGES);
        let all = batch.map(|serial| store.enqueue(one(serial), CAPS, NOW));
        for answer in join_all(all).await {
            assert_eq!(answer.unwrap(), STORED);
        }
    }
    report(&format!("stored, {BATCH} at a time"), begun, MESSAGES);
    assert_eq!(totals(store).await.0, u64::from(MESSAGES));
    let bytes = store.sizes().await.unwrap().bytes;
    println!("{:>12} MB of files", bytes / 1_000_000);

    one_by_one(store).await;
    all_owners(store).await;
    purge_halves(store).await;
    let left = store.sizes().await.unwrap().bytes;
    println!("{:>12} MB of files are left", left / 1_000_000);
    assert!(left < bytes / 10);
}

/// What a daemon asks for again and again.
async fn one_by_one(store: &Store) {
    const TIMES: u32 = 100;
    let lonely = "lonely@example.org/phone";
    let crowded = owner(1);
    let full = Enqueued::AccountFull;
    for (round, (what, jid, app, expected)) in (0..).zip([
        ("stored alone", lonely, 0, STORED),
        ("refused, the account is full", &crowded, 99, full),
        ("stored, another one gives way", &crowded, 0, evicted(1)),
    ]) {
        let begun = Instant::now();
        for serial in 0..TIMES {
            let new = NewMessage {
                expires: end(1),
                ..message_to(jid, app, MESSAGES + round * TIMES + serial)
            };
            let answer = in_time(store.enqueue(new, CAPS, NOW)).await.unwrap();
            assert_eq!(answer, expected);
        }
        report(what, begun, TIMES);
    }

    for (whose, jid) in [("a small account", lonely), ("a full one", &crowded)] {
        let begun = Instant::now();
        for _ in 0..TIMES {
            let claim = in_time(claim(store, jid, after(2000))).await;
            let Claim::Message(claimed) = claim else {
                panic!("{claim:?}");
            };
            assert!(in_time(store.acknowledge(claimed.key)).await.unwrap());
        }
        report(&format!("claimed and acknowledged, {whose}"), begun, TIMES);
    }

    let begun = Instant::now();
    for _ in 0..TIMES {
        in_time(store.sizes()).await.unwrap();
    }
    report("asked for the sizes", begun, TIMES);
}

async fn all_owners(store: &Store) {
    let begun = Instant::now();
    let mut owners = 0;
    let mut last = None;
    loop {
        let page = in_time(store.owners_waiting(last.as_ref(), 1000)).await;
        let page = page.unwrap();
        owners += u32::try_from(page.len()).unwrap();
        match page.into_iter().next_back() {
            Some(owner) => last = Some(owner),
            None => break,
        }
    }
    report("told who waits", begun, owners);
    assert_eq!(owners, MESSAGES / 2 + ACCOUNTS);

    let begun = Instant::now();
    let waiting = store.waiting(NOW).await.unwrap();
    report("listed by account", begun, waiting.len() as u32);
    assert_eq!(waiting.len() as u32, owners);
}

/// While others go on working.
async fn purge_halves(store: &Store) {
    for half in 0..2 {
        let begun = Instant::now();
        let purge = store.purge(end(half));
        tokio::pin!(purge);
        let mut longest = Duration::ZERO;
        let purged = loop {
            tokio::select! {
                purged = &mut purge => break purged.unwrap(),
                waited = one_more(store) => longest = longest.max(waited),
            }
        };
        report("purged", begun, u32::try_from(purged).unwrap());
        println!("{longest:>12.1?} was the longest wait of another one meanwhile");
    }
}

/// How long it takes.
async fn one_more(store: &Store) -> Duration {
    let begun = Instant::now();
    let jid = full("nobody@example.org/phone");
    let (_, claim) = in_time(store.claim(None, &jid, NOW, NOW)).await.unwrap();
    assert_eq!(claim, Claim::Empty);
    begun.elapsed()
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("an answer in time")
}

fn report(what: &str, begun: Instant, count: u32) {
    let took = begun.elapsed();
    let each = took / count.max(1);
    println!("{count:>12} {what}: {took:.1?}, {each:.1?} each");
}
