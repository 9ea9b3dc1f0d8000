//! Use case: a phone registers and gets an endpoint.
//!
//! The order of the checks is mod_unified_push's, and so are the texts. It knows nothing of stanzas
//! or HTTP.

use std::sync::Arc;

use jid::Jid;
use tracing::{debug, info};

use crate::{
    link::{RegisterError, RegisterReply, RegisterRequest, Registered},
    metrics::{Metrics, RegistrationResult},
    model::{
        acl::Acl,
        endpoint::PublicUrl,
        rate::{Limiter, Rate},
        registration::{Digest, DigestError, Registration},
        sync::Current,
    },
    store::StoreError,
    token::{IssueError, Tokens},
};

/// What phones and senders can be relied on to take (UnifiedPush: an endpoint is at most 1000
/// bytes).
const MAX_ENDPOINT: usize = 1000;

/// How many refusals are logged.
const REPORTS: &str = "1/s, burst 20";

pub struct Registrar {
    acl: Arc<Current<Acl>>,
    tokens: Tokens,
    /// Keyed by account: only those that the ACL lets in, so strangers fill no table.
    rate: Limiter,
    /// Keeps strangers from filling the log with their refusals; the metric counts them all.
    reports: Limiter,
    public_url: PublicUrl,
    metrics: Arc<Metrics>,
}

/// A registration that may be: its sender is permitted, its digests are well-formed.
pub struct Screened {
    from: Jid,
    id: String,
    application: Digest,
    instance: Digest,
}

impl Registrar {
    /// `public_url` is what endpoints start with, without a trailing slash; `rate` is what one
    /// account may ask for.
    pub fn new(
        acl: Arc<Current<Acl>>,
        tokens: Tokens,
        rate: Rate,
        public_url: PublicUrl,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            acl,
            tokens,
            rate: Limiter::new(rate),
            reports: Limiter::new(REPORTS.parse().expect("the constant is a rate")),
            public_url,
            metrics,
        }
    }

    /// Lets one account ask for so much from now on.
    pub fn set_rate(&self, rate: Rate) {
        self.rate.set_rate(rate);
    }

    /// The checks that cost nothing, before a request may take a place in a queue: a stranger's
    /// never does. Gives the refusal.
    pub fn screen(&self, request: RegisterRequest) -> Result<Screened, RegisterReply> {
        match self.check(&request) {
            Ok((application, instance)) => Ok(Screened {
                from: request.from,
                id: request.id,
                application,
                instance,
            }),
            Err(error) => Err(self.reply(request.from, request.id, Err(error))),
        }
    }

    /// Issues the endpoint, and says for what if it was.
    pub async fn register(&self, screened: Screened) -> (RegisterReply, Option<Registration>) {
        let (result, registration) = match self.issue(&screened).await {
            Ok((registered, registration)) => (Ok(registered), Some(registration)),
            Err(error) => (Err(error), None),
        };
        (self.reply(screened.from, screened.id, result), registration)
    }

    /// Too many wait already.
    pub fn busy(&self, screened: Screened) -> RegisterReply {
        self.reply(screened.from, screened.id, Err(RegisterError::Busy))
    }

    fn check(&self, request: &RegisterRequest) -> Result<(Digest, Digest), RegisterError> {
        if !self.acl.read().permits(&request.from) {
            return Err(RegisterError::Forbidden);
        }
        if !self.rate.admit(&request.from.to_bare()) {
            return Err(RegisterError::RateLimited);
        }
        let bad = |name| move |e: DigestError| RegisterError::BadRequest(format!("{name}: {e}"));
        let instance = Digest::parse(request.instance.as_deref()).map_err(bad("instance"))?;
        let application =
            Digest::parse(request.application.as_deref()).map_err(bad("application"))?;
        Ok((application, instance))
    }

    async fn issue(
        &self,
        screened: &Screened,
    ) -> Result<(Registered, Registration), RegisterError> {
        let Screened {
            from,
            application,
            instance,
            ..
        } = screened;
        let issued = self.tokens.issue(from, *application, *instance).await;
        let issued = issued.map_err(|error| match error {
            IssueError::TooMany => RegisterError::TooMany,
            IssueError::Store(StoreError::Busy) => RegisterError::Busy,
            IssueError::Store(StoreError::Failed(_) | StoreError::Stopped) => {
                RegisterError::StoreFailed
            }
        })?;
        let endpoint = self.public_url.endpoint(&issued.token);
        if endpoint.len() > MAX_ENDPOINT {
            return Err(RegisterError::EndpointTooLong);
        }
        let registered = Registered {
            endpoint,
            expires: issued.registration.expires,
        };
        Ok((registered, issued.registration))
    }

    /// Counts how a registration ended, and reports a refusal.
    fn reply(
        &self,
        from: Jid,
        id: String,
        result: Result<Registered, RegisterError>,
    ) -> RegisterReply {
        self.metrics.registrations.inc(label(&result));
        if let Err(error) = &result
            && self.reports.admit(&())
        {
            report(error, &from);
        }
        RegisterReply {
            to: from,
            id,
            result,
        }
    }

    /// Forgets the accounts that have not registered lately. To be called now and then.
    pub fn forget_idle(&self) {
        self.rate.forget_idle();
    }
}

