//! The parts of the daemon, composed.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::state::State;
use crate::{
    config::Config,
    delivery::{self, Delivery, Dependencies},
    http::Rules,
    link::Extensions,
    metrics::Metrics,
    model::{
        acl::Acl,
        random::{Random, SeededRandom},
        rate::Limiter,
        sync::Current,
        time::Clock,
        timekeeper::Timekeeper,
        vapid::Vapid,
    },
    registrar::Registrar,
    runtime::health::Health,
    store::{Caps, Store, StoreError},
    token::Tokens,
    xmpp::{component::LinkHandle, settings::Login},
};

/// What several parts look at, and a reload changes.
pub struct Settings {
    pub acl: Arc<Current<Acl>>,
    pub vapid: Arc<Current<Vapid>>,
    /// What the link announces.
    pub extensions: Arc<Current<Extensions>>,
    pub rules: Arc<Current<Rules>>,
    pub login: watch::Sender<Login>,
}

impl Settings {
    pub fn new(config: &Config) -> Self {
        Self {
            acl: Arc::new(Current::new(config.acl.clone())),
            vapid: Arc::new(Current::new(config.vapid)),
            extensions: Arc::new(Current::new(extensions(config))),
            rules: Arc::new(Current::new(rules(config))),
            login: watch::Sender::new(login(config)),
        }
    }

    pub fn set(&self, config: &Config) {
        self.acl.set(config.acl.clone());
        self.vapid.set(config.vapid);
        self.extensions.set(extensions(config));
        self.rules.set(rules(config));
        self.login.send_if_modified(|current| {
            let before = std::mem::replace(current, login(config));
            before != *current
        });
    }
}

fn extensions(config: &Config) -> Extensions {
    Extensions {
        vapid: config.vapid != Vapid::Off,
    }
}

fn rules(config: &Config) -> Rules {
    Rules {
        require_ttl: config.http.require_ttl,
        read_signatures: config.vapid != Vapid::Off,
        trusted_proxies: config.http.trusted_proxies.clone(),
        connections_per_client: config.limits.connections_per_client,
    }
}

/// How the link logs in.
pub fn login(config: &Config) -> Login {
    Login {
        host: config.component.host.clone(),
        port: config.component.port,
        tls: config.component.tls.clone(),
        secret: config.component.secret.clone(),
    }
}

/// What works for as long as the daemon runs.
pub struct Services {
    pub settings: Settings,
    pub store: Store,
    pub tokens: Tokens,
    pub delivery: Arc<Delivery>,
    pub registrar: Arc<Registrar>,
    /// Of clients that try made-up endpoints.
    pub guesses: Arc<Limiter>,
    pub health: Health,
    /// The daemon's own time, which it has to begin and to keep.
    pub keeper: Arc<Timekeeper>,
    /// What all daemons of this store go by.
    pub clock: Arc<dyn Clock>,
    /// Cancelled once the time is known: from then on what waits is forwarded.
    pub begun: CancellationToken,
    pub metrics: Arc<Metrics>,
}

impl Services {
    pub async fn compose(
        config: &Config,
        settings: Settings,
        state: State,
        link: &LinkHandle,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let State {
            store,
            keeper,
            secret,
            tokens,
            clock,
        } = state;
        let dependencies = Dependencies {
            tokens: tokens.clone(),
            store: store.clone(),
            acl: settings.acl.clone(),
            pushes: link.pushes.clone(),
            link: link.state.clone(),
            clock: clock.clone(),
            random: Arc::new(SeededRandom) as Arc<dyn Random>,
            metrics: metrics.clone(),
        };
        let previous = &config.previous_secrets;
        let delivery = Delivery::new(delivery_settings(config), &secret, previous, dependencies);
        delivery.recover().await?;
        let registrar = Registrar::new(
            settings.acl.clone(),
            settings.vapid.clone(),
            tokens.clone(),
            config.limits.registration_rate,
            config.http.public_url.clone(),
            metrics.clone(),
        );
        Ok(Self {
            settings,
            store,
            tokens,
            delivery: Arc::new(delivery),
            registrar: Arc::new(registrar),
            guesses: Arc::new(Limiter::new(config.limits.client_guess_rate)),
            health: Health::new(link.state.clone()),
            keeper,
            clock,
            begun: CancellationToken::new(),
            metrics,
        })
    }
}

pub fn delivery_settings(config: &Config) -> delivery::Settings {
    delivery::Settings {
        ack_timeout: config.delivery.ack_timeout,
        default_ttl: config.delivery.default_ttl,
        min_ttl: config.delivery.min_ttl,
        min_ttl_urgency: config.delivery.min_ttl_urgency,
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
