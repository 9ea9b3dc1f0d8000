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
    link::{RegisterError, RegisterReply, RegisterRequest, Registered},
    metrics::{Metrics, QueueEvent, RegistrationResult},
    model::{
        acl::Acl,
        endpoint::{LONG_ENDPOINT, PublicUrl},
        rate::{Limiter, Rate},
        registration::{Digest, DigestError, Registration, RegistrationKey},
        sync::Current,
    },
    store::StoreError,
    token::{IssueError, Tokens},
};

/// What phones and senders can be relied on to take (UnifiedPush: an endpoint is at most 1000
/// bytes).
const MAX_ENDPOINT: usize = 1000;

pub struct Registrar {
    acl: Arc<Current<Acl>>,
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

/// A registration that may be: its sender is permitted, its digests are well-formed.
pub struct Screened {
    from: Jid,
    id: String,
    application: Digest,
    instance: Digest,
}

impl Registrar {
    /// `public_url` is what endpoints start with, without a trailing slash; `rate` is what one
    /// account may ask for, and once more for renewals alone.
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
        let account = request.from.to_bare();
        let admitted = self.rate.admit(&account);
        let digests = digests(request);
        if admitted {
            return digests;
        }
        let (application, instance) = digests.map_err(|_| RegisterError::RateLimited)?;
        let registration = RegistrationKey {
            owner: account,
            application,
            instance,
        };
        if !self.renewals.admit(&registration) {
            return Err(RegisterError::RateLimited);
        }
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
            IssueError::ClockWrong => RegisterError::ClockWrong,
            IssueError::Store(StoreError::Busy) => RegisterError::Busy,
            IssueError::Store(StoreError::Failed(_) | StoreError::Stopped) => {
                RegisterError::StoreFailed
            }
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

    /// Counts how a registration ended, and reports a refusal.
    fn reply(
        &self,
        from: Jid,
        id: String,
        result: Result<Registered, RegisterError>,
    ) -> RegisterReply {
        let label = label(&result);
        self.metrics.registrations.inc(label);
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

fn digests(request: &RegisterRequest) -> Result<(Digest, Digest), RegisterError> {
    let bad = |name| move |e: DigestError| RegisterError::BadRequest(format!("{name}: {e}"));
    let instance = Digest::parse(request.instance.as_deref()).map_err(bad("instance"))?;
    let application = Digest::parse(request.application.as_deref()).map_err(bad("application"))?;
    Ok((application, instance))
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
        Err(RegisterError::ClockWrong) => RegistrationResult::ClockWrong,
    }
}
