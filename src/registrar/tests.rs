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
        Arc::default(),
        tokens.await.unwrap(),
        "1/s, burst 4".parse().unwrap(),
        URL.parse().unwrap(),
        Arc::new(Metrics::new()),
    );
    (dir, registrar)
}

/// The generator of P-256.
const KEY: &str =
    "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU";

fn with_key(from: &str, application: u8, key: Option<&str>) -> RegisterRequest {
    RegisterRequest {
        wish: Wish::Register {
            vapid: key.map(str::to_owned),
        },
        ..request(from, application)
    }
}

fn unregister(from: &str, application: u8) -> RegisterRequest {
    RegisterRequest {
        wish: Wish::Unregister,
        ..request(from, application)
    }
}

fn token(registered: &Registered) -> &str {
    registered.endpoint.rsplit('/').next().unwrap()
}

fn request(from: &str, application: u8) -> RegisterRequest {
    RegisterRequest {
        from: Jid::new(from).unwrap(),
        id: "r1".to_owned(),
        application: Some(Digest::from_bytes([application; 32]).to_base64()),
        instance: Some(Digest::from_bytes([9; 32]).to_base64()),
        wish: Wish::Register { vapid: None },
    }
}

fn registered(result: Result<Granted, RegisterError>) -> Registered {
    match result.unwrap() {
        Granted::Registered(registered) => registered,
        Granted::Unregistered => panic!("nothing was to end"),
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
        let registered = registered(reply.result);
        assert_eq!(registered.expires.to_string(), "2025-12-01T16:00:00Z");
        let token = registered
            .endpoint
            .strip_prefix("https://up.example.org/push/");
        let opened = registrar.tokens.open(token.unwrap()).await.unwrap();
        assert_eq!(opened.registration.owner, reply.to);
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
    registrar.set_rate("1/s, burst 99".parse().unwrap());
    let length = async |jid: usize| {
        let reply = registrar.answer(request(&full_jid(jid), 1)).await;
        registered(reply.result).endpoint.len()
    };
    assert!(length(40).await <= 300);
    assert!(length(190).await <= LONG_ENDPOINT);
    assert_eq!(registrar.metrics.long_endpoints.get(), 0);
    let key = with_key(&full_jid(40), 1, Some(KEY));
    let with_key = registered(registrar.answer(key).await.result)
        .endpoint
        .len();
    assert_eq!(with_key - length(40).await, 24);
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
    assert!(registered(reply.result).endpoint.len() <= MAX_ENDPOINT);
}

#[tokio::test]
async fn an_endpoint_is_for_the_key_that_was_registered() {
    let key = PublicKey::parse(KEY).unwrap();
    for backend in [Backend::Paseto, Backend::Jwt, Backend::Storage] {
        let (_dir, registrar) = registrar(backend).await;
        let romeo = "romeo@example.org/x";
        let padded = format!("{KEY}=");
        let ask = async |key| registrar.answer(with_key(romeo, 1, key)).await.result;
        let signer = async |registered: &Registered| {
            let opened = registrar.tokens.open(token(registered)).await;
            opened.unwrap().signer
        };
        let first = registered(ask(Some(&*padded)).await);
        assert_eq!(first.vapid.as_ref(), Some(&key));
        assert_eq!(signer(&first).await, Some(key.hash()), "{backend}");
        let second = registered(ask(None).await);
        assert_eq!(second.vapid, None);
        assert_eq!(signer(&second).await, None, "{backend}");
        // With `storage` the newest registration decides; the others each keep what they carry.
        let of_the_first = match backend {
            Backend::Storage => None,
            Backend::Paseto | Backend::Jwt => Some(key.hash()),
        };
        assert_eq!(signer(&first).await, of_the_first, "{backend}");
    }
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_and_counted() {
    let (_dir, registrar) = registrar(Backend::Paseto).await;
    let mut off_curve = KEY.to_owned();
    off_curve.replace_range(60..61, "x");
    let cases = [
        ("not base64!", "vapid: invalid base64url"),
        (
            "",
            "vapid: not an uncompressed P-256 public key, which has 65 bytes and begins with 4",
        ),
        (&off_curve, "vapid: not a point of the curve P-256"),
    ];
    for (key, text) in cases {
        let refused = registrar.answer(with_key("romeo@example.org/x", 1, Some(key)));
        let error = refused.await.result.unwrap_err();
        assert_eq!(error, RegisterError::BadRequest(text.to_owned()));
    }
    let counted = registrar
        .metrics
        .registrations
        .get(RegistrationResult::BadRequest);
    assert_eq!(counted, 3);
}

#[tokio::test]
async fn keys_may_be_ignored_or_required() {
    let (_dir, registrar) = registrar(Backend::Paseto).await;
    let ask = async |key| {
        let reply = registrar.answer(with_key("romeo@example.org/x", 1, key));
        reply.await.result
    };
    registrar.vapid.set(Vapid::Off);
    assert_eq!(registered(ask(Some("!")).await).vapid, None);
    registrar.vapid.set(Vapid::Required);
    let refused = ask(None).await.unwrap_err().to_string();
    assert!(refused.starts_with("vapid: no value provided"), "{refused}");
    assert!(registered(ask(Some(KEY)).await).vapid.is_some());
}

#[tokio::test]
async fn a_goodbye_ends_all_endpoints_of_the_registration_and_no_other() {
    use crate::token::OpenError;
    for backend in [Backend::Paseto, Backend::Jwt, Backend::Storage] {
        let (_dir, registrar) = registrar(backend).await;
        registrar.set_rate("1/s, burst 99".parse().unwrap());
        let register =
            async |from, app| registered(registrar.answer(request(from, app)).await.result);
        let ended = async |registered: &Registered| {
            let opened = registrar.tokens.open(token(registered)).await;
            matches!(opened, Err(OpenError::Dead))
        };
        let first = register("romeo@example.org/x", 1).await;
        let again = register("romeo@example.org/y", 1).await;
        let other = register("romeo@example.org/x", 2).await;
        let juliet = register("juliet@example.org/x", 1).await;
        // Neither another account nor another app ends it; twice is as good as once.
        for goodbye in [
            unregister("juliet@example.org/x", 2),
            unregister("romeo@example.org/x", 3),
        ] {
            registrar.answer(goodbye).await.result.unwrap();
        }
        assert!(!ended(&first).await && !ended(&again).await, "{backend}");
        for _ in 0..2 {
            let reply = registrar.answer(unregister("romeo@example.org/x", 1)).await;
            assert!(
                matches!(reply.result, Ok(Granted::Unregistered)),
                "{backend}"
            );
            assert!(ended(&first).await && ended(&again).await, "{backend}");
        }
        assert!(!ended(&other).await && !ended(&juliet).await, "{backend}");
        let counted = registrar
            .metrics
            .unregistrations
            .get(RegistrationResult::Accepted);
        assert_eq!((counted, registrar.metrics.revocations.get()), (4, 4));

        // In the same millisecond.
        let fresh = register("romeo@example.org/x", 1).await;
        assert!(!ended(&fresh).await, "{backend}");
        assert_ne!(fresh.endpoint, first.endpoint);
        let reply = registrar.answer(unregister("romeo@example.org/x", 1)).await;
        assert!(reply.result.is_ok() && ended(&fresh).await, "{backend}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_is_for_those_who_may_register_and_not_too_often() {
    let (_dir, registrar) = registrar(Backend::Paseto).await;
    let refused = async |request| registrar.answer(request).await.result.unwrap_err();
    let stranger = refused(unregister("mallory@example.net/x", 1)).await;
    assert_eq!(stranger, RegisterError::Forbidden);
    let mut bad = unregister("romeo@example.org/x", 1);
    bad.instance = None;
    let error = RegisterError::BadRequest("instance: no value provided".to_owned());
    assert_eq!(refused(bad).await, error);
    for app in [1, 2, 3] {
        let goodbye = registrar.answer(unregister("romeo@example.org/x", app));
        assert!(goodbye.await.result.is_ok());
    }
    let fifth = refused(unregister("romeo@example.org/x", 4)).await;
    assert_eq!(fifth, RegisterError::RateLimited);
    let counted = |result| registrar.metrics.unregistrations.get(result);
    assert_eq!(counted(RegistrationResult::Forbidden), 1);
    assert_eq!(counted(RegistrationResult::RateLimited), 1);
    assert_eq!(
        registrar
            .metrics
            .registrations
            .get(RegistrationResult::Forbidden),
        0
    );
}