/// Phones show no refusal to their users, so that this is all that anybody sees of one.
fn report(error: &RegisterError, from: &Jid) {
    // Not in a field, which a plain `journalctl` does not show.
    info!("registration refused: {error}");
    debug!("the refused registration came from {from}");
}

fn label(result: &Result<Registered, RegisterError>) -> RegistrationResult {
    match result {
        Ok(_) => RegistrationResult::Accepted,
        Err(RegisterError::Forbidden) => RegistrationResult::Forbidden,
        Err(RegisterError::BadRequest(_)) => RegistrationResult::BadRequest,
        Err(RegisterError::EndpointTooLong) => RegistrationResult::EndpointTooLong,
        Err(RegisterError::TooMany) => RegistrationResult::TooMany,
        Err(RegisterError::RateLimited) => RegistrationResult::RateLimited,
        Err(RegisterError::Busy) => RegistrationResult::Busy,
        Err(RegisterError::StoreFailed) => RegistrationResult::StoreFailed,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::{
        model::{
            random::SystemRandom,
            secret::Secret,
            time::{ManualClock, Timestamp},
        },
        store::Store,
        token::{Backend, Keyring, Policy},
    };

    const URL: &str = "https://up.example.org";

    impl Registrar {
        async fn answer(&self, request: RegisterRequest) -> RegisterReply {
            match self.screen(request) {
                Ok(screened) => self.register(screened).await.0,
                Err(refusal) => refusal,
            }
        }
    }

    async fn registrar(backend: Backend) -> (TempDir, Registrar) {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::load(
            Keyring::new(&Secret::new([7; 32]), &[]),
            Policy {
                backend,
                ttl: Duration::from_secs(604_800),
                registrations_per_jid: 2,
            },
            Store::open(dir.path()).unwrap(),
            Arc::new(ManualClock::new(Timestamp::from_secs(1_764_000_000))),
            Arc::new(SystemRandom),
        );
        let registrar = Registrar::new(
            Arc::new(Current::new(Acl::new(vec!["example.org".parse().unwrap()]))),
            tokens.await.unwrap(),
            "1/s, burst 4".parse().unwrap(),
            URL.parse().unwrap(),
            Arc::new(Metrics::new()),
        );
        (dir, registrar)
    }

    fn request(from: &str, application: u8) -> RegisterRequest {
        RegisterRequest {
            from: Jid::new(from).unwrap(),
            id: "r1".to_owned(),
            application: Some(Digest::from_bytes([application; 32]).to_base64()),
            instance: Some(Digest::from_bytes([9; 32]).to_base64()),
        }
    }

    #[tokio::test]
    async fn a_phone_gets_an_endpoint_whose_token_opens() {
        for backend in [Backend::Paseto, Backend::Jwt, Backend::Storage] {
            let (_dir, registrar) = registrar(backend).await;
            let reply = registrar.answer(request("romeo@example.org/x", 1)).await;
            assert_eq!(
                (reply.to.as_str(), &*reply.id),
                ("romeo@example.org/x", "r1")
            );
            let registered = reply.result.unwrap();
            assert_eq!(registered.expires.to_string(), "2025-12-01T16:00:00Z");
            let token = registered
                .endpoint
                .strip_prefix("https://up.example.org/push/");
            let opened = registrar.tokens.open(token.unwrap()).await.unwrap();
            assert_eq!(opened.owner, reply.to);
            let accepted = registrar
                .metrics
                .registrations
                .get(RegistrationResult::Accepted);
            assert_eq!(accepted, 1);
        }
    }

    #[tokio::test]
    async fn a_stranger_is_refused_before_anything_else() {
        let (_dir, registrar) = registrar(Backend::Paseto).await;
        let mut stranger = request("mallory@example.net/x", 1);
        stranger.instance = None;
        let reply = registrar.answer(stranger).await;
        assert_eq!(reply.result.unwrap_err(), RegisterError::Forbidden);
        assert!(registrar.rate.keys() == 0);
        let forbidden = registrar
            .metrics
            .registrations
            .get(RegistrationResult::Forbidden);
        assert_eq!(forbidden, 1);
    }

    #[tokio::test]
    async fn digests_are_refused_with_prosodys_texts_instance_first() {
        let (_dir, registrar) = registrar(Backend::Paseto).await;
        let good = Digest::from_bytes([1; 32]).to_base64();
        for (application, instance, text) in [
            (None, None, "instance: no value provided"),
            (Some("!"), Some("!"), "instance: invalid base64"),
            (Some("!"), Some(&*good), "application: invalid base64"),
            (
                Some("AAAA"),
                Some(&*good),
                "application: incorrect decoded length, expected 32",
            ),
        ] {
            let mut request = request("romeo@example.org/x", 1);
            request.application = application.map(str::to_owned);
            request.instance = instance.map(str::to_owned);
            let error = registrar.answer(request).await.result.unwrap_err();
            assert_eq!(error, RegisterError::BadRequest(text.to_owned()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_account_registers_only_so_often_whatever_its_resource() {
        let (_dir, registrar) = registrar(Backend::Paseto).await;
        for resource in ["a", "b", "c", "d"] {
            let from = format!("romeo@example.org/{resource}");
            assert!(registrar.answer(request(&from, 1)).await.result.is_ok());
        }
        let fifth = registrar.answer(request("romeo@example.org/e", 1)).await;
        assert_eq!(fifth.result.unwrap_err(), RegisterError::RateLimited);
        let juliet = registrar.answer(request("juliet@example.org/a", 1)).await;
        assert!(juliet.result.is_ok());
    }

    #[tokio::test]
    async fn an_account_holds_only_so_many() {
        let (_dir, registrar) = registrar(Backend::Storage).await;
        for app in [1, 2] {
            let reply = registrar.answer(request("romeo@example.org/x", app)).await;
            assert!(reply.result.is_ok());
        }
        let third = registrar.answer(request("romeo@example.org/x", 3)).await;
        assert_eq!(third.result.unwrap_err(), RegisterError::TooMany);
    }

    #[tokio::test]
    async fn an_endpoint_that_cannot_fit_is_refused() {
        let (_dir, registrar) = registrar(Backend::Paseto).await;
        let longest = format!("romeo@example.org/{}", "x".repeat(700));
        let reply = registrar.answer(request(&longest, 1)).await;
        assert_eq!(reply.result.unwrap_err(), RegisterError::EndpointTooLong);
        let long = format!("romeo@example.org/{}", "x".repeat(400));
        let reply = registrar.answer(request(&long, 1)).await;
        assert!(reply.result.unwrap().endpoint.len() <= MAX_ENDPOINT);
    }
}
