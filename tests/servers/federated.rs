//! People whose account is on another server: a Prosody without accounts carries the component, and
//! their server finds it by DNS and speaks with it by TLS.

use std::{
    fs,
    process::{Command, Stdio},
    rc::Rc,
};

use testbed::{
    Carrier, Config, Federation, PATIENCE, Pair, Phone, Refusal, Server, eventually, http::push,
    server::DOMAIN, tests,
};

use crate::{
    Test,
    bed::Bed,
    line::{Line, is_over},
};

pub fn on_both() -> Vec<Test> {
    with_names(tests![
        a_phone_on_another_server_gets_its_pushes,
        a_server_that_cannot_prove_its_name_is_refused,
    ])
}

pub fn on_prosody() -> Vec<Test> {
    with_names(tests![a_renewed_certificate_is_shown_after_a_reload])
}

fn with_names(tests: Vec<Test>) -> Vec<Test> {
    // With the latter, Prosody resolves names where it is told.
    let needs = &["/usr/bin/prosody", "/usr/share/doc/lua-unbound"];
    let tests = tests.into_iter().map(|test| Test { needs, ..test });
    tests.collect()
}

/// For a daemon that the carrier carries.
fn config(bed: &Bed, carrier: &Carrier, theirs: &Server) -> Config {
    bed.keep_log(&carrier.log_path());
    bed.keep_log(&theirs.log_path());
    let config = Config::new(bed.dir(), &carrier.account, carrier.components);
    config.value("acl", format!("[{DOMAIN:?}]"))
}

async fn a_phone_on_another_server_gets_its_pushes(bed: Rc<Bed>) {
    let federation = Federation::start().await;
    let carrier = Carrier::start(&federation).await;
    let theirs = Server::prepare_federated(bed.kind, &federation);
    theirs.start().await;
    let settings = config(&bed, &carrier, &theirs);
    let phone = Phone::log_in(&theirs, "romeo").await;
    let mut line = Line::with(&bed, settings, phone).await;
    line.works().await;

    let away = line.leave().await;
    let kept = away.store(b"while it was away").await;
    let mut line = away.back(&theirs).await;
    line.gets(&[b"while it was away"]).await;
    is_over(&kept).await;
    line.works().await;

    // Nor does it matter if the way between the servers is lost for a while.
    theirs.stop().await;
    let answer = push(&line.endpoint, b"while their server was away").await;
    assert_eq!(answer.status, 201);
    theirs.start().await;
    line.phone = Phone::log_in_again(&theirs, "romeo", &line.pair).await;
    line.announce().await;
    line.gets(&[b"while their server was away"]).await;
    line.works().await;
}

async fn a_server_that_cannot_prove_its_name_is_refused(bed: Rc<Bed>) {
    let federation = Federation::start().await;
    let carrier = Carrier::start(&federation).await;
    let theirs = Server::prepare_unbelieved(bed.kind, &federation);
    theirs.start().await;
    let daemon = bed.start_linked(&config(&bed, &carrier, &theirs)).await;
    let mut phone = Phone::log_in(&theirs, "romeo").await;
    let pair = Pair::of(&phone.jid, "app");
    let answer = phone
        .iq("set", Some(daemon.service()), &pair.register())
        .await;
    let refusal = Refusal::of(&answer);
    // Their own server says so: the carrier has let nothing through.
    assert!(
        refusal.condition.starts_with("remote-server-"),
        "{answer:?}"
    );
    let log = fs::read_to_string(carrier.log_path()).unwrap();
    assert!(log.contains("Forbidding insecure connection"), "{log}");
    let registered = "unified_push_registrations_total";
    assert_eq!(daemon.metric(registered, "").await, 0.0);
}

/// Which is what docs/federating.md has certbot's hook do.
async fn a_renewed_certificate_is_shown_after_a_reload(bed: Rc<Bed>) {
    let federation = Federation::start().await;
    let carrier = Carrier::start(&federation).await;
    bed.keep_log(&carrier.log_path());
    let shown = async || {
        let mut openssl = Command::new("/usr/bin/openssl");
        openssl.args(["s_client", "-starttls", "xmpp-server", "-xmpphost"]);
        openssl.args([&carrier.account.domain, "-connect"]);
        openssl.arg(format!("127.0.0.1:{}", carrier.servers));
        let said = openssl.stdin(Stdio::null()).output().unwrap().stdout;
        certificate(&String::from_utf8_lossy(&said))
    };
    let former = shown().await.unwrap();
    let renewed = fs::read_to_string(carrier.renew(&federation)).unwrap();
    let renewed = certificate(&renewed).unwrap();
    assert_ne!(former, renewed);
    let is_renewed = async || (shown().await.as_ref() == Some(&renewed)).then_some(());
    eventually("the new certificate is shown", PATIENCE, is_renewed).await;
}

/// The first one in a text.
fn certificate(text: &str) -> Option<String> {
    let (_, begun) = text.split_once("BEGIN CERTIFICATE")?;
    let (certificate, _) = begun.split_once("END CERTIFICATE")?;
    Some(certificate.to_owned())
}
