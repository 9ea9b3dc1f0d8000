//! Use case: a phone registers and gets an endpoint.
//!
//! The order of the checks is mod_unified_push's, and so are the texts. It knows nothing of stanzas
//! or HTTP.

mod refusals;
mod renewals;
#[cfg(test)]
mod tests;
pub mod worker;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use jid::Jid;
use tracing::warn;

use self::{refusals::Refusals, renewals::Renewals};
use crate::{
    link::{Granted, RegisterError, RegisterReply, RegisterRequest, Registered, Wish},
    metrics::{Counters, Metrics, QueueEvent, RegistrationResult},
    model::{
        acl::Acl,
        endpoint::{LONG_ENDPOINT, PublicUrl},
        rate::{Limiter, Rate},
        registration::{Digest, DigestError, Registration, RegistrationKey},
        sync::Current,
        vapid::{PublicKey, PublicKeyError, Vapid},
    },
    store::StoreError,
    token::{IssueError, Tokens},
};

/// What phones and senders can be relied on to take (UnifiedPush: an endpoint is at most 1000
/// bytes).
const MAX_ENDPOINT: usize = 1000;

pub struct Registrar {
    acl: Arc<Current<Acl>>,
    vapid: Arc<Current<Vapid>>,
    tokens: Tokens,
    /// Keyed by account: only those that the ACL lets in, so strangers fill no table.
    rate: Limiter,
    renewals: Renewals,
    refusals: Refusals,
    public_url: PublicUrl,
    /// Whether a long endpoint was warned of: once is enough, the metric counts them all.
    warned: AtomicBool,
    metrics: Arc<Metrics>,
}

/// A registration that may be, or the end of one: its sender is permitted, what it names is
/// well-formed.
pub struct Screened {
    from: Jid,
    id: String,
    application: Digest,
    instance: Digest,
    wanted: Wanted,
}

impl Screened {
    /// Whether it ends a registration.
    pub fn is_goodbye(&self) -> bool {
        matches!(self.wanted, Wanted::Nothing)
    }
}

/// What a phone wants, well-formed.
enum Wanted {
    /// An endpoint, perhaps for the messages of one key only.
    Endpoint(Option<PublicKey>),
    /// To have none any more.
    Nothing,
}

/// What a request names.
struct Named {
    application: Digest,
    instance: Digest,
    wanted: Wanted,
}

