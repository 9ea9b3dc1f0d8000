//! The application servers of the world: what their requests look like, and what they make of our
//! statuses. A sender that drops a subscription never comes back by itself.

use super::*;
use crate::metrics::PushResult;

/// What a sender does with a subscription after a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// The message counts as delivered.
    Delivered,
    /// The same message is sent again later.
    Retries,
    /// The message is lost, the subscription stays.
    Loses,
    /// The subscription is forgotten.
    Drops,
}
use Reading::{Delivered, Drops, Loses, Retries};

struct Sender {
    name: &'static str,
    /// Its headers, beside Host and Content-Length.
    headers: &'static str,
    body: &'static str,
    /// What the phone gets before the body.
    head: &'static str,
    /// Its reading of 201, 400, 401, 404, 413, 429, 500 and 503, in the order of [`STATUSES`].
    reads: [Reading; STATUSES.len()],
}

/// Every status that a POST to an endpoint can get.
const STATUSES: [u16; 8] = [201, 400, 401, 404, 413, 429, 500, 503];

const SENDERS: [Sender; 13] = [
    Sender {
        name: "Mastodon up to 4.3 (aesgcm)",
        headers: "Content-Type: application/octet-stream\r\n\
            Ttl: 172800\r\n\
            Urgency: normal\r\n\
            Content-Encoding: aesgcm\r\n\
            Encryption: salt=WhpBSpxSDsLWVqNPAjHYSQ\r\n\
            Crypto-Key: dh=BPHCLK0GSQ5fyV9FSBTfjmZQ;p256ecdsa=BCVxsr7N_eNgVRqvHtD0zTZs\r\n\
            Authorization: WebPush eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJ4In0.c2ln\r\n\
            User-Agent: http.rb/5.2.0 (Mastodon/4.3.8; +https://mastodon.example/)\r\n",
        body: "ciphertext",
        head: "aesgcm\nEncryption: salt=WhpBSpxSDsLWVqNPAjHYSQ\n\
            Crypto-Key: dh=BPHCLK0GSQ5fyV9FSBTfjmZQ;p256ecdsa=BCVxsr7N_eNgVRqvHtD0zTZs\n",
        // 4xx drop, but for 408, 413 and 429; anything else is retried five times.
        reads: [
            Delivered, Drops, Drops, Drops, Retries, Retries, Retries, Retries,
        ],
    },
    Sender {
        name: "Mastodon (aes128gcm)",
        headers: "Content-Type: application/octet-stream\r\n\
            Ttl: 172800\r\n\
            Urgency: normal\r\n\
            Content-Encoding: aes128gcm\r\n\
            Authorization: vapid t=eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJ4In0.c2ln,k=BCVxsr7N\r\n\
            User-Agent: http.rb/5.3.1 (Mastodon/4.4.1; +https://mastodon.example/)\r\n",
        body: "ciphertext",
        head: "",
        reads: [
            Delivered, Drops, Drops, Drops, Retries, Retries, Retries, Retries,
        ],
    },
    Sender {
        name: "Pleroma",
        headers: "content-encoding: aesgcm\r\n\
            encryption: salt=WhpBSpxSDsLWVqNPAjHYSQ\r\n\
            crypto-key: dh=BPHCLK0GSQ5fyV9FSBTfjmZQ;p256ecdsa=BCVxsr7N_eNgVRqvHtD0zTZs\r\n\
            authorization: WebPush eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJ4In0.c2ln\r\n\
            ttl: 0\r\n",
        body: "ciphertext",
        head: "aesgcm\nEncryption: salt=WhpBSpxSDsLWVqNPAjHYSQ\n\
            Crypto-Key: dh=BPHCLK0GSQ5fyV9FSBTfjmZQ;p256ecdsa=BCVxsr7N_eNgVRqvHtD0zTZs\n",
        // Every 4xx drops, even 429.
        reads: [Delivered, Drops, Drops, Drops, Drops, Drops, Loses, Loses],
    },
    Sender {
        name: "GoToSocial",
        headers: "Content-Type: application/octet-stream\r\n\
            Content-Encoding: aes128gcm\r\n\
            TTL: 172800\r\n\
            Urgency: normal\r\n\
            Authorization: vapid t=eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJ4In0.c2ln, k=BCVxsr7N\r\n",
        body: "ciphertext",
        head: "",
        // As Mastodon; five tries, then it avoids the whole host for an hour.
        reads: [
            Delivered, Drops, Drops, Drops, Retries, Retries, Retries, Retries,
        ],
    },
    Sender {
        name: "Nextcloud",
        headers: "Content-Encoding: aes128gcm\r\n\
            TTL: 86400\r\n\
            Authorization: vapid t=eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJ4In0.c2ln, k=BCVxsr7N\r\n",
        body: "ciphertext",
        head: "",
        // Nothing is sent again.
        reads: [Delivered, Loses, Loses, Drops, Loses, Loses, Loses, Loses],
    },
    Sender {
        name: "FOSS alert server",
        headers: "Content-Encoding: aes128gcm\r\n\
            TTL: 0\r\n",
        body: "ciphertext",
        head: "",
        reads: [Delivered, Loses, Loses, Drops, Loses, Loses, Loses, Loses],
    },
    Sender {
        name: "sygnal's webpush",
        headers: "Content-Encoding: aes128gcm\r\n\
            TTL: 900\r\n\
            Authorization: vapid t=eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJ4In0.c2ln,k=BCVxsr7N\r\n\
            User-Agent: sygnal\r\n",
        body: "ciphertext",
        head: "",
        reads: [Delivered, Loses, Loses, Drops, Loses, Loses, Loses, Loses],
    },
    Sender {
        name: "sygnal's webpush, only the last of a room",
        headers: "Content-Encoding: aes128gcm\r\n\
            TTL: 900\r\n\
            Topic: WhpBSpxSDsLWVqNPAjHYSQabcdefgh==\r\n\
            Urgency: \r\n\
            User-Agent: sygnal\r\n",
        body: "ciphertext",
        head: "",
        reads: [Delivered, Loses, Loses, Drops, Loses, Loses, Loses, Loses],
    },
    Sender {
        name: "a sender through the aesgcm gateway of common-proxies",
        headers: "User-Agent: UnifiedPush-Common-Proxies/v3.0.0\r\n\
            Content-Encoding: aesgcm\r\n\
            Content-Encoding: aes128gcm\r\n\
            TTL: 900\r\n\
            TTL: 86400\r\n\
            Urgency: normal\r\n\
            Accept-Encoding: gzip\r\n",
        body: "ciphertext",
        head: "",
        reads: [
            Delivered, Drops, Drops, Drops, Loses, Retries, Retries, Retries,
        ],
    },
    Sender {
        name: "Synapse through common-proxies",
        headers: "User-Agent: UnifiedPush-Common-Proxies/v2.2.1\r\n\
            Content-Encoding: aes128gcm\r\n\
            TTL: 86400\r\n\
            Urgency: normal\r\n\
            Accept-Encoding: gzip\r\n",
        body: r#"{"notification":{"event_id":"$x","room_id":"!y:example.org"}}"#,
        head: "",
        // 200, 201, 413, 429 and 5xx are expected; any other becomes a rejected pushkey.
        reads: [
            Delivered, Drops, Drops, Drops, Loses, Retries, Retries, Retries,
        ],
    },
    Sender {
        name: "Molly through mollysocket",
        headers: "ttl: 2592000\r\n\
            urgency: high\r\n\
            topic: molly\r\n\
            content-encoding: aes128gcm\r\n\
            authorization: vapid t=eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJ4In0.c2ln,k=BCVxsr7N\r\n\
            accept: */*\r\n",
        body: r#"{"urgent":true}"#,
        head: "",
        // The first 403, 404 or 410 ends it: its user has to link Signal again.
        reads: [Delivered, Loses, Loses, Drops, Loses, Loses, Loses, Loses],
    },
    Sender {
        name: "a web page",
        headers: "Origin: https://app.example\r\n\
            Content-Type: application/octet-stream\r\n\
            Content-Encoding: aes128gcm\r\n\
            TTL: 60\r\n\
            Prefer: respond-async\r\n\
            X-Never-Heard-Of: it\r\n",
        body: "ciphertext",
        head: "",
        reads: [Delivered, Loses, Loses, Loses, Loses, Loses, Loses, Loses],
    },
    Sender {
        name: "curl -d",
        headers: "User-Agent: curl/7.88.1\r\n\
            Accept: */*\r\n\
            Content-Type: application/x-www-form-urlencoded\r\n",
        body: "hello",
        head: "",
        reads: [Delivered, Loses, Loses, Loses, Loses, Loses, Loses, Loses],
    },
];

