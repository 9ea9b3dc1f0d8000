//! The fixtures, proved without the daemon: against a component of the test's own, and against
//! Prosody's mod_unified_push, which is the reference for what a phone sees.

use std::{rc::Rc, sync::Arc, time::Duration};

use testbed::{
    Account, Behaviour, Component, Kind, Pair, Phone, Push, Refusal, Taken, app::NS, http::push,
    server::ORACLE, tests,
};

use crate::{Test, bed::Bed};

pub fn on_both() -> Vec<Test> {
    tests![
        a_phone_answers_a_component_as_conversations_does,
        a_hibernating_phone_gets_what_was_sent_meanwhile,
        a_phone_that_comes_back_logs_what_it_gets,
        a_component_with_a_wrong_secret_or_name_is_refused,
        a_server_restarts_on_its_ports,
    ]
}

pub fn on_prosody() -> Vec<Test> {
    tests![
        prosody_s_own_push_service_reaches_the_phone,
        prosody_s_own_push_service_refuses_a_bad_digest,
    ]
}

fn push_iq(from: &str, to: &str, id: &str, content: &str) -> String {
    format!("<iq type='set' id='{id}' from='{from}' to='{to}'>{content}</iq>")
}

fn push_element(pair: &Pair, text: &str) -> String {
    let Pair {
        application,
        instance,
    } = pair;
    format!("<push xmlns='{NS}' application='{application}' instance='{instance}'>{text}</push>")
}

/// Plays the push service for one registration.
async fn registered(component: &mut Component, phone: &mut Phone, pair: &Pair) {
    let domain = component.domain.clone();
    let serve = async {
        let request = component.stanza().await;
        let id = request.attr("id").unwrap();
        let to = request.attr("from").unwrap();
        let answer = format!(
            "<iq type='result' id='{id}' from='{domain}' to='{to}'><registered xmlns='{NS}' \
             endpoint='https://{domain}/push/x' expiration='2100-01-01T00:00:00Z'/></iq>"
        );
        component.send(&answer).await;
    };
    let (registered, ()) = tokio::join!(phone.register(&domain, pair), serve);
    registered.unwrap();
}

async fn a_phone_answers_a_component_as_conversations_does(bed: Rc<Bed>) {
    let server = bed.server().await;
    let mut component = Component::connect(&server, &server.component())
        .await
        .unwrap();
    let mut phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let pair = Pair::of(&phone.jid, "app");
    registered(&mut component, &mut phone, &pair).await;

    let mut ask = async |id: &str, content: &str| {
        component
            .send(&push_iq(&component.domain, &phone.jid, id, content))
            .await;
        component.stanza().await
    };
    let answer = ask("good", &push_element(&pair, "aGVsbG8=")).await;
    assert!(
        answer.is("iq", "result") && answer.attr("id") == Some("good"),
        "{answer:?}"
    );
    let unknown = Pair::of(&phone.jid, "another app");
    for (content, condition) in [
        (push_element(&pair, "aGVs\nbG8="), "item-not-found"),
        (push_element(&pair, "aGVsbG8"), "item-not-found"),
        (push_element(&unknown, "aGVsbG8="), "item-not-found"),
        (
            format!("<push xmlns='{NS}'>aGVsbG8=</push>"),
            "item-not-found",
        ),
        (
            "<query xmlns='urn:x'/>".to_owned(),
            "feature-not-implemented",
        ),
    ] {
        let answer = ask("bad", &content).await;
        assert!(answer.is("iq", "error"), "{answer:?}");
        assert_eq!(Refusal::of(&answer).condition, condition, "{content}");
    }
    phone.behave(Behaviour::Refuse {
        kind: "wait",
        condition: "resource-constraint",
    });
    let answer = ask("refused", &push_element(&pair, "aGVsbG8=")).await;
    assert!(Refusal::of(&answer).is("wait", "resource-constraint"));
    assert_eq!(phone.push().await.payload, b"hello");
}

