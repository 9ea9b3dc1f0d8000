//! What is durable: the registrations of the back end `storage`, the revocations of every back
//! end, which secrets have issued tokens, and the messages that wait for their phones.
//!
//! A write is answered when it is on the disk. No token is kept, only what it takes to recompute
//! one with the secret.
//!
//! `engine::Engine` is the contract. `rules` makes the decisions that do not depend on a
//! database, and `sqlite` and `postgres` are mirrors: files of the same name do the same work.

mod copy;
mod engine;
mod error;
mod messages;
mod postgres;
mod refusals;
mod registrations;
mod rules;
mod sqlite;
mod tables;

use std::{fmt, path::Path, sync::Arc};

use crate::model::timekeeper::{Kept, Origin, Timekeeper};

pub use self::{
    copy::{CopyError, Place, Progress, copy},
    error::{Failure, OpenError, StoreError},
    messages::{
        Caps, Claim, Claimed, Enqueued, MESSAGE_OVERHEAD, NewMessage, News, Overtaken, Silence,
        Waiting,
    },
    postgres::{
        PostgresExamined, PostgresSettings, PostgresUrl, PostgresUrlError, TlsSetupError,
        examine as examine_postgres,
    },
    registrations::{
        Found, Generation, Issuer, NewRegistration, Owned, Registered, Revoked, Sizes, TokenHash,
    },
    sqlite::{SqliteExamined, SqliteOpenError, examine as examine_sqlite},
};
use self::{postgres::Postgres, sqlite::Sqlite};
use crate::model::time::Clock;

/// A handle. Cheap to clone; what it holds open is closed with the last one.
#[derive(Clone)]
pub struct Store(Arc<Opened>);

/// The engine that was chosen.
enum Opened {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

impl Store {
    /// The daemon's, in its `state_dir`: makes what is missing, and keeps other daemons out.
    pub fn open(state_dir: &Path) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Opened::Sqlite(Sqlite::open(state_dir)?))))
    }

    /// For the command line, which must not leave a database that belongs to another user.
    pub fn open_existing(state_dir: &Path) -> Result<Self, OpenError> {
        let sqlite = Sqlite::open_existing(state_dir)?;
        Ok(Self(Arc::new(Opened::Sqlite(sqlite))))
    }

    /// For the daemon and the command line alike: makes the tables where they are missing.
    pub async fn connect(url: &PostgresUrl, settings: PostgresSettings) -> Result<Self, OpenError> {
        let postgres = Postgres::connect(url, settings).await?;
        Ok(Self(Arc::new(Opened::Postgres(Box::new(postgres)))))
    }

    /// The clock that everything about this store goes by: one's own, or the database's, which several
    /// daemons share.
    pub async fn clock(&self, own: Arc<Timekeeper>) -> Result<Arc<dyn Clock>, StoreError> {
        match &*self.0 {
            Opened::Sqlite(_) => Ok(own),
            Opened::Postgres(postgres) => postgres.clock(own).await,
        }
    }

    /// Why what other replicas say does not arrive, if it does not.
    pub fn silence(&self) -> Option<Silence> {
        match &*self.0 {
            Opened::Sqlite(_) => None,
            Opened::Postgres(postgres) => postgres.silence(),
        }
    }

    /// What time is to be counted from. Those who share a store date what they write by its clock.
    pub async fn time_origin(&self) -> Result<Origin, StoreError> {
        Ok(match &*self.0 {
            Opened::Sqlite(sqlite) => Origin::Own(sqlite.kept_time().await?),
            Opened::Postgres(_) => Origin::Wall,
        })
    }

    /// Keeps the time for the next start.
    pub async fn keep_time(&self, kept: &Kept) -> Result<(), StoreError> {
        match &*self.0 {
            Opened::Sqlite(sqlite) => sqlite.keep_time(kept).await,
            Opened::Postgres(_) => Ok(()),
        }
    }

    /// Goes on with the user, the password and the certificates of this URL, unless it is of another
    /// database, or of none before.
    pub async fn renew(&self, url: &PostgresUrl) -> Result<(), OpenError> {
        match &*self.0 {
            Opened::Sqlite(_) => Ok(()),
            Opened::Postgres(postgres) => Ok(postgres.renew(url).await?),
        }
    }

    /// Whether there may be other replicas.
    pub fn is_shared(&self) -> bool {
        matches!(*self.0, Opened::Postgres(_))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Opened::Sqlite(sqlite) => f.debug_tuple("Store").field(&sqlite.path).finish(),
            Opened::Postgres(postgres) => f.debug_tuple("Store").field(&postgres.url).finish(),
        }
    }
}
