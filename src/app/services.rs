//! The parts of the daemon, composed.

use std::sync::Arc;

use super::state::State;
use crate::{
    config::Config,
    delivery::{self, Delivery, Dependencies},
    metrics::Metrics,
    model::{
        random::{Random, SeededRandom},
        rate::Limiter,
        time::Clock,
    },
    registrar::Registrar,
    runtime::health::Health,
    store::{Caps, Store, StoreError},
    token::Tokens,
    xmpp::component::LinkHandle,
};

/// What works for as long as the daemon runs.
pub struct Services {
    pub store: Store,
    pub tokens: Tokens,
    pub delivery: Arc<Delivery>,
    pub registrar: Arc<Registrar>,
    /// Of clients that try made-up endpoints.
    pub guesses: Arc<Limiter>,
    pub health: Health,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
}

impl Services {
    pub async fn compose(
        config: &Config,
        state: State,
        link: &LinkHandle,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let State {
            store,
            secret,
            tokens,
        } = state;
        let dependencies = Dependencies {
            tokens: tokens.clone(),
            store: store.clone(),
            acl: config.acl.clone(),
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
            config.acl.clone(),
            tokens.clone(),
            config.limits.registration_rate,
            config.http.public_url.clone(),
            metrics.clone(),
        );
        Ok(Self {
            store,
            tokens,
            delivery: Arc::new(delivery),
            registrar: Arc::new(registrar),
            guesses: Arc::new(Limiter::new(config.limits.client_guess_rate)),
            health: Health::new(link.state.clone()),
            clock,
            metrics,
        })
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
