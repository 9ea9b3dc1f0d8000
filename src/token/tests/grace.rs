//! How long an endpoint is accepted beyond what its phone was told.

use super::*;

pub(super) const DAY: Duration = Duration::from_secs(86400);
pub(super) const GRACE: Duration = Duration::from_secs(28 * 86400);

impl Rig {
    async fn with_grace(backend: Backend) -> Self {
        let rig = Rig::new(backend).await;
        rig.tokens
            .reconfigure(Keyring::new(&secret(), &[]), policy(backend));
        rig
    }

    /// As after a restart.
    async fn restarted(&self, backend: Backend) -> Tokens {
        let keyring = Keyring::new(&secret(), &[]);
        let (store, clock) = (self.tokens.0.store.clone(), self.clock.clone());
        let tokens = Tokens::load(
            keyring,
            policy(backend),
            store,
            clock,
            Arc::new(SystemRandom),
        );
        tokens.await.unwrap()
    }
}

pub(super) fn policy(backend: Backend) -> Policy {
    Policy {
        backend,
        ttl: WEEK,
        grace: GRACE,
        registrations_per_jid: 200,
    }
}

pub(super) async fn issued(tokens: &Tokens) -> Issued {
    let jid = Jid::new("romeo@example.org/orchard").unwrap();
    let (application, instance) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
    tokens
        .issue(&jid, application, instance, None)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_endpoint_outlives_what_its_phone_was_told_by_the_grace() {
    for backend in BACKENDS {
        let rig = Rig::with_grace(backend).await;
        let Issued { token, told, .. } = issued(&rig.tokens).await;
        assert_eq!(told.as_secs(), NOW.saturating_add(WEEK).as_secs());
        let end = told.saturating_add(GRACE);
        for tokens in [rig.tokens.clone(), rig.restarted(backend).await] {
            rig.clock.set(told.saturating_add(20 * DAY));
            // Until then messages wait, too.
            assert_eq!(opened(&tokens, &token).await.expires, end);
            rig.clock.set(end.saturating_sub(Duration::from_millis(1)));
            assert!(tokens.open(&token).await.is_ok(), "{backend}");
            rig.clock.set(end);
            assert_dead(tokens.open(&token).await);
        }
    }
}

#[tokio::test]
async fn a_phone_that_renews_within_the_grace_keeps_its_url_where_it_is_stored() {
    let rig = Rig::with_grace(Backend::Storage).await;
    let first = issued(&rig.tokens).await;
    let late = first.told.saturating_add(20 * DAY);
    rig.clock.set(late);
    rig.tokens.purge().await.unwrap();
    let renewed = issued(&rig.tokens).await;
    assert_eq!(renewed.token, first.token);
    assert_eq!(renewed.told, late.saturating_add(WEEK));
}

#[tokio::test]
async fn what_is_revoked_stays_dead_for_as_long_as_it_could_be_accepted() {
    for backend in BACKENDS {
        let rig = Rig::with_grace(backend).await;
        let Issued {
            token,
            told,
            registration,
            ..
        } = issued(&rig.tokens).await;
        rig.clock.set(told.saturating_add(DAY));
        let (at, until) = (registration.issued, registration.expires);
        rig.tokens.revoke(scope(), at, until).await.unwrap();
        assert_dead(rig.tokens.open(&token).await);
        rig.clock
            .set(until.saturating_sub(Duration::from_millis(1)));
        rig.tokens.purge().await.unwrap();
        assert_dead(rig.tokens.open(&token).await);
        assert_dead(rig.restarted(backend).await.open(&token).await);
    }
}

#[tokio::test]
async fn a_token_of_prosody_has_the_grace_too() {
    let rig = Rig::with_grace(Backend::Paseto).await;
    let digest = Digest::from_bytes([1; 32]).to_base64();
    let expires = NOW.saturating_add(DAY).as_secs();
    let claims = serde_json::json!({
        "sub": "romeo@example.org/orchard",
        "application": digest,
        "instance": digest,
        "exp": expires,
    });
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let key = jsonwebtoken::EncodingKey::from_secret(secret().as_bytes());
    let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    let end = Timestamp::from_secs(expires).saturating_add(GRACE);
    rig.clock.set(end.saturating_sub(Duration::from_millis(1)));
    assert!(rig.tokens.open(&token).await.is_ok());
    rig.clock.set(end);
    assert_dead(rig.tokens.open(&token).await);
}