impl Sender {
    fn reads(&self, status: u16) -> Reading {
        let index = STATUSES.iter().position(|known| *known == status);
        self.reads[index.unwrap_or_else(|| panic!("{status} is not in the table"))]
    }
}

/// Whether the condition lasts: then a sender had better give up. The rest passes, and must cost
/// nobody a subscription.
fn lasts(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Acknowledged { .. } | Outcome::Stored { .. } => false,
        Outcome::SentUnanswered { .. } => false,
        Outcome::Unanswered | Outcome::PhoneError | Outcome::LinkDown => false,
        Outcome::RateLimited | Outcome::MemoryFull => false,
        Outcome::LinkBusy | Outcome::StoreFailed | Outcome::ClockWrong => false,
        Outcome::AccountFull | Outcome::QueueFull => false,
        Outcome::Revoked | Outcome::BadToken | Outcome::Gone => true,
        // The sender has another key than the app has registered.
        Outcome::Unauthorized(_) => true,
    }
}

#[tokio::test]
async fn the_requests_of_all_senders_are_taken() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    for sender in &SENDERS {
        let request = format!(
            "POST /base/push/t HTTP/1.1\r\nHost: up.example.org\r\n{CLOSE}{}\
             Content-Length: {}\r\n\r\n{}",
            sender.headers,
            sender.body.len(),
            sender.body,
        );
        let answer = server.exchange(request.as_bytes()).await;
        assert_eq!(statuses(&answer), ["201"], "{}: {answer}", sender.name);
        let taken = fixture.fake.taken();
        assert_eq!(taken.len(), 1, "{}", sender.name);
        let body = [sender.head, sender.body].concat();
        assert_eq!(taken[0].body, body.as_bytes(), "{}", sender.name);
    }
}

