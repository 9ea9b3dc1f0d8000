//! What SQLite alone does: the rows, the indexes and the settings of the daemon's queue, and nothing
//! decided about them.

use std::{fs, path::Path, time::Duration};

use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::time::Instant;
use unified_push::{
    model::time::{Clock, SystemClock},
    store::Store,
};

use crate::{
    host::phone,
    rows::{FILE, INSERT},
};

const BODY: usize = 200;
const PHONES: usize = 1000;

struct Bare {
    db: Connection,
    now: i64,
    stored: u64,
    _dir: TempDir,
}

/// How many commits a store's file has seen, as the index of its log counts them.
pub fn commits(state_dir: &Path) -> f64 {
    let index = fs::read(state_dir.join(format!("{FILE}-shm"))).unwrap();
    let count: [u8; 4] = index[8..12].try_into().unwrap();
    f64::from(u32::from_ne_bytes(count))
}

/// Messages stored per second, with so many in each commit.
pub fn store(per_commit: usize, window: Duration) -> f64 {
    let mut bare = Bare::new();
    let begin = Instant::now();
    while begin.elapsed() < window {
        bare.together(|bare| (0..per_commit).for_each(|_| bare.insert()));
    }
    bare.stored as f64 / begin.elapsed().as_secs_f64()
}

/// Messages claimed and deleted per second, with so many of either in each commit.
pub fn forward(per_commit: usize, count: usize) -> f64 {
    let mut bare = Bare::new();
    bare.together(|bare| (0..count).for_each(|_| bare.insert()));
    let numbers: Vec<usize> = (0..count).collect();
    let begin = Instant::now();
    let mut claimed: &[usize] = &[];
    for batch in numbers.chunks((per_commit / 2).max(1)).chain([&[][..]]) {
        bare.together(|bare| {
            for number in claimed {
                bare.delete(*number);
            }
            for number in batch {
                bare.claim(*number);
            }
        });
        claimed = batch;
    }
    count as f64 / begin.elapsed().as_secs_f64()
}

impl Bare {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let db = Connection::open(dir.path().join(FILE)).unwrap();
        db.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216")
            .unwrap();
        Self {
            db,
            now: SystemClock.now().as_millis() as i64,
            stored: 0,
            _dir: dir,
        }
    }

    fn together(&mut self, work: impl FnOnce(&mut Self)) {
        self.db.execute_batch("BEGIN IMMEDIATE").unwrap();
        work(self);
        self.db.execute_batch("COMMIT").unwrap();
    }

    fn insert(&mut self) {
        let number = self.stored as usize;
        let owner = phone(number % PHONES);
        let (account, _) = owner.split_once('/').unwrap();
        let digest = [7_u8; 32];
        let mut insert = self.db.prepare_cached(INSERT).unwrap();
        let none = None::<i64>;
        let row = params![
            key(number),
            key(!number),
            account,
            owner,
            digest,
            digest,
            self.now,
            self.now + 604_800_000,
            none,
            3,
            [b'x'; BODY],
            self.now + number as i64,
            self.now + 86_400_000,
            0,
            none,
            0
        ];
        insert.execute(row).unwrap();
        self.stored += 1;
    }

    fn claim(&self, number: usize) {
        let claim =
            "UPDATE queue SET attempts = attempts + 1, sent = ?2, claimed_until = ?2 + 60000
                     WHERE key = ?1 RETURNING payload";
        let mut claim = self.db.prepare_cached(claim).unwrap();
        let claimed: Vec<u8> = claim
            .query_row((key(number), self.now), |row| row.get(0))
            .unwrap();
        assert_eq!(claimed.len(), BODY);
    }

    fn delete(&self, number: usize) {
        let delete = "DELETE FROM queue WHERE key = ?";
        let mut delete = self.db.prepare_cached(delete).unwrap();
        assert_eq!(delete.execute([key(number)]).unwrap(), 1);
    }
}

/// Spread as random ones are.
pub fn key(number: usize) -> [u8; 16] {
    (number as u128)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        .to_be_bytes()
}
