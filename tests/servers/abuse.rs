//! Stanzas that a stranger can send through the server: none of them may end the link, acknowledge
//! a push, or keep the others' pushes waiting.

use std::rc::Rc;

use testbed::{
    Behaviour, Component, Phone, Refusal, app::NS, http::push, server::CLIENT_STANZA_LIMIT, tests,
};
use unified_push::xmpp::reader::{MAX_DEPTH, MAX_STANZA};

use crate::{
    Test,
    bed::Bed,
    line::{Line, is_over, location, waits},
};

pub fn on_both() -> Vec<Test> {
    tests![
        what_is_over_our_limits_is_refused,
        no_stanza_of_a_client_harms_the_others,
        a_stanza_over_the_server_s_limit_harms_its_sender_only,
        no_stanza_of_another_component_harms_the_others,
        an_answer_from_another_jid_acknowledges_nothing,
    ]
}

/// So many elements in each other.
fn nested(levels: usize) -> String {
    "<a>".repeat(levels) + &"</a>".repeat(levels)
}

/// Of the attributes over our limit.
const LONG: usize = 9000;

/// Whitespace to follow a stanza. An Expat of 2024 or later puts off a start tag that came in several
/// pieces until twice as much has arrived, and Prosody would sit on the longest of ours.
fn parsed_at_once(stanza: &str) -> String {
    stanza.to_owned() + &" ".repeat(2 * LONG)
}

/// A name for each, and the stanza without its `to` and `from`, which stand at `@`.
fn stanzas() -> Vec<(&'static str, String)> {
    // The stanza has an element around the place already.
    let deep = |stanza: &str| stanza.replacen('|', &nested(MAX_DEPTH as usize - 1), 1);
    let long = "x".repeat(LONG);
    vec![
        (
            "a deep request",
            deep("<iq @ type='set' id='1'><a xmlns='urn:x'>|</a></iq>"),
        ),
        (
            "a deep push answer",
            deep("<iq @ type='result' id='1'><a xmlns='urn:x'>|</a></iq>"),
        ),
        (
            "a deep error",
            deep("<iq @ type='error' id='1'><error type='cancel'>|</error></iq>"),
        ),
        (
            "a deep message",
            deep("<message @><a xmlns='urn:x'>|</a></message>"),
        ),
        (
            "a deep presence",
            deep("<presence @><a xmlns='urn:x'>|</a></presence>"),
        ),
        (
            "a large message",
            format!(
                "<message @><body>{}</body></message>",
                "x".repeat(MAX_STANZA)
            ),
        ),
        (
            "a long attribute",
            format!("<iq @ type='get' id='1'><a xmlns='urn:x' b='{long}'/></iq>"),
        ),
        (
            "a long id",
            format!("<iq @ type='get' id='{long}'><ping xmlns='urn:xmpp:ping'/></iq>"),
        ),
        (
            "a long digest",
            format!("<iq @ type='set' id='1'><register xmlns='{NS}' application='{long}'/></iq>"),
        ),
        ("a bogus presence", "<presence @ type='foo'/>".to_owned()),
        (
            "a bogus message",
            "<message @ type='bogus'><body>x</body></message>".to_owned(),
        ),
        (
            "a bogus iq",
            "<iq @ type='bogus' id='1'><a xmlns='urn:x'/></iq>".to_owned(),
        ),
        (
            "an iq without a type",
            "<iq @ id='1'><a xmlns='urn:x'/></iq>".to_owned(),
        ),
        (
            "an iq without an id",
            "<iq @ type='get'><a xmlns='urn:x'/></iq>".to_owned(),
        ),
        (
            "an iq without children",
            "<iq @ type='set' id='1'/>".to_owned(),
        ),
        (
            "an iq with two children",
            "<iq @ type='set' id='1'><a xmlns='urn:x'/><b xmlns='urn:x'/></iq>".to_owned(),
        ),
        (
            "an error without a type",
            "<iq @ type='error' id='1'><error><a xmlns='urn:x'/></error></iq>".to_owned(),
        ),
        (
            "an error without children",
            "<iq @ type='error' id='1'/>".to_owned(),
        ),
        (
            "a result to nothing",
            "<iq @ type='result' id='1'/>".to_owned(),
        ),
        ("an unknown stanza", "<a @ xmlns='urn:x'/>".to_owned()),
    ]
}

