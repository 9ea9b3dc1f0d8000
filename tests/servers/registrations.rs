//! What a phone gets when it registers.

use std::rc::Rc;

use testbed::{
    PATIENCE, Pair, Phone, Refusal,
    app::NS,
    eventually,
    http::{post, push},
    server::{DOMAIN, KEEPER, ORACLE, ORACLE_SECRET},
    tests,
    vapid::Sender,
};
use unified_push::model::time::{Clock, SystemClock};

use crate::{Test, bed::Bed};

pub fn on_both() -> Vec<Test> {
    tests![
        registering_again_keeps_the_url_with_back_end_storage,
        who_is_not_in_the_acl_is_forbidden,
        bad_digests_are_refused_with_a_reason,
        a_key_and_a_goodbye_reach_the_daemon,
    ]
}

pub fn on_prosody() -> Vec<Test> {
    tests![
        refusals_are_those_of_prosody_s_own_push_service,
        a_jwt_of_prosody_s_own_push_service_opens,
        endpoints_of_prosody_s_own_push_service_are_imported,
    ]
}

async fn registering_again_keeps_the_url_with_back_end_storage(bed: Rc<Bed>) {
    let server = bed.server().await;
    let settings = bed.config(&server).text("backend", "storage");
    let daemon = bed.start_linked(&settings).await;
    let service = daemon.service().to_owned();
    let mut phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let pair = Pair::of(&phone.jid, "app");
    let first = phone.register(&service, &pair).await.unwrap();
    let second = phone.register(&service, &pair).await.unwrap();
    assert_eq!(first.endpoint, second.endpoint);
    assert!(first.expires <= second.expires);
    let other = Pair::of(&phone.jid, "another app");
    let other = phone.register(&service, &other).await.unwrap();
    assert_ne!(first.endpoint, other.endpoint);

    // The daemon's restart changes nothing.
    daemon.stop().await;
    let daemon = bed.start_linked(&settings).await;
    let third = phone.register(daemon.service(), &pair).await.unwrap();
    assert_eq!(first.endpoint, third.endpoint);
    assert_eq!(push(&first.endpoint, b"hello").await.status, 201);
}

async fn who_is_not_in_the_acl_is_forbidden(bed: Rc<Bed>) {
    let server = bed.server().await;
    let (juliet, romeo) = (bed.user("juliet"), bed.user("romeo"));
    let permitted = format!("[\"{juliet}@{DOMAIN}\", \"another.example\"]");
    let settings = bed.config(&server).value("acl", permitted);
    let daemon = bed.start_linked(&settings).await;
    let mut juliet = Phone::log_in(&server, &juliet).await;
    let mut romeo = Phone::log_in(&server, &romeo).await;
    let pair = Pair::of("x", "app");
    juliet.register(daemon.service(), &pair).await.unwrap();
    let refusal = romeo.register(daemon.service(), &pair).await.unwrap_err();
    assert!(refusal.is("auth", "forbidden"), "{refusal:?}");
    let refused = "unified_push_registrations_total";
    assert_eq!(daemon.metric(refused, "forbidden").await, 1.0);
}

/// Attributes of a register element that no service accepts, and why not.
fn bad_digests() -> Vec<(String, &'static str)> {
    let good = Pair::of("x", "app").instance;
    let url_safe = "_".repeat(43) + "=";
    let no_value = "no value provided";
    let not_base64 = "invalid base64";
    let too_short = "incorrect decoded length, expected 32";
    let of = |application: &str, instance: &str| {
        let attribute = |name: &str, value: &str| match value {
            "-" => String::new(),
            value => format!(" {name}='{value}'"),
        };
        attribute("application", application) + &attribute("instance", instance)
    };
    vec![
        (of("-", "-"), no_value),
        (of(&good, "-"), no_value),
        (of("-", &good), no_value),
        (of(&good, "!!!!"), not_base64),
        (of("!!!!", &good), not_base64),
        (of(&good, &url_safe), not_base64),
        (of(&good, "c2hvcnQ="), too_short),
        (of("c2hvcnQ=", &good), too_short),
    ]
}

async fn refused(phone: &mut Phone, service: &str, attributes: &str) -> Refusal {
    let register = format!("<register xmlns='{NS}'{attributes}/>");
    let answer = phone.iq("set", Some(service), &register).await;
    assert!(answer.is("iq", "error"), "{attributes}: {answer:?}");
    Refusal::of(&answer)
}

