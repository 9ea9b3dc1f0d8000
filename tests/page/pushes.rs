//! What the page sends, and what it says of the answer.

use std::sync::Arc;

use serde_json::json;
use testbed::{Behaviour, tests, webpush::App};

use crate::{
    Test,
    browser::{Browser, FAR},
    visit::Visit,
};

pub fn all() -> Vec<Test> {
    tests![
        a_test_push_arrives_and_leaves_no_trace,
        a_test_push_is_kept_while_the_phone_is_away,
        an_endpoint_that_is_dead_is_told,
        an_encrypted_push_is_read_by_its_app,
        a_push_that_is_not_to_be_kept_may_be_lost,
        what_is_too_large_is_refused,
        guesses_are_told_to_wait,
        a_server_that_does_not_answer_is_told,
        every_other_status_has_its_words,
        what_is_no_endpoint_or_key_is_not_sent,
        it_works_below_a_path_and_under_another_name,
        without_https_it_says_so,
    ]
}

async fn a_test_push_arrives_and_leaves_no_trace(browser: Arc<Browser>) {
    let mut visit = Visit::start(browser).await;
    let endpoint = visit.bed.register("app").await;
    for (language, hello, said) in [
        ("en", "This is a test push.", "The phone has it."),
        (
            "de",
            "Dies ist ein Test-Push.",
            "Das Telefon hat die Nachricht.",
        ),
        ("fr", "Ceci est un push de test.", "Le téléphone l’a reçu."),
        ("es", "Este es un push de prueba.", "El teléfono lo tiene."),
    ] {
        visit.browser.languages(language).await;
        visit.open().await;
        visit
            .test(&endpoint)
            .await
            .is("good", &format!("201: {said}"));
        let push = String::from_utf8(visit.bed.arrived().await.payload).unwrap();
        assert!(push.starts_with(hello), "{push}");
    }
    let token = endpoint.rsplit('/').next().unwrap();
    let log = visit.daemon.log();
    assert!(log.contains("resource=\"push\""), "a log of each push");
    assert!(!log.contains(token), "the token in {log}");
    let complaints = visit.browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    let address = visit.browser.script("return location.href").await;
    assert_eq!(address, json!(visit.page), "no form was sent to an address");
}

async fn a_test_push_is_kept_while_the_phone_is_away(browser: Arc<Browser>) {
    let mut visit = Visit::start(browser).await;
    let endpoint = visit.bed.register("app").await;
    visit.bed.phone.behave(Behaviour::OFFLINE);
    let said = visit.test(&endpoint).await;
    said.is("wait", "201: The phone did not answer.");
    said.is("wait", "keeps the message for 60 minutes");
    visit.browser.picture("kept").await;
    visit.bed.arrived().await;
    // A second test takes the place of the first.
    visit.test(&endpoint).await.is("wait", "201: ");
    visit.bed.phone.behave(Behaviour::default());
    visit.bed.phone.announce();
    let push = visit.bed.arrived().await.payload;
    assert!(push.starts_with(b"This is a test push."));
    visit
        .daemon
        .becomes("unified_push_queue_messages", "", 0.0)
        .await;
}

async fn an_endpoint_that_is_dead_is_told(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let endpoint = visit.bed.register("app").await;
    visit.bed.phone.forget();
    let gone = "404: This endpoint is unknown, expired or revoked.";
    visit.test(&endpoint).await.is("bad", gone);
    let never = format!("{endpoint}x");
    visit.test(&never).await.is("bad", gone);
}

