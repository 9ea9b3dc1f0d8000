//! The composition root: [`App::build`] opens the store and binds the listeners, [`App::run`]
//! works until it is told to stop.

mod inbound;
mod upkeep;

use std::{io, sync::Arc, time::Duration};

use listenfd::ListenFd;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use self::{inbound::UseCases, upkeep::Upkeep};
use crate::{
    config::{self, Config},
    delivery::{self, Delivery, Dependencies},
    http::{self, BODY_TIMEOUT, BindError, Listener, Public, ServeSettings, Site},
    link::RegisterReply,
    metrics::Metrics,
    model::{
        listen::Listen,
        random::{Random, SeededRandom, SystemRandom},
        rate::Limiter,
        secret::Secret,
        time::{Clock, SystemClock},
    },
    registrar::{Registrar, worker},
    runtime::{health::Health, lifecycle},
    store::{self, Caps, Store, StoreError},
    token::{IssuersError, Keyring, Policy, StateSecret, StateSecretError, Tokens, check_issuers},
    xmpp::{
        component::{LinkTask, channel},
        settings::{LinkSettings, Timings},
    },
};

/// Health checks and scrapes come from a few places only.
const ADMIN_CONNECTIONS: usize = 64;
/// Files open beside HTTP connections: the admin's, the store, the link, the runtime.
const OTHER_FILES: usize = ADMIN_CONNECTIONS + 64;
/// How long what is in flight may take to end, and then the link and the admin listener to close:
/// longer than the longest wait for a phone.
const FAREWELL: Duration = Duration::from_secs(7);