#[tokio::test]
async fn nothing_that_passes_costs_a_subscription() {
    for outcome in every_outcome() {
        let status = Fixture::new().post(&variant(&outcome)).await.status;
        for sender in &SENDERS {
            let reading = sender.reads(status);
            if lasts(&outcome) {
                assert_ne!(reading, Delivered, "{}: {outcome:?}", sender.name);
            } else {
                assert_ne!(reading, Drops, "{}: {outcome:?}", sender.name);
            }
        }
    }
    // A defect of ours passes with the next release.
    let panic = Fixture::new().post("panic").await.status;
    for sender in &SENDERS {
        assert_ne!(sender.reads(panic), Drops, "{}", sender.name);
    }
}

#[tokio::test]
async fn a_dead_endpoint_makes_those_who_can_forget_it() {
    let gone = Fixture::new().post("Gone").await.status;
    let forget = SENDERS.iter().filter(|sender| sender.reads(gone) == Drops);
    let forget: Vec<_> = forget.map(|sender| sender.name).collect();
    let expected = [
        "Mastodon up to 4.3 (aesgcm)",
        "Mastodon (aes128gcm)",
        "Pleroma",
        "GoToSocial",
        "Nextcloud",
        "FOSS alert server",
        "sygnal's webpush",
        "sygnal's webpush, only the last of a room",
        "a sender through the aesgcm gateway of common-proxies",
        "Synapse through common-proxies",
        "Molly through mollysocket",
    ];
    assert_eq!(forget, expected);
}

/// 400, 413 and 429 make some senders drop a subscription. They stand for what the request
/// itself does wrong, never for a state of ours: each comes before the delivery is asked, or for a
/// token that authenticates no endpoint.
#[tokio::test]
async fn statuses_that_make_senders_drop_are_for_bad_requests_only() {
    let fixture = Fixture::new();
    let server = Server::start(&fixture, settings(&fixture)).await;
    let requests = [
        (post("LinkDown", 0, CLOSE), "400"),
        (post("LinkDown", 4097, CLOSE), "413"),
    ];
    for (request, status) in requests {
        assert_eq!(statuses(&server.exchange(&request).await), [status]);
    }
    assert_eq!(fixture.fake.taken(), [], "the delivery was asked");

    let guesses = Fixture::new();
    for outcome in every_outcome() {
        for _ in 0..10 {
            let status = guesses.post(&variant(&outcome)).await.status;
            let guessed = outcome == Outcome::BadToken;
            assert!(guessed || status != 429, "{outcome:?}");
        }
    }
    assert_eq!(guesses.metrics.pushes.get(PushResult::Guessing), 7);
}
