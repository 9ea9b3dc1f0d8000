//! What only SQLite's queue has to show; what it does, tests/store tries.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::{
    super::{
        claim::{claim, void_claims},
        enqueue::enqueue,
        tests::connected,
        upkeep::purge_messages,
    },
    *,
};
use crate::{
    model::{
        message::{Hold, MessageKey, Topic, Urgency},
        payload::Payload,
        registration::Digest,
        revocation::Scope,
    },
    store::{
        engine::Engine,
        messages::{Caps, Claim, Enqueued, NewMessage},
        sqlite::Sqlite,
    },
};

const NOW: Timestamp = Timestamp::from_secs(1_764_000_000);
const CAPS: Caps = Caps {
    per_endpoint: 1000,
    per_account: 1000,
    bytes: 1 << 30,
};

fn later(secs: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(secs))
}

fn message(serial: u16, topic: Option<&str>) -> NewMessage {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&serial.to_be_bytes());
    NewMessage {
        key: MessageKey::from_bytes(bytes),
        id: MessageId::from_bytes(bytes),
        registration: Registration {
            owner: Jid::new("romeo@example.org/orchard").unwrap(),
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([9; 32]),
            issued: NOW,
            expires: later(9999),
        },
        topic: topic.map(|topic| Topic::parse(topic.as_bytes()).unwrap()),
        urgency: Urgency::Normal,
        payload: Payload::new(Bytes::from(vec![b'x'; 4096])).unwrap(),
        arrived: NOW,
        expires: later(100),
        sent: None,
        hold: Hold::Until(NOW),
        try_at: NOW,
    }
}

/// Runs each statement at least once; but for [`waiting`], which reads everything.
fn everything(db: &Connection) {
    let (first, second) = (message(1, Some("mail")), message(2, None));
    let registration = &first.registration;
    let owner = &registration.owner;
    let one = Caps {
        per_endpoint: 1,
        ..CAPS
    };
    void_claims(db).unwrap();
    for new in [&first, &first, &second] {
        let stored = enqueue(db, new, one, NOW).unwrap();
        assert!(matches!(stored.0, Enqueued::Stored { .. }));
    }
    let claims = [NOW, NOW, later(999)].map(|now| claim(db, owner, now, later(1)).unwrap());
    assert!(matches!(
        claims,
        [Claim::Message(_), Claim::Later(_), Claim::Empty]
    ));
    put_back(db, second.key, 1, owner, Hold::Until(NOW)).unwrap();
    asked(db, second.key, 1).unwrap();
    release(db, owner, &(NOW..=NOW)).unwrap();
    redirect(db, registration).unwrap();
    owners_waiting(db, None, 10).unwrap();
    is_waiting(db, second.id, NOW).unwrap();
    cancel(db, second.id).unwrap();
    acknowledge(db, second.key).unwrap();
    let revocation = Revocation {
        scope: Scope::Owner(owner.to_bare()),
        at: NOW,
        until: NOW,
    };
    drop_revoked(db, &revocation).unwrap();
    drop_step(db, &owner.to_bare()).unwrap();
    purge_messages(db, NOW).unwrap();
    totals(db).unwrap();
    oldest(db).unwrap();
}

#[test]
fn no_statement_reads_the_whole_queue_or_sorts_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = connected(dir.path()).unwrap();
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let note = {
        let seen = seen.clone();
        move |event: TraceEvent<'_>| {
            if let TraceEvent::Stmt(_, sql) = event {
                seen.lock().unwrap().insert(sql.to_owned());
            }
        }
    };
    db.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note))
        .unwrap();
    everything(&db);
    db.trace_v2(TraceEventCodes::empty(), None::<fn(TraceEvent<'_>)>)
        .unwrap();
    let statements = std::mem::take(&mut *seen.lock().unwrap());
    assert!(statements.len() > 20, "{statements:?}");
    // Those of triggers are told as comments.
    for sql in statements.iter().filter(|sql| !sql.starts_with("--")) {
        for step in plan(&db, sql) {
            let reads_all =
                step.starts_with("SCAN queue") && !step.ends_with("INDEX queue_claimed");
            let reads_all = reads_all && step != "SCAN queue_totals";
            // One endpoint's registrations are few.
            let sorts = step.contains("TEMP B-TREE") && sql.contains("queue");
            assert!(!reads_all && !sorts, "{sql}: {step}");
        }
    }
}

fn plan(db: &Connection, sql: &str) -> Vec<String> {
    let mut explained = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = explained.raw_query().mapped(|row| row.get(3));
    steps.map(Result::unwrap).collect()
}

#[test]
fn attempts_are_counted_no_further_than_a_stanzas_id_can_tell() {
    let dir = tempfile::tempdir().unwrap();
    let db = connected(dir.path()).unwrap();
    let message = message(1, None);
    enqueue(&db, &message, CAPS, NOW).unwrap();
    db.execute("UPDATE queue SET attempts = 65534", []).unwrap();
    for _ in 0..2 {
        let claim = claim(&db, &message.registration.owner, NOW, NOW).unwrap();
        assert!(
            matches!(&claim, Claim::Message(claimed) if claimed.attempt == u16::MAX),
            "{claim:?}"
        );
    }
}

#[tokio::test]
async fn a_daemons_claims_end_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Sqlite::open(dir.path()).unwrap();
    let message = message(1, None);
    let owner = message.registration.owner.clone();
    daemon.enqueue(message, CAPS, NOW).await.unwrap();
    let claim = async |store: &Sqlite| store.claim(None, &owner, NOW, later(60)).await.unwrap().1;
    assert!(matches!(claim(&daemon).await, Claim::Message(_)));

    let cli = Sqlite::open_existing(dir.path()).unwrap();
    assert_eq!(claim(&cli).await, Claim::Later(later(60)));
    drop((daemon, cli));
    let next = Sqlite::open(dir.path()).unwrap();
    let again = claim(&next).await;
    assert!(
        matches!(&again, Claim::Message(claimed) if claimed.attempt == 2),
        "{again:?}"
    );
}

#[tokio::test]
async fn the_file_shrinks_when_the_queue_does() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path()).unwrap();
    let all = (0..1000).map(|serial| store.enqueue(message(serial, None), CAPS, NOW));
    for stored in futures::future::join_all(all).await {
        stored.unwrap();
    }
    let pages = async || store.reader.read(page_count).await.unwrap();
    let full = pages().await;
    assert!(full > 1000, "{full}");
    assert_eq!(store.purge(later(100)).await.unwrap(), 1000);
    let empty = pages().await;
    assert!(empty < 50, "{empty}");
}

fn page_count(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA page_count", [], |row| row.get(0))
}