/// Why the daemon does not start. Nothing was touched but the state directory, or the database.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] store::OpenError),
    #[error("the store cannot be read: {0}")]
    StoreRead(#[from] StoreError),
    #[error(transparent)]
    Secret(#[from] StateSecretError),
    #[error(transparent)]
    Issuers(#[from] IssuersError),
    #[error("{key}: {source}")]
    Bind {
        key: &'static str,
        source: BindError,
    },
    #[error("signals cannot be handled: {0}")]
    Signals(io::Error),
    #[error("a socket that systemd passed cannot be used: {0}")]
    Activation(io::Error),
    #[error(
        "systemd passed two sockets in place of {0}. One is enough (`[::]:8080` takes IPv4, too); \
         the admin listener's is named by `FileDescriptorName=admin`"
    )]
    Superfluous(&'static str),
}

/// Listeners that are bound already; they replace the configured ones.
#[derive(Default)]
pub struct Sockets {
    pub http: Option<Listener>,
    pub admin: Option<Listener>,
}

/// The daemon, ready to run: its listeners are bound and its store is open.
pub struct App {
    http: Listener,
    admin: Listener,
    connections: usize,
    routes: Routes,
    link: LinkTask,
    replies: mpsc::Sender<RegisterReply>,
    upkeep: Upkeep,
}

struct Routes {
    http: Site,
    admin: Site,
}

/// A task of the daemon ended by itself, which only a defect can cause; the log says which.
#[derive(Debug)]
pub struct Failed;

impl Sockets {
    /// The one named `admin` is for the admin listener (`FileDescriptorName=` in a socket unit),
    /// the other one for pushes.
    pub fn from_systemd() -> Result<Self, StartError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let names: Vec<_> = names.split(':').collect();
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::default();
        for index in 0..passed.len() {
            let listener = take(&mut passed, index).map_err(StartError::Activation)?;
            let (key, slot) = match names.get(index) {
                Some(&"admin") => ("admin.listen", &mut sockets.admin),
                _ => ("http.listen", &mut sockets.http),
            };
            if slot.is_some() {
                // Its clients would wait for ever: systemd listens, and nobody accepts.
                return Err(StartError::Superfluous(key));
            }
            *slot = listener;
        }
        Ok(sockets)
    }
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<Option<Listener>> {
    if let Ok(Some(tcp)) = passed.take_tcp_listener(index) {
        return Listener::try_from(tcp).map(Some);
    }
    passed
        .take_unix_listener(index)?
        .map(Listener::try_from)
        .transpose()
}

impl App {
    pub async fn build(config: Config, sockets: Sockets) -> Result<Self, StartError> {
        // First: a daemon whose address is taken leaves no trace.
        let http = listener("http.listen", &config.http.listen, sockets.http).await?;
        let admin = listener("admin.listen", &config.admin.listen, sockets.admin).await?;

        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let metrics = Arc::new(Metrics::new());
        let store = match &config.store {
            config::Store::Sqlite => Store::open(&config.state_dir)?,
            config::Store::Postgres(url) => Store::connect(url).await?,
        };
        let secret = token_secret(&config, &store, &*clock, &*random).await?;
        let tokens = open_tokens(&config, &secret, &store, &clock, &random).await?;

        let (handle, link) = channel(link_settings(&config), metrics.clone(), random.clone());
        let health = Health::new(handle.state.clone());
        let dependencies = Dependencies {
            tokens: tokens.clone(),
            store: store.clone(),
            acl: config.acl.clone(),
            pushes: handle.pushes.clone(),
            link: handle.state.clone(),
            clock: clock.clone(),
            random: Arc::new(SeededRandom),
            metrics: metrics.clone(),
        };
        let previous = &config.previous_secrets;
        let delivery = Delivery::new(delivery_settings(&config), &secret, previous, dependencies);
        delivery.recover().await?;
        let registrar = Registrar::new(
            config.acl.clone(),
            tokens.clone(),
            config.limits.registration_rate,
            config.http.public_url.clone(),
            metrics.clone(),
        );
        let upkeep = Upkeep {
            store,
            tokens,
            delivery: Arc::new(delivery),
            registrar: Arc::new(registrar),
            guesses: Arc::new(Limiter::new(config.limits.client_guess_rate)),
            health,
            clock,
            metrics,
        };
        Ok(Self {
            http,
            admin,
            connections: affordable(config.limits.connections),
            routes: routes(config, &upkeep),
            link,
            replies: handle.replies,
            upkeep,
        })
    }

    /// Where pushes are taken; tells the port when 0 was configured.
    pub fn http_address(&self) -> io::Result<Listen> {
        self.http.address()
    }

    pub fn admin_address(&self) -> io::Result<Listen> {
        self.admin.address()
    }

    /// Works until `shutdown`, then in this order: takes no more connections, answers the pushes
    /// in flight, writes what is left to write, closes the link.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Failed> {
        let (delivery, health) = (self.upkeep.delivery.clone(), self.upkeep.health.clone());
        let (first, last) = (TaskTracker::new(), TaskTracker::new());
        let late = CancellationToken::new();
        let mut tasks = self.start(&first, &last, &shutdown, &late);
        lifecycle::notify_ready();
        info!("ready");

        let outcome = tokio::select! {
            // The shutdown ends tasks, too.
            biased;
            () = shutdown.cancelled() => Ok(()),
            ended = tasks.join_next() => {
                error!(?ended, "a task of the daemon ended by itself; please report this defect");
                Err(Failed)
            }
        };
        health.set_stopping();
        lifecycle::notify_stopping();
        shutdown.cancel();
        delivery.stop();
        first.close();
        first.wait().await;
        if timeout(FAREWELL, delivery.finish()).await.is_err() {
            warn!("the store does not take what it was last told; some messages may arrive twice");
        }
        late.cancel();
        last.close();
        if timeout(FAREWELL, last.wait()).await.is_err() {
            warn!("the XMPP server took no farewell");
        }
        info!("stopped");
        outcome
    }

    /// Starts every task; those of `first` end with `shutdown`, those of `last` with `late`.
    fn start(
        self,
        first: &TaskTracker,
        last: &TaskTracker,
        shutdown: &CancellationToken,
        late: &CancellationToken,
    ) -> JoinSet<()> {
        let metrics = &self.upkeep.metrics;
        let admin_settings = ServeSettings::new(ADMIN_CONNECTIONS, metrics.clone());
        let http_settings = ServeSettings::new(self.connections, metrics.clone());
        let registrar = self.upkeep.registrar.clone();
        let (registrations, screened) = mpsc::channel(worker::QUEUE);
        let use_cases = UseCases {
            delivery: self.upkeep.delivery.clone(),
            registrar: registrar.clone(),
            registrations,
        };

        let mut tasks = JoinSet::new();
        let public = http::serve(self.http, self.routes.http, http_settings, shutdown.clone());
        tasks.spawn(first.track_future(public));
        let admin = http::serve(self.admin, self.routes.admin, admin_settings, late.clone());
        tasks.spawn(last.track_future(admin));
        tasks.spawn(last.track_future(self.link.run(Arc::new(use_cases), late.clone())));
        let delivery = self.upkeep.delivery.clone();
        tasks.spawn(delivery.clone().forward(shutdown.clone()));
        tasks.spawn(delivery.clone().follow());
        tasks.spawn(worker::serve(
            registrar,
            screened,
            self.replies,
            move |registration| {
                let delivery = delivery.clone();
                async move { delivery.registered(&registration).await }
            },
        ));
        tasks.spawn(self.upkeep.run());
        tasks.spawn(lifecycle::feed_watchdog());
        tasks
    }
}

