//! The link by TLS and by a Unix socket, and what is said when one side means the other.

use std::rc::Rc;

use testbed::{Authority, Config, Pair, Phone, Server, http::push, server::DOMAIN, tests};

use tokio::task::JoinSet;

use crate::{Test, bed::Bed, line::Line, link::is_reported};

pub fn on_both() -> Vec<Test> {
    tests![a_port_without_tls_is_named]
}

pub fn on_ejabberd() -> Vec<Test> {
    tests![
        pushes_go_by_tls,
        a_certificate_that_does_not_fit_is_refused,
        a_port_with_tls_is_named,
        pushes_go_by_a_unix_socket,
    ]
}

/// An ejabberd that takes components by TLS; it is not running yet.
fn secure_server(bed: &Bed, authority: &Authority) -> Server {
    let server = Server::prepare_secure(4, authority);
    bed.keep_log(&server.log_path());
    server
}

/// For a daemon that connects to it by TLS. The host is an address, as it mostly is.
fn by_tls(bed: &Bed, server: &Server, authority: &Authority) -> Config {
    let port = server.layout.secure.as_ref().unwrap().components;
    bed.config(server)
        .value("component.port", port)
        .value("component.tls", true)
        .text("component.tls_name", DOMAIN)
        .path("component.tls_ca_file", &authority.path())
}

async fn pushes_go_by_tls(bed: Rc<Bed>) {
    let authority = Authority::new("authority");
    let server = secure_server(&bed, &authority);
    server.start().await;
    let phone = Phone::log_in(&server, "romeo").await;
    let mut line = Line::with(&bed, by_tls(&bed, &server, &authority), phone).await;
    line.works().await;
    let log = line.daemon.log();
    assert!(log.contains("(TLS)"), "{log}");
    // Together they are more than a record of TLS, and than the buffers in between.
    let mut answers = JoinSet::new();
    for number in 0..200 {
        let endpoint = line.endpoint.clone();
        let body = [vec![b'x'; 3000], vec![number]].concat();
        answers.spawn(async move { push(&endpoint, &body).await.status });
    }
    let mut arrived: Vec<u8> = Vec::new();
    for _ in 0..200 {
        arrived.extend(line.phone.push().await.payload.last());
    }
    arrived.sort();
    assert_eq!(arrived, Vec::from_iter(0..200));
    let statuses = answers.join_all().await;
    assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");

    server.stop().await;
    server.start().await;
    line.daemon.link("up").await;
    line.phone = Phone::log_in_again(&server, "romeo", &line.pair).await;
    line.works().await;
}

async fn a_certificate_that_does_not_fit_is_refused(bed: Rc<Bed>) {
    let authority = Authority::new("authority");
    let server = secure_server(&bed, &authority);
    server.start().await;
    let settings = by_tls(&bed, &server, &authority).text("component.tls_name", "other.test");
    let log = is_reported(&bed, settings, "tls-failed").await;
    assert!(log.contains("Set component.tls_name to a name"), "{log}");
    let other = Authority::new("other");
    let settings = by_tls(&bed, &server, &other);
    let log = is_reported(&bed, bed.twin(&settings), "tls-failed").await;
    assert!(log.contains("in component.tls_ca_file"), "{log}");
}

async fn a_port_with_tls_is_named(bed: Rc<Bed>) {
    let authority = Authority::new("authority");
    let server = secure_server(&bed, &authority);
    server.start().await;
    let mut settings = by_tls(&bed, &server, &authority);
    for key in [
        "component.tls",
        "component.tls_name",
        "component.tls_ca_file",
    ] {
        settings.unset(key);
    }
    let log = is_reported(&bed, settings, "tls-failed").await;
    assert!(
        log.contains("answers in TLS only: set component.tls = true"),
        "{log}"
    );
}

async fn a_port_without_tls_is_named(bed: Rc<Bed>) {
    let server = bed.server().await;
    let settings = bed
        .config(&server)
        .value("component.tls", true)
        .text("component.tls_name", DOMAIN);
    let log = is_reported(&bed, settings, "tls-failed").await;
    assert!(
        log.contains("does not speak TLS: set component.tls = false"),
        "{log}"
    );
}

async fn pushes_go_by_a_unix_socket(bed: Rc<Bed>) {
    let server = bed.own_server();
    let socket = server.layout.socket();
    let settings = bed.config(&server);
    let settings = settings.text("component.host", &format!("unix:{}", socket.display()));
    let daemon = bed.start(&settings).await;
    daemon.link("connection-refused").await;
    assert!(
        daemon.log().contains("start the XMPP server"),
        "{}",
        daemon.log()
    );

    for user in ["romeo", "juliet"] {
        server.start().await;
        daemon.link("up").await;
        let mut phone = Phone::log_in(&server, user).await;
        let pair = Pair::of(&phone.jid, "app");
        let registered = phone.register(daemon.service(), &pair).await.unwrap();
        assert_eq!(push(&registered.endpoint, b"hello").await.status, 201);
        assert_eq!(phone.push().await.payload, b"hello");
        // Its socket stays behind.
        server.kill().await;
        daemon.link("connection-refused").await;
    }
}
