//! The composition root: [`App::build`] opens the store and binds the listeners, [`App::run`]
//! works until it is told to stop.

mod inbound;
mod reload;
mod services;
mod shutdown;
mod sockets;
pub mod state;
mod upkeep;

use std::{io, sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{
    inbound::UseCases,
    services::{Services, Settings},
    shutdown::Shutdown,
    sockets::listener,
    state::{State, StateError},
};
pub use self::{reload::Reloads, services::login, sockets::Sockets};
use crate::{
    config::Config,
    http::{
        self, BODY_TIMEOUT, BindError, Guesses, Late, Listener, Public, Room, ServeSettings,
        Signatures, Site,
    },
    link::RegisterReply,
    metrics::Metrics,
    model::{
        listen::Listen,
        random::{Random, SystemRandom},
        time::SystemClock,
    },
    registrar::worker,
    runtime::{lifecycle, patience::Patience},
    store::StoreError,
    xmpp::{
        component::{LinkTask, channel},
        settings::{LinkSettings, Timings},
    },
};

/// Health checks and scrapes come from a few places only.
const ADMIN_CONNECTIONS: usize = 64;
/// How many pushes at a time, to accounts that hold as many messages as they may, are refused late: more
/// than a few clients can send. Each keeps its connection from giving way to others.
const LATE_REFUSALS: u32 = 2048;
/// Files open beside HTTP connections: the admin's, the store, the link, the runtime.
const OTHER_FILES: usize = ADMIN_CONNECTIONS + 64;

/// How long a connection may be idle before it may have to make room for another one. Senders use theirs
/// again within that, or are about to open a new one anyway.
const GRACE: Duration = Duration::from_secs(1);

/// How long the stop waits to keep the time for the next start.
const LAST_NOTE: Duration = Duration::from_secs(1);

/// Why the daemon does not start. Nothing was touched but the state directory, or the database.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("cannot read the waiting messages from the store: {0}")]
    Recover(#[source] StoreError),
    #[error("{key}: {source}")]
    Bind {
        key: &'static str,
        source: BindError,
    },
    #[error("cannot handle signals: {0}")]
    Signals(#[source] io::Error),
    #[error("cannot use a socket that systemd passed: {0}")]
    Activation(#[source] io::Error),
    #[error(
        "systemd passed two sockets for {0}. One is enough (`[::]:8080` accepts IPv4 too); name the \
         admin listener's socket with `FileDescriptorName=admin`"
    )]
    Superfluous(&'static str),
}

/// The daemon, ready to run: its listeners are bound and its store is open.
pub struct App {
    http: Listener,
    admin: Listener,
    room: Room,
    routes: Routes,
    link: LinkTask,
    replies: mpsc::Sender<RegisterReply>,
    services: Arc<Services>,
    config: Config,
}

struct Routes {
    http: Site,
    admin: Site,
}

/// A task of the daemon ended unexpectedly, which only a defect can cause; the log says which.
#[derive(Debug, thiserror::Error)]
#[error("a task of the daemon ended unexpectedly; please report this defect")]
pub struct Failed;

impl App {
    pub async fn build(config: Config, sockets: Sockets) -> Result<Self, StartError> {
        // First: a daemon whose address is taken leaves no trace.
        let http = listener("http.listen", &config.http.listen, sockets.http).await?;
        let admin = listener("admin.listen", &config.admin.listen, sockets.admin).await?;

        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let metrics = Arc::new(Metrics::new());
        // A large store of an earlier version takes minutes.
        let patience = Patience::new(|passed| {
            info!(
                seconds = passed.as_secs(),
                "still starting: at work on the store"
            );
            lifecycle::notify_starting();
        });
        let state = State::open(&config, SystemClock, &random).await?;
        let settings = Settings::new(&config);
        let link = LinkSettings {
            domain: config.component.domain.clone(),
            login: settings.login.subscribe(),
            extensions: settings.extensions.clone(),
            timings: Timings::default(),
        };
        let (handle, link) = channel(link, metrics.clone(), random);
        let services = Services::compose(&config, settings, state, &handle, metrics)
            .await
            .map_err(StartError::Recover)?;
        drop(patience);
        Ok(Self {
            http,
            admin,
            room: Room {
                connections: affordable(config.limits.connections),
                reading: usize::try_from(config.limits.request_memory).unwrap_or(usize::MAX),
                grace: GRACE,
            },
            routes: routes(&config, &services),
            link,
            replies: handle.replies,
            services: Arc::new(services),
            config,
        })
    }

    /// Where pushes are taken; tells the port when 0 was configured.
    pub fn http_address(&self) -> io::Result<Listen> {
        self.http.address()
    }

    pub fn admin_address(&self) -> io::Result<Listen> {
        self.admin.address()
    }

    /// Works until `stop`, then in this order: takes no more connections, answers the pushes in
    /// flight, writes what is left to write, closes the link. None: the configuration stays.
    pub async fn run(
        self,
        stop: CancellationToken,
        reloads: Option<Reloads>,
    ) -> Result<(), Failed> {
        let services = self.services.clone();
        services.look_at_clock();
        let shutdown = Shutdown::new(stop.clone());
        let mut tasks = self.start(&shutdown, reloads);
        lifecycle::notify_ready();
        info!("ready");

        let outcome = tokio::select! {
            // The shutdown ends tasks, too.
            biased;
            () = stop.cancelled() => Ok(()),
            ended = tasks.join_next() => {
                error!(?ended, "{Failed}");
                Err(Failed)
            }
        };
        services.health.set_stopping();
        lifecycle::notify_stopping();
        shutdown.run(&services.delivery).await;
        // If the disk is too slow, the next start goes by what was kept before.
        let _ = timeout(LAST_NOTE, services.keep_time(&mut None)).await;
        info!("stopped");
        outcome
    }

    /// Starts every task; those that the shutdown waits for belong to one of its phases.
    fn start(self, shutdown: &Shutdown, reloads: Option<Reloads>) -> JoinSet<()> {
        let Shutdown { intake, farewell } = shutdown;
        let services = self.services;
        let metrics = &services.metrics;
        let admin_settings = ServeSettings::admin(ADMIN_CONNECTIONS, metrics.clone());
        let rules = services.settings.rules.clone();
        let http_settings = ServeSettings::public(self.room, rules, metrics.clone());
        let (delivery, registrar) = (services.delivery.clone(), services.registrar.clone());
        let (registrations, screened) = mpsc::channel(worker::QUEUE);
        let use_cases = UseCases {
            delivery: delivery.clone(),
            registrar: registrar.clone(),
            registrations,
        };

        let mut tasks = JoinSet::new();
        let token = || intake.token.clone();
        let public = http::serve(self.http, self.routes.http, http_settings, token());
        tasks.spawn(intake.tasks.track_future(public));
        let (forwarding, begun) = (delivery.clone().forward(token()), services.begun.clone());
        tasks.spawn(async move {
            begun.cancelled().await;
            forwarding.await;
        });
        let token = || farewell.token.clone();
        let admin = http::serve(self.admin, self.routes.admin, admin_settings, token());
        tasks.spawn(farewell.tasks.track_future(admin));
        let link = self.link.run(Arc::new(use_cases), token());
        tasks.spawn(farewell.tasks.track_future(link));
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
        if let Some(reloads) = reloads {
            tasks.spawn(reloads.follow(services.clone(), self.config));
        }
        tasks.spawn(services.keep_up());
        tasks.spawn(lifecycle::feed_watchdog());
        tasks
    }
}

fn routes(config: &Config, services: &Services) -> Routes {
    Routes {
        http: http::public(Public {
            delivery: services.delivery.clone(),
            public_url: config.http.public_url.clone(),
            domain: config.component.domain.clone(),
            rules: services.settings.rules.clone(),
            signatures: Signatures::new(&config.http.public_url, services.clock.clone()),
            guesses: Guesses::new(services.guesses.clone()),
            full: Late::new(LATE_REFUSALS),
            questions: http::questions(),
            body_timeout: BODY_TIMEOUT,
            metrics: services.metrics.clone(),
            health: services.health.clone(),
        }),
        admin: http::admin(services.metrics.clone(), services.health.clone()),
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
             ({open_files}), so only {affordable} are used. Raise LimitNOFILE= in the unit, or `ulimit -n`"
        );
    }
    connections.min(affordable)
}