fn routes(config: Config, parts: &Upkeep) -> Routes {
    Routes {
        http: http::public(Public {
            delivery: parts.delivery.clone(),
            public_url: config.http.public_url,
            domain: config.component.domain,
            require_ttl: config.http.require_ttl,
            trusted_proxies: config.http.trusted_proxies,
            guesses: parts.guesses.clone(),
            body_timeout: BODY_TIMEOUT,
            metrics: parts.metrics.clone(),
        }),
        admin: http::admin(parts.metrics.clone(), parts.health.clone()),
    }
}

/// Refuses secrets that cannot open what the store knows to be alive.
async fn open_tokens(
    config: &Config,
    secret: &Secret,
    store: &Store,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Tokens, StartError> {
    let keyring = Keyring::new(secret, &config.previous_secrets);
    check_issuers(store, &keyring, clock.now()).await?;
    let (store, clock, random) = (store.clone(), clock.clone(), random.clone());
    Ok(Tokens::load(keyring, policy(config), store, clock, random).await?)
}

/// How tokens are issued.
pub fn policy(config: &Config) -> Policy {
    Policy {
        backend: config.backend,
        ttl: config.registration_ttl,
        registrations_per_jid: config.limits.registrations_per_jid,
    }
}

async fn token_secret(
    config: &Config,
    store: &Store,
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<Secret, StartError> {
    if let Some(secret) = &config.secret {
        return Ok(secret.clone());
    }
    let state = StateSecret::load_or_make(&config.state_dir, store, clock.now(), random).await?;
    if state.made {
        warn!(
            "no secret is configured: made one in {}. Keep a copy; without it every endpoint is lost",
            state.path.display()
        );
    }
    Ok(state.secret)
}

fn link_settings(config: &Config) -> LinkSettings {
    LinkSettings {
        domain: config.component.domain.clone(),
        host: config.component.host.clone(),
        port: config.component.port,
        secret: config.component.secret.clone(),
        timings: Timings::default(),
    }
}

fn delivery_settings(config: &Config) -> delivery::Settings {
    delivery::Settings {
        ack_timeout: config.delivery.ack_timeout,
        default_ttl: config.delivery.default_ttl,
        max_ttl: config.delivery.max_ttl,
        endpoint_rate: config.limits.endpoint_rate,
        in_flight_memory: usize::try_from(config.limits.in_flight_memory).unwrap_or(usize::MAX),
        caps: Caps {
            per_endpoint: config.delivery.max_queued_per_endpoint,
            per_account: config.delivery.max_queued_per_jid,
            bytes: config.delivery.max_queued_bytes,
        },
    }
}

/// As many connections as the system has descriptors for: beyond these the link to the XMPP server
/// could not come back.
fn affordable(connections: usize) -> usize {
    let open_files = usize::try_from(lifecycle::raise_open_files()).unwrap_or(usize::MAX);
    let affordable = open_files.saturating_sub(OTHER_FILES).max(1);
    if affordable < connections {
        warn!(
            "limits.connections = {connections} needs more open files than the system allows \
             ({open_files}): taking {affordable}. Raise LimitNOFILE= in the unit, or `ulimit -n`"
        );
    }
    connections.min(affordable)
}

async fn listener(
    key: &'static str,
    listen: &Listen,
    passed: Option<Listener>,
) -> Result<Listener, StartError> {
    match passed {
        Some(listener) => Ok(listener),
        None => Listener::bind(listen)
            .await
            .map_err(|source| StartError::Bind { key, source }),
    }
}