/// Through the server, a stanza within our limits is read, and one just over them is not.
async fn what_is_over_our_limits_is_refused(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let service = line.daemon.service().to_owned();
    let levels = MAX_DEPTH as usize;
    let (within, over) = (
        ("cancel", "service-unavailable"),
        ("modify", "policy-violation"),
    );
    for (content, (kind, condition)) in [
        // With the stanza itself and the query.
        (nested(levels - 2), within),
        (nested(levels - 1), over),
        // The server adds whom a stanza is from.
        ("x".repeat(MAX_STANZA - 1024), within),
        ("x".repeat(MAX_STANZA), over),
    ] {
        let query = format!("<query xmlns='urn:x'>{content}</query>");
        let answer = line.phone.iq("get", Some(&service), &query).await;
        let refusal = Refusal::of(&answer);
        assert!(
            refusal.is(kind, condition),
            "{}: {refusal:?}",
            content.len()
        );
    }
    line.works().await;
}

/// The victim's pushes arrive, and the link was never lost.
async fn is_unharmed(line: &mut Line, losses: f64, after: &str) {
    let answer = line.push(b"still there?").await;
    assert_eq!(answer.status, 201, "after {after}: {}", answer.text());
    line.phone.push().await;
    let (_, readiness) = line.daemon.readiness().await;
    assert_eq!(readiness["link"], "up", "after {after}");
    assert_eq!(lost(line).await, losses, "after {after}");
}

async fn lost(line: &Line) -> f64 {
    let losses = "unified_push_link_losses_total";
    line.daemon.metric(losses, "").await
}

async fn no_stanza_of_a_client_harms_the_others(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let losses = lost(&line).await;
    let server = bed.server().await;
    for (name, stanza) in stanzas() {
        // Some end their sender's stream, so each has a sender of its own.
        let mallory = Phone::log_in(&server, &bed.user("mallory")).await;
        let to = format!("to='{}'", line.daemon.service());
        let stanza = stanza.replacen('@', &to, 1);
        mallory.send(&parsed_at_once(&stanza)).await;
        is_unharmed(&mut line, losses, name).await;
    }
}

async fn a_stanza_over_the_server_s_limit_harms_its_sender_only(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let losses = lost(&line).await;
    let server = bed.server().await;
    let mut mallory = Phone::log_in(&server, &bed.user("mallory")).await;
    let body = "x".repeat(CLIENT_STANZA_LIMIT + 50_000);
    let to = line.daemon.service();
    let large = format!("<message to='{to}'><body>{body}</body></message>");
    mallory.send(&large).await;
    mallory.closed().await;
    is_unharmed(&mut line, losses, "a stanza over the limit").await;
}

async fn no_stanza_of_another_component_harms_the_others(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let losses = lost(&line).await;
    let server = bed.server().await;
    let account = server.component();
    for (name, stanza) in stanzas() {
        let mut stranger = Component::connect(&server, &account).await.unwrap();
        let addresses = format!("from='{}' to='{}'", stranger.domain, line.daemon.service());
        let stanza = stanza.replacen('@', &addresses, 1);
        stranger.send(&parsed_at_once(&stanza)).await;
        is_unharmed(&mut line, losses, name).await;
        stranger.close().await;
    }
}

async fn an_answer_from_another_jid_acknowledges_nothing(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let losses = lost(&line).await;
    let server = bed.server().await;
    let account = server.component();
    let mut stranger = Component::connect(&server, &account).await.unwrap();
    let mallory = Phone::log_in(&server, &bed.user("mallory")).await;

    // They know the very id, and claim both that it arrived and that nobody wants it.
    line.phone.behave(Behaviour::Silent);
    let endpoint = line.endpoint.clone();
    let waiting = tokio::spawn(async move { push(&endpoint, b"for romeo").await });
    let id = line.phone.push().await.id;
    let service = line.daemon.service();
    let error = "<error type='cancel'><item-not-found \
                 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    for (kind, content) in [("result", ""), ("error", error)] {
        let rest = format!("to='{service}' type='{kind}' id='{id}'>{content}</iq>");
        mallory.send(&format!("<iq {rest}")).await;
        let from = stranger.domain.clone();
        stranger.send(&format!("<iq from='{from}' {rest}")).await;
        let from = format!("romeo@{from}/phone");
        stranger.send(&format!("<iq from='{from}' {rest}")).await;
    }
    let kept = location(&waiting.await.unwrap());
    assert!(waits(&kept).await);
    line.phone.behave(Behaviour::Conversations);
    line.announce().await;
    line.gets(&[b"for romeo"]).await;
    is_over(&kept).await;
    is_unharmed(&mut line, losses, "answers of strangers").await;
}