async fn bad_digests_are_refused_with_a_reason(bed: Rc<Bed>) {
    let server = bed.server().await;
    let daemon = bed.start_linked(&bed.config(&server)).await;
    let mut phone = Phone::log_in(&server, &bed.user("romeo")).await;
    for (attributes, reason) in bad_digests() {
        let refusal = refused(&mut phone, daemon.service(), &attributes).await;
        assert!(refusal.is("modify", "bad-request"), "{refusal:?}");
        let text = refusal.text.expect("a text");
        assert!(text.ends_with(reason), "{attributes}: {text}");
    }
}

async fn a_key_and_a_goodbye_reach_the_daemon(bed: Rc<Bed>) {
    let server = bed.server().await;
    let daemon = bed.start_linked(&bed.config(&server)).await;
    let service = daemon.service().to_owned();
    let mut phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let (pair, sender) = (Pair::of(&phone.jid, "app"), Sender::new());
    phone.remember(&pair);
    let with_key = format!(" vapid='{}'/>", sender.key());
    let register = pair.register().replace("/>", &with_key);
    let answer = phone.iq("set", Some(&service), &register).await;
    let registered = answer.child("registered", NS).expect("an endpoint");
    assert_eq!(registered.attr("vapid"), Some(&*sender.key()));
    let endpoint = registered.attr("endpoint").unwrap().to_owned();

    assert_eq!(push(&endpoint, b"from anybody").await.status, 401);
    let soon = SystemClock.now().as_secs() + 3600;
    let signature = sender.authorization(daemon.url("").trim_end_matches('/'), soon);
    let headers = [("TTL", "60"), ("Authorization", &*signature)];
    let answer = post(&endpoint, &headers, b"signed").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(phone.push().await.payload, b"signed");

    let goodbye = pair.register().replace("register", "unregister");
    for _ in 0..2 {
        let answer = phone.iq("set", Some(&service), &goodbye).await;
        assert!(answer.is("iq", "result") && answer.children.is_empty());
        assert_eq!(post(&endpoint, &headers, b"too late").await.status, 404);
    }
}

async fn refusals_are_those_of_prosody_s_own_push_service(bed: Rc<Bed>) {
    let server = bed.server().await;
    let daemon = bed.start_linked(&bed.config(&server)).await;
    let mut phone = Phone::log_in(&server, &bed.user("romeo")).await;
    for (attributes, _) in bad_digests() {
        let ours = refused(&mut phone, daemon.service(), &attributes).await;
        let theirs = refused(&mut phone, ORACLE, &attributes).await;
        assert_eq!(ours, theirs, "{attributes}");
    }
}

async fn endpoints_of_prosody_s_own_push_service_are_imported(bed: Rc<Bed>) {
    let server = bed.server().await;
    let entry = format!(r#"[{{ kind = "prosody-jwt", key = "{ORACLE_SECRET}" }}]"#);
    let settings = bed.config(&server).value("import", entry);
    let daemon = bed.start_linked(&settings).await;
    let mut phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let pair = Pair::of(&phone.jid, "app");
    let signed = phone.register(ORACLE, &pair).await.unwrap().endpoint;
    let kept = phone.register(KEEPER, &pair).await.unwrap().endpoint;
    let data = server.layout.dir.to_str().unwrap();
    let mut import = settings.command(&["import", "prosody-storage", data]);
    let ended = import.output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    for endpoint in [signed, kept] {
        let (_, token) = endpoint.rsplit_once('/').unwrap();
        let here = daemon.url(&format!("/push/{token}"));
        let taken = async || (push(&here, b"moved here").await.status == 201).then_some(());
        eventually("the daemon knows it", PATIENCE, taken).await;
        let push = phone.push().await;
        assert_eq!(push.payload, b"moved here");
        assert_eq!(push.from, daemon.service());
    }
}

async fn a_jwt_of_prosody_s_own_push_service_opens(bed: Rc<Bed>) {
    let server = bed.server().await;
    let settings = bed.config(&server).text("secret", ORACLE_SECRET);
    let daemon = bed.start_linked(&settings).await;
    let mut phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let pair = Pair::of(&phone.jid, "app");
    let registered = phone.register(ORACLE, &pair).await.unwrap();
    let (_, token) = registered.endpoint.rsplit_once('/').unwrap();
    let answer = push(&daemon.url(&format!("/push/{token}")), b"moved here").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let push = phone.push().await;
    assert_eq!(push.payload, b"moved here");
    assert_eq!(push.from, daemon.service());
}
