//! SIGHUP: the configuration is read again, and what can change at run time changes. Pushes in
//! flight keep the settings that they began with.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::{
    services::Services,
    state::{StateError, find_secret, keyring, policy},
};
use crate::{
    config::{self, Config, Loaded, Report},
    runtime::{
        lifecycle::{self, Signal},
        logging::LevelControl,
    },
    token::check_issuers,
};

/// What asks for a reload, and where the new configuration comes from.
pub struct Reloads {
    pub signal: Signal,
    pub load: Arc<dyn Fn() -> Result<Loaded, Report> + Send + Sync>,
    pub level: LevelControl,
}

impl Reloads {
    /// Never ends. `started` is what the daemon began with.
    pub async fn follow(mut self, services: Arc<Services>, started: Config) {
        while self.signal.recv().await.is_some() {
            lifecycle::notify_reloading();
            self.reload(&services, &started).await;
            lifecycle::notify_ready();
        }
        std::future::pending().await
    }

    async fn reload(&self, services: &Services, started: &Config) {
        let load = self.load.clone();
        let loaded = match spawn_blocking(move || load()).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(report)) => {
                for line in report.lines() {
                    error!("{line}");
                }
                error!(
                    "not reloaded: the configuration is wrong, and the previous one stays in effect"
                );
                return;
            }
            // A panic, which is logged.
            Err(_) => return,
        };
        let Loaded {
            mut config,
            warnings,
            ..
        } = loaded;
        for warning in warnings {
            warn!("{warning}");
        }
        for option in config.needs_restart(started) {
            warn!("{option} has a new value, which takes effect with a restart");
        }
        config.state_dir = started.state_dir.clone();
        match services.reconfigure(&config).await {
            Ok(()) => {
                self.level.set(config.log.level);
                info!("reloaded");
            }
            Err(error) => {
                error!("not reloaded; the previous configuration stays in effect: {error}")
            }
        }
    }
}

impl Services {
    /// Applies another configuration; when that fails, nothing has changed.
    async fn reconfigure(&self, config: &Config) -> Result<(), StateError> {
        let secret = find_secret(config)?.ok_or_else(|| StateError::NoSecret {
            state_dir: config.state_dir.clone(),
        })?;
        let keyring = keyring(config, &secret);
        check_issuers(&self.store, &keyring, self.clock.now()).await?;
        if let config::Store::Postgres(url) = &config.store {
            self.store.renew(url).await?;
        }

        self.tokens.reconfigure(keyring, policy(config));
        self.settings.set(config);
        self.delivery
            .reconfigure(super::services::delivery_settings(config));
        self.registrar.set_rate(config.limits.registration_rate);
        self.guesses.set_rate(config.limits.client_guess_rate);
        Ok(())
    }
}