async fn an_encrypted_push_is_read_by_its_app(browser: Arc<Browser>) {
    let mut visit = Visit::start(browser).await;
    let endpoint = visit.bed.register("app").await;
    let app = App::new();
    visit.unfold().await;
    let [p256dh, auth] = [app.p256dh(), app.auth() + "=="];
    let keys = [("to", &*endpoint), ("p256dh", &p256dh), ("auth", &auth)];
    let said = visit.encrypted(&keys).await;
    said.is("good", "201: The phone has it.");
    let push = visit.bed.arrived().await.payload;
    assert!(app.decrypt(&push).starts_with(b"This is a test push."));

    visit.bed.phone.behave(Behaviour::Silent);
    let said = visit
        .encrypted(&[("message", "Grüße, ♥"), ("ttl", "7200")])
        .await;
    said.is("wait", "keeps the message for 2 hours");
    let push = visit.bed.arrived().await.payload;
    assert_eq!(app.decrypt(&push), "Grüße, ♥".as_bytes());
    let complaints = visit.browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

async fn a_push_that_is_not_to_be_kept_may_be_lost(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let endpoint = visit.bed.register("app").await;
    let app = App::new();
    let [p256dh, auth] = [app.p256dh(), app.auth()];
    visit.unfold().await;
    visit.bed.phone.behave(Behaviour::Silent);
    let fields = [
        ("to", &*endpoint),
        ("p256dh", &p256dh),
        ("auth", &auth),
        ("ttl", "0"),
    ];
    let said = visit.encrypted(&fields).await;
    said.is(
        "wait",
        "201: The message was sent to the phone, which has not confirmed it.",
    );
    visit.bed.phone.behave(Behaviour::OFFLINE);
    let said = visit.encrypted(&[]).await;
    said.is(
        "wait",
        "503: The server cannot take the message at the moment",
    );
    said.is("wait", "Try again in 60 seconds.");
}

async fn what_is_too_large_is_refused(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let endpoint = visit.bed.register("app").await;
    let app = App::new();
    let [p256dh, auth] = [app.p256dh(), app.auth()];
    visit.unfold().await;
    let long = "x".repeat(4096 - 102);
    let fields = [
        ("to", &*endpoint),
        ("p256dh", &p256dh),
        ("auth", &auth),
        ("message", &long),
    ];
    let said = visit.encrypted(&fields).await;
    said.is("bad", "413: The message is too large");
    let longest = &long[1..];
    let said = visit.encrypted(&[("message", longest)]).await;
    said.is("good", "201: ");
}

async fn guesses_are_told_to_wait(browser: Arc<Browser>) {
    let visit = Visit::with(browser, |bed| {
        bed.text("limits.client_guess_rate", "1/h, burst 1");
    })
    .await;
    let endpoint = visit.bed.register("app").await;
    let never = format!("{endpoint}x");
    visit.test(&never).await.is("bad", "404: ");
    let said = visit.test(&never).await;
    said.is("wait", "429: Too many unknown endpoints have been tried");
    said.is("wait", "Try again in 30 seconds.");
}

async fn a_server_that_does_not_answer_is_told(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let endpoint = visit.bed.register("app").await;
    visit.daemon.stop().await;
    visit.test(&endpoint).await.is("bad", "No answer came.");
    let complaints = visit.browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// Which this daemon does not give to a page, but proxies in front of it or its next version may.
async fn every_other_status_has_its_words(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let endpoint = visit.bed.register("app").await;
    for (status, body, said) in [
        (
            400,
            "TTL: no.",
            "400: The server does not understand the request. It says: TTL: no.",
        ),
        (400, "<html>", "It says:"),
        (
            401,
            "",
            "401: This endpoint takes only messages that its application server has signed",
        ),
        (405, "", "405: This is not an endpoint."),
        (410, "", "410: This endpoint is unknown"),
        (418, "", "made a mistake (status 418)"),
        (500, "", "made a mistake (status 500)"),
        (502, "", "502: The web server in front"),
        (504, "", "504: The web server in front"),
    ] {
        let answer = format!("new Response({body:?}, {{ status: {status} }})");
        let stub = format!("window.fetch = async () => {answer};");
        visit.browser.script(&stub).await;
        visit.test(&endpoint).await.is("bad", said);
    }
    let stub =
        "window.fetch = async () => new Response('', { status: 201, headers: { TTL: '60' } });";
    visit.browser.script(stub).await;
    let said = visit.test(&endpoint).await;
    said.is("good", "201: The server has taken the message.");
}

async fn what_is_no_endpoint_or_key_is_not_sent(browser: Arc<Browser>) {
    let visit = Visit::start(browser).await;
    let endpoint = visit.bed.register("app").await;
    visit
        .browser
        .script("window.fetch = () => document.write('sent');")
        .await;
    for (given, said) in [
        ("endpoint", "This is not an endpoint."),
        (&*visit.page, "This is not an endpoint."),
        (
            "https://other.example.org/push/t0ken",
            "begin with http://127.0.0.1:",
        ),
        (
            "javascript:alert(1)",
            "This endpoint belongs to another server",
        ),
    ] {
        visit.test(given).await.is("bad", said);
        let focus = "const it = document.activeElement; return it.id + it.ariaInvalid;";
        assert_eq!(visit.browser.script(focus).await, "endpointtrue");
    }
    let app = App::new();
    let [p256dh, auth] = [app.p256dh(), app.auth()];
    // Of the right length, and no point of the curve.
    let no_point = format!("B{}", "A".repeat(86));
    visit.unfold().await;
    for (point, secret, said) in [
        (&*p256dh, &*p256dh, "This is not the shared secret"),
        (&auth, &auth, "This is not a public key"),
        (&no_point, &auth, "This is not a public key"),
        ("é", &auth, "This is not a public key"),
    ] {
        let fields = [("to", &*endpoint), ("p256dh", point), ("auth", secret)];
        visit.encrypted(&fields).await.is("bad", said);
    }
    // The browser itself asks for what is left out, and nothing is sent.
    visit.browser.fill("#auth", "").await;
    visit.browser.click("#encrypted button").await;
    let missing = "return document.querySelector('#encrypted input:invalid').id";
    assert_eq!(visit.browser.script(missing).await, "auth");
}

async fn it_works_below_a_path_and_under_another_name(browser: Arc<Browser>) {
    let mut visit = Visit::with(browser, |bed| {
        bed.text("http.public_url", "https://up.example.org/base");
    })
    .await;
    let endpoint = visit.bed.register("app").await;
    assert!(endpoint.starts_with("https://up.example.org/base/push/"));
    for path in ["base", "base/"] {
        let page = format!("{}{path}", visit.page);
        visit.browser.open(&page).await;
        let said = visit.test(&endpoint).await;
        said.is("good", "201: The phone has it.");
        visit.bed.arrived().await;
    }
    visit.browser.width(720).await;
    visit.browser.picture("page").await;
}

async fn without_https_it_says_so(browser: Arc<Browser>) {
    let mut visit = Visit::with(browser, |bed| {
        let url = bed.url("").replace("127.0.0.1", FAR);
        bed.text("http.public_url", &url);
    })
    .await;
    visit.page = visit.page.replace("127.0.0.1", FAR);
    visit.open().await;
    let endpoint = visit.bed.register("app").await;
    visit.test(&endpoint).await.is("good", "201: ");
    visit.bed.arrived().await;
    visit.browser.click("#copy").await;
    let copied = visit.browser.text("#copied").await;
    assert!(copied.starts_with("The name is selected"), "{copied}");
    let selected = visit
        .browser
        .script("return getSelection().toString()")
        .await;
    assert_eq!(selected, "up.example.org");
    let app = App::new();
    let [p256dh, auth] = [app.p256dh(), app.auth()];
    visit.unfold().await;
    let keys = [("to", &*endpoint), ("p256dh", &p256dh), ("auth", &auth)];
    let said = visit.encrypted(&keys).await;
    said.is("bad", "encrypts only on pages that it loads by HTTPS");
}
