//! What is remembered in the memory is what the disk would hold.

use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::{
    model::{message::Urgency, payload::Payload, registration::Digest},
    store::{
        engine::Engine,
        messages::{Caps, NewMessage},
        sqlite::Sqlite,
    },
};

const NOW: Timestamp = Timestamp::from_secs(1_764_000_000);
const CAPS: Caps = Caps {
    per_endpoint: 1000,
    per_account: 1000,
    bytes: 1 << 30,
};
const URGENCIES: [Urgency; 3] = [Urgency::Low, Urgency::Normal, Urgency::High];

fn later(secs: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(secs))
}

fn owner(serial: u8) -> Jid {
    let resource = if serial.is_multiple_of(2) { "a" } else { "b" };
    Jid::new(&format!("romeo@example.org/{resource}")).unwrap()
}

fn message(serial: u8) -> NewMessage {
    let once = serial.is_multiple_of(3);
    NewMessage {
        key: MessageKey::from_bytes([serial; 16]),
        id: MessageId::from_bytes([serial; 16]),
        registration: Registration {
            owner: owner(serial),
            application: Digest::from_bytes([serial; 32]),
            instance: Digest::from_bytes([9; 32]),
            issued: NOW,
            expires: later(9999),
        },
        topic: None,
        urgency: URGENCIES[usize::from(serial) % 3],
        payload: Payload::new(Bytes::from(vec![serial; 100])).unwrap(),
        arrived: later(u64::from(serial % 5)),
        expires: later(60 + u64::from(serial)),
        sent: once.then_some(NOW),
        hold: match once {
            true => Hold::Until(later(30)),
            false => Hold::Free,
        },
        try_at: NOW,
    }
}

/// A store that the disk fails while another connection holds the only right to write.
struct Bed {
    store: Sqlite,
    other: Connection,
    _dir: TempDir,
}

impl Bed {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Sqlite::open(dir.path()).unwrap();
        let impatient = |db: &Connection| db.busy_timeout(Duration::ZERO);
        store.writer.write(impatient).await.unwrap();
        let other = Connection::open(&store.path).unwrap();
        Self {
            store,
            other,
            _dir: dir,
        }
    }

    async fn fill(&self, messages: u8) {
        for serial in 0..messages {
            let stored = self.store.enqueue(message(serial), CAPS, NOW).await;
            stored.unwrap();
        }
    }

    fn fail(&self) {
        self.other.execute_batch("BEGIN IMMEDIATE").unwrap();
    }

    async fn recover(&self) {
        self.other.execute_batch("ROLLBACK").unwrap();
        self.store.ping().await.unwrap();
        assert!(self.store.meanwhile.read().await.is_none());
    }

    /// What there is in the table itself.
    fn rows(&self) -> Vec<(MessageKey, Sent)> {
        let sql = format!("SELECT {COLUMNS} FROM queue ORDER BY key");
        self.other.list(&sql, [], waiting).unwrap()
    }

    /// One thing that may happen, chosen by a number; the answer as text.
    async fn step(&self, dice: u64, now: Timestamp) -> String {
        let serial = (dice >> 8) as u8 % 40;
        let (key, jid) = (MessageKey::from_bytes([serial; 16]), owner(serial));
        let attempt = (dice >> 16) as u16 % 4;
        let store = &self.store;
        let lease = now.saturating_add(Duration::from_secs(dice >> 24 & 7));
        let hold = match dice >> 32 & 3 {
            0 => Hold::Until(now.saturating_add(Duration::from_secs(5))),
            _ => Hold::Free,
        };
        match dice & 7 {
            0 => format!("{:?}", store.acknowledge(key).await.unwrap()),
            1 => format!(
                "{:?}",
                store.put_back(key, attempt, &jid, hold).await.unwrap()
            ),
            2 => format!("{:?}", store.asked(key, attempt).await.unwrap()),
            3 => format!("{:?}", store.release(&jid, now..=now).await.unwrap()),
            4 => {
                let id = MessageId::from_bytes([serial; 16]);
                format!("{:?}", store.is_waiting(id, now).await.unwrap())
            }
            5 => {
                let claim = store.claim(Some(key), &jid, now, lease).await;
                format!("{:?}", claim.unwrap())
            }
            _ => format!("{:?}", store.claim(None, &jid, now, lease).await.unwrap()),
        }
    }
}

#[tokio::test]
async fn every_answer_is_the_one_of_a_disk_that_works() {
    let (well, failing) = (Bed::new().await, Bed::new().await);
    well.fill(40).await;
    failing.fill(40).await;
    let mut dice = 1;
    for round in 0..600_u64 {
        match round % 200 {
            50 => failing.fail(),
            150 => {
                failing.recover().await;
                assert_eq!(
                    format!("{:?}", failing.rows()),
                    format!("{:?}", well.rows())
                );
            }
            _ => {}
        }
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        let now = later(round / 10);
        let expected = well.step(dice, now).await;
        assert_eq!(failing.step(dice, now).await, expected, "round {round}");
    }
    let rows = well.rows();
    assert!(rows.len() < 40 && rows.iter().any(|(_, row)| row.attempts > 1));
}

#[tokio::test]
async fn what_a_phone_has_is_deleted_later_and_not_sent_again() {
    let bed = Bed::new().await;
    bed.fill(1).await;
    let (store, romeo) = (&bed.store, owner(0));
    bed.fail();
    let refused = store.enqueue(message(2), CAPS, NOW).await;
    assert!(matches!(refused, Err(StoreError::Failed(_))), "{refused:?}");
    let (_, claim) = store
        .claim(None, &romeo, later(30), later(90))
        .await
        .unwrap();
    let Claim::Message(claimed) = claim else {
        panic!("{claim:?}");
    };
    assert_eq!(claimed.payload, message(0).payload);
    assert!(store.ping().await.is_err(), "the disk fails still");
    let empty = store.claim(Some(claimed.key), &romeo, later(31), later(90));
    assert_eq!(empty.await.unwrap(), (true, Claim::Empty));
    assert_eq!(bed.rows().len(), 1);

    bed.recover().await;
    assert_eq!(bed.rows().len(), 0);
    store.enqueue(message(2), CAPS, NOW).await.unwrap();
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let bed = Bed::new().await;
    bed.fill(4).await;
    let db = &bed.other;
    let mut meanwhile = Meanwhile::default();
    let Claim::Message(first) = meanwhile.claim(db, &owner(1), NOW, later(1)).unwrap() else {
        panic!("one is free");
    };
    for serial in 1..LIMIT as u128 {
        let key = MessageKey::from_bytes((serial << 64).to_be_bytes());
        meanwhile.remember(key, Change::Done).unwrap();
    }
    let next = meanwhile.claim(db, &owner(0), NOW, later(1));
    assert!(matches!(next, Err(StoreError::Busy)), "{next:?}");
    // What was sent already comes to its end.
    assert!(meanwhile.acknowledge(db, first.key).unwrap());
    assert!(!meanwhile.acknowledge(db, first.key).unwrap());
}
