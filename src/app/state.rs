//! What the daemon and the commands beside it work on: the store, the secret and the tokens. The
//! daemon makes what is missing; a command finds it.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc};

use tracing::warn;

use crate::{
    config::{self, Config},
    model::{
        exposure::Exposed,
        random::{Random, SystemRandom},
        secret::Secret,
        time::{Clock, TimeSource},
        timekeeper::Timekeeper,
    },
    store::{self, Store, StoreError},
    token::{IssuersError, Keyring, Policy, StateSecret, StateSecretError, Tokens, check_issuers},
};

pub struct State {
    pub store: Store,
    /// The daemon's own time, which it has to begin and to keep.
    pub keeper: Arc<Timekeeper>,
    /// The one that tokens are issued under.
    pub secret: Secret,
    pub tokens: Tokens,
    /// What all daemons of this store go by.
    pub clock: Arc<dyn Clock>,
}

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(transparent)]
    Open(#[from] store::OpenError),
    #[error("cannot read the store: {0}")]
    Read(#[from] StoreError),
    #[error(transparent)]
    Secret(#[from] StateSecretError),
    #[error(
        "no secret is configured, and {} does not contain one. Set `secret_file`, or name the \
         daemon's configuration with --config", .state_dir.display()
    )]
    NoSecret { state_dir: PathBuf },
    #[error(transparent)]
    Issuers(#[from] IssuersError),
}

impl State {
    /// For the daemon. Refuses secrets that cannot open what the store knows to be alive.
    pub async fn open(
        config: &Config,
        time: impl TimeSource + 'static,
        random: &Arc<dyn Random>,
    ) -> Result<Self, StateError> {
        let store = match &config.store {
            config::Store::Sqlite => Store::open(&config.state_dir)?,
            config::Store::Postgres(url) => Store::connect(url, config.postgres).await?,
        };
        for open in open_files(config) {
            warn!("{open}");
        }
        let keeper = find_keeper(&store, time).await?;
        let clock = store.clock(keeper.clone()).await?;
        let secret = match &config.secret {
            Some(secret) => secret.clone(),
            None => kept_secret(config, &store, &*clock, &**random).await?,
        };
        let keyring = keyring(config, &secret);
        check_issuers(&store, &keyring, clock.now()).await?;
        let (same, random) = (clock.clone(), random.clone());
        let tokens = Tokens::load(keyring, policy(config), store.clone(), same, random).await?;
        Ok(Self {
            store,
            keeper,
            secret,
            tokens,
            clock,
        })
    }

    /// For a command, beside the daemon.
    pub async fn find(
        config: &Config,
        time: impl TimeSource + 'static,
    ) -> Result<Self, StateError> {
        let store = find_store(config).await?;
        let keeper = find_keeper(&store, time).await?;
        let secret = find_secret(config)?.ok_or_else(|| StateError::NoSecret {
            state_dir: config.state_dir.clone(),
        })?;
        let keyring = keyring(config, &secret);
        let clock = store.clock(keeper.clone()).await?;
        let (same, random) = (clock.clone(), Arc::new(SystemRandom));
        let tokens = Tokens::load(keyring, policy(config), store.clone(), same, random).await?;
        Ok(Self {
            store,
            keeper,
            secret,
            tokens,
            clock,
        })
    }
}

/// The daemon's store, which it may be using.
pub async fn find_store(config: &Config) -> Result<Store, StateError> {
    Ok(match &config.store {
        config::Store::Sqlite => Store::open_existing(&config.state_dir)?,
        config::Store::Postgres(url) => Store::connect(url, config.postgres).await?,
    })
}

/// The time by which the daemon dates what is in its store.
pub async fn find_clock(
    store: &Store,
    time: impl TimeSource + 'static,
) -> Result<Arc<dyn Clock>, StoreError> {
    store.clock(find_keeper(store, time).await?).await
}

async fn find_keeper(
    store: &Store,
    time: impl TimeSource + 'static,
) -> Result<Arc<Timekeeper>, StoreError> {
    Ok(Arc::new(Timekeeper::new(time, store.time_origin().await?)))
}

/// The configured secret, or the one that the daemon has made.
pub fn find_secret(config: &Config) -> Result<Option<Secret>, StateSecretError> {
    if let Some(secret) = &config.secret {
        return Ok(Some(secret.clone()));
    }
    let kept = StateSecret::load(&config.state_dir)?;
    Ok(kept.map(|kept| kept.secret))
}

/// What others can read or change in the state directory.
pub fn open_files(config: &Config) -> Vec<Exposed> {
    let directory = &config.state_dir;
    if config.store != config::Store::Sqlite {
        return Vec::new();
    }
    let mut open: Vec<_> = Exposed::directory(directory).into_iter().collect();
    // Whoever may not enter a directory reads no file in it.
    let mode = fs::metadata(directory).map(|directory| directory.mode());
    if mode.is_ok_and(|mode| mode & 0o011 != 0) {
        let files = ["secret", "unified-push.db"].map(|name| directory.join(name));
        open.extend(files.iter().filter_map(|file| Exposed::file(file)));
    }
    open
}

/// What opens endpoints: ours, and those of the servers that people have moved from.
pub fn keyring(config: &Config, secret: &Secret) -> Keyring {
    Keyring::new(secret, &config.previous_secrets).with_imports(config.imports.clone())
}

/// How tokens are issued.
pub fn policy(config: &Config) -> Policy {
    Policy {
        backend: config.backend,
        ttl: config.registration_ttl,
        grace: config.registration_grace,
        registrations_per_jid: config.limits.registrations_per_jid,
    }
}

/// Where none is configured: the one in `state_dir`, made on the first start.
async fn kept_secret(
    config: &Config,
    store: &Store,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<Secret, StateSecretError> {
    let kept = StateSecret::load_or_make(&config.state_dir, store, clock.now(), random).await?;
    if kept.made {
        warn!(
            "no secret is configured, so one was generated in {}. Keep a copy: without it, every endpoint is lost",
            kept.path.display()
        );
    }
    Ok(kept.secret)
}