impl Registrar {
    /// `public_url` is what endpoints start with, without a trailing slash; `rate` is what one
    /// account may ask for, and once more for renewals alone.
    pub fn new(
        acl: Arc<Current<Acl>>,
        vapid: Arc<Current<Vapid>>,
        tokens: Tokens,
        rate: Rate,
        public_url: PublicUrl,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            acl,
            vapid,
            tokens,
            rate: Limiter::new(rate),
            renewals: Renewals::new(rate),
            refusals: Refusals::default(),
            public_url,
            warned: AtomicBool::new(false),
            metrics,
        }
    }

    /// Lets one account ask for so much from now on.
    pub fn set_rate(&self, rate: Rate) {
        self.rate.set_rate(rate);
        self.renewals.set_rate(rate);
    }

    /// The checks that cost nothing, before a request may take a place in a queue: a stranger's
    /// never does. Gives the refusal.
    pub fn screen(&self, request: RegisterRequest) -> Result<Screened, RegisterReply> {
        match self.check(&request) {
            Ok(Named {
                application,
                instance,
                wanted,
            }) => Ok(Screened {
                from: request.from,
                id: request.id,
                application,
                instance,
                wanted,
            }),
            Err(error) => {
                let counters = match request.wish {
                    Wish::Register { .. } => &self.metrics.registrations,
                    Wish::Unregister => &self.metrics.unregistrations,
                };
                Err(self.reply(request.from, request.id, counters, Err(error)))
            }
        }
    }

    /// Issues the endpoint, and says for what if it was; or ends the registration.
    pub async fn register(&self, screened: Screened) -> (RegisterReply, Option<Registration>) {
        let (result, registration) = match &screened.wanted {
            Wanted::Nothing => (self.unregister(&screened).await, None),
            Wanted::Endpoint(key) => match self.issue(&screened, key.as_ref()).await {
                Ok((registered, registration)) => {
                    (Ok(Granted::Registered(registered)), Some(registration))
                }
                Err(error) => (Err(error), None),
            },
        };
        (self.end(screened, result), registration)
    }

    /// Too many wait already.
    pub fn busy(&self, screened: Screened) -> RegisterReply {
        self.end(screened, Err(RegisterError::Busy))
    }

    fn end(&self, screened: Screened, result: Result<Granted, RegisterError>) -> RegisterReply {
        let counters = match screened.wanted {
            Wanted::Endpoint(_) => &self.metrics.registrations,
            Wanted::Nothing => &self.metrics.unregistrations,
        };
        self.reply(screened.from, screened.id, counters, result)
    }

    fn check(&self, request: &RegisterRequest) -> Result<Named, RegisterError> {
        if !self.acl.read().permits(&request.from) {
            return Err(RegisterError::Forbidden);
        }
        let account = request.from.to_bare();
        let admitted = self.rate.admit(&account);
        let named = self.named(request);
        if admitted {
            return named;
        }
        let named = named.map_err(|_| RegisterError::RateLimited)?;
        let registration = RegistrationKey {
            owner: account,
            application: named.application,
            instance: named.instance,
        };
        if !self.renewals.admit(&registration) {
            return Err(RegisterError::RateLimited);
        }
        Ok(named)
    }

    fn named(&self, request: &RegisterRequest) -> Result<Named, RegisterError> {
        let bad = |name| move |e: DigestError| RegisterError::BadRequest(format!("{name}: {e}"));
        let instance = Digest::parse(request.instance.as_deref()).map_err(bad("instance"))?;
        let application =
            Digest::parse(request.application.as_deref()).map_err(bad("application"))?;
        let wanted = match &request.wish {
            Wish::Unregister => Wanted::Nothing,
            Wish::Register { vapid } => Wanted::Endpoint(self.key(vapid.as_deref())?),
        };
        Ok(Named {
            application,
            instance,
            wanted,
        })
    }

    fn key(&self, text: Option<&str>) -> Result<Option<PublicKey>, RegisterError> {
        match (*self.vapid.read(), text) {
            (Vapid::Off, _) | (Vapid::Registered, None) => Ok(None),
            (Vapid::Required, None) => Err(RegisterError::BadRequest(
                "vapid: no value provided, and this server requires the application server's \
                 public key"
                    .to_owned(),
            )),
            (_, Some(text)) => PublicKey::parse(text).map(Some).map_err(bad_key),
        }
    }

    /// Revokes what the account has registered, and says so also when that was nothing.
    async fn unregister(&self, screened: &Screened) -> Result<Granted, RegisterError> {
        let registration = RegistrationKey {
            owner: screened.from.to_bare(),
            application: screened.application,
            instance: screened.instance,
        };
        let dropped = self.tokens.unregister(registration).await.map_err(failed)?;
        self.metrics.revocations.inc();
        self.metrics.queue_events.add(QueueEvent::Revoked, dropped);
        Ok(Granted::Unregistered)
    }

    async fn issue(
        &self,
        screened: &Screened,
        key: Option<&PublicKey>,
    ) -> Result<(Registered, Registration), RegisterError> {
        let Screened {
            from,
            application,
            instance,
            ..
        } = screened;
        key.map_or(Ok(()), PublicKey::check).map_err(bad_key)?;
        let signer = key.map(PublicKey::hash);
        let issued = self.tokens.issue(from, *application, *instance, signer);
        let issued = issued.await.map_err(|error| match error {
            IssueError::TooMany => RegisterError::TooMany,
            IssueError::ClockWrong => RegisterError::ClockWrong,
            IssueError::Store(error) => failed(error),
        })?;
        let endpoint = self.public_url.endpoint(&issued.token);
        if endpoint.len() > MAX_ENDPOINT {
            return Err(RegisterError::EndpointTooLong);
        }
        if endpoint.len() > LONG_ENDPOINT {
            self.count_long(endpoint.len());
        }
        if let Some(dropped) = issued.displaced {
            self.metrics.displaced_registrations.inc();
            self.metrics.queue_events.add(QueueEvent::Revoked, dropped);
        }
        self.renewals.remember(&issued.registration.key());
        let registered = Registered {
            endpoint,
            expires: issued.told,
            vapid: key.cloned(),
        };
        Ok((registered, issued.registration))
    }

    fn count_long(&self, length: usize) {
        self.metrics.long_endpoints.inc();
        if !self.warned.swap(true, Ordering::Relaxed) {
            warn!(
                "an endpoint has {length} bytes, and some application servers take {LONG_ENDPOINT} \
                 at most: a shorter `http.public_url`, or `backend = \"storage\"`, makes shorter \
                 ones. The metric unified_push_long_endpoints_total counts them; there is no \
                 further warning"
            );
        }
    }

    /// Counts how a request ended, and reports a refusal.
    fn reply(
        &self,
        from: Jid,
        id: String,
        counters: &Counters<RegistrationResult>,
        result: Result<Granted, RegisterError>,
    ) -> RegisterReply {
        let label = label(&result);
        counters.inc(label);
        if let Err(error) = &result {
            self.refusals.report(&from, label, error);
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
        self.renewals.forget_idle();
    }
}

fn bad_key(error: PublicKeyError) -> RegisterError {
    RegisterError::BadRequest(format!("vapid: {error}"))
}

fn failed(error: StoreError) -> RegisterError {
    match error {
        StoreError::Busy => RegisterError::Busy,
        StoreError::Failed(_) | StoreError::Stopped => RegisterError::StoreFailed,
    }
}

fn label(result: &Result<Granted, RegisterError>) -> RegistrationResult {
    match result {
        Ok(_) => RegistrationResult::Accepted,
        Err(RegisterError::Forbidden) => RegistrationResult::Forbidden,
        Err(RegisterError::BadRequest(_)) => RegistrationResult::BadRequest,
        Err(RegisterError::EndpointTooLong) => RegistrationResult::EndpointTooLong,
        Err(RegisterError::TooMany) => RegistrationResult::TooMany,
        Err(RegisterError::RateLimited) => RegistrationResult::RateLimited,
        Err(RegisterError::Busy) => RegistrationResult::Busy,
        Err(RegisterError::StoreFailed) => RegistrationResult::StoreFailed,
        Err(RegisterError::ClockWrong) => RegistrationResult::ClockWrong,
    }
}
