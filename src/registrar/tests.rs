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
            grace: Duration::from_secs(86400),
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
    for (app, resource) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        let from = format!("romeo@example.org/{resource}");
        assert!(registrar.answer(request(&from, app)).await.result.is_ok());
    }
    let fifth = registrar.answer(request("romeo@example.org/e", 5)).await;
    assert_eq!(fifth.result.unwrap_err(), RegisterError::RateLimited);
    let juliet = registrar.answer(request("juliet@example.org/a", 1)).await;
    assert!(juliet.result.is_ok());
}

#[tokio::test(start_paused = true)]
async fn renewals_are_not_refused_because_of_what_is_new() {
    for backend in [Backend::Paseto, Backend::Jwt] {
        let (_dir, registrar) = registrar(backend).await;
        let register = async |app| {
            let reply = registrar.answer(request("romeo@example.org/x", app));
            reply.await.result.map(|_| ())
        };
        for app in [1, 2, 3, 4] {
            register(app).await.unwrap();
        }
        for app in [5, 6] {
            assert_eq!(register(app).await, Err(RegisterError::RateLimited));
        }
        for app in [1, 2, 3, 4] {
            register(app).await.unwrap();
        }
        // They have a limit too.
        assert_eq!(register(1).await, Err(RegisterError::RateLimited));
        // It is the account's own.
        let mut other = request("juliet@example.org/x", 1);
        other.instance = None;
        let refused = registrar.answer(other).await.result.unwrap_err();
        assert!(matches!(refused, RegisterError::BadRequest(_)));
    }
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

fn full_jid(length: usize) -> String {
    format!("romeo@example.org/{}", "x".repeat(length - 18))
}

#[tokio::test]
async fn endpoints_are_short_enough_for_senders() {
    let (_dir, registrar) = registrar(Backend::Paseto).await;
    let length = async |jid: usize| {
        let reply = registrar.answer(request(&full_jid(jid), 1)).await;
        reply.result.unwrap().endpoint.len()
    };
    assert!(length(40).await <= 300);
    assert!(length(190).await <= LONG_ENDPOINT);
    assert_eq!(registrar.metrics.long_endpoints.get(), 0);
    // What Matrix takes for a pushkey.
    assert!((LONG_ENDPOINT + 1..=512).contains(&length(200).await));
    assert_eq!(registrar.metrics.long_endpoints.get(), 1);
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