async fn a_hibernating_phone_gets_what_was_sent_meanwhile(bed: Rc<Bed>) {
    let server = bed.server().await;
    let mut component = Component::connect(&server, &server.component())
        .await
        .unwrap();
    let mut phone = Phone::log_in_resumable(&server, &bed.user("romeo")).await;
    let pair = Pair::of(&phone.jid, "app");
    registered(&mut component, &mut phone, &pair).await;
    let iq = push_iq(
        &component.domain,
        &phone.jid,
        "late",
        &push_element(&pair, "aGVsbG8="),
    );

    let vanished = phone.vanish().await;
    component.send(&iq).await;
    let mut phone = vanished.resume(&server).await;
    assert_eq!(phone.push().await.payload, b"hello");
    assert!(component.stanza().await.is("iq", "result"));
    phone.log_out().await;
}

async fn a_phone_that_comes_back_logs_what_it_gets(bed: Rc<Bed>) {
    let server = bed.own_server();
    server.start().await;
    let mut component = Component::connect(&server, &server.component())
        .await
        .unwrap();
    let (arrived, mut log) = tokio::sync::mpsc::channel(1);
    let log_of = move |push: Push| arrived.try_send(push).unwrap();
    let pair = Pair::of("romeo", "app");
    let known = vec![pair.clone()];
    let phone = Phone::come_back(&server, "romeo", "phone", known, Arc::new(log_of)).await;
    let behaviours = [
        (Behaviour::Silent, Taken::Silently),
        (
            Behaviour::Late(Duration::from_millis(10)),
            Taken::Acknowledged,
        ),
    ];
    for (behaviour, taken) in behaviours {
        phone.behave(behaviour);
        let push = push_element(&pair, "aGVsbG8=");
        let iq = push_iq(&component.domain, &phone.jid, "one", &push);
        component.send(&iq).await;
        assert_eq!(log.recv().await.unwrap().taken, taken);
    }
    assert!(component.stanza().await.is("iq", "result"));

    assert!(phone.is_online());
    let vanished = phone.vanish().await;
    server.kill().await;
    server.start().await;
    assert!(vanished.try_resume(&server).await.is_none());
}

async fn a_component_with_a_wrong_secret_or_name_is_refused(bed: Rc<Bed>) {
    let server = bed.server().await;
    let account = server.component();
    let wrong_secret = Account {
        secret: "wrong".to_owned(),
        ..account.clone()
    };
    let unknown = Account {
        domain: "nobody.example.test".to_owned(),
        ..account
    };
    let port = server.layout.known_components;
    let refusal = async |account| Component::connect_to(port, account).await.err();
    assert_eq!(refusal(&wrong_secret).await.unwrap(), "not-authorized");
    let expected = match bed.kind {
        Kind::Prosody => "host-unknown",
        Kind::Ejabberd => "not-authorized",
    };
    assert_eq!(refusal(&unknown).await.unwrap(), expected);
}

async fn a_server_restarts_on_its_ports(bed: Rc<Bed>) {
    let server = bed.own_server();
    let account = server.component();
    for _ in 0..2 {
        server.start().await;
        Component::connect(&server, &account).await.unwrap();
        Phone::log_in(&server, "romeo").await.log_out().await;
        server.stop().await;
    }
}

async fn prosody_s_own_push_service_reaches_the_phone(bed: Rc<Bed>) {
    let server = bed.server().await;
    let mut phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let pair = Pair::of(&phone.jid, "app");
    let registered = phone.register(ORACLE, &pair).await.unwrap();
    let answer = push(&registered.endpoint, b"from the app server").await;
    assert_eq!(answer.status, 201);
    assert_eq!(phone.push().await.payload, b"from the app server");
}

async fn prosody_s_own_push_service_refuses_a_bad_digest(bed: Rc<Bed>) {
    let server = bed.server().await;
    let mut phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let pair = Pair {
        instance: "c2hvcnQ=".to_owned(),
        ..Pair::of(&phone.jid, "app")
    };
    let refusal = phone.register(ORACLE, &pair).await.unwrap_err();
    assert!(refusal.is("modify", "bad-request"));
    let text = "instance: incorrect decoded length, expected 32";
    assert_eq!(refusal.text.as_deref(), Some(text));
}
