//! The link to the XMPP server: what is said when it is down, and that it comes back by itself.

use std::{collections::BTreeSet, rc::Rc};

use tokio::sync::watch;

use crate::{
    Test,
    bed::Bed,
    daemon::{Settings, push},
    phone::{Pair, Phone},
    pushes::{Line, assert_try_again},
    server::{Account, Kind, Server},
    tests,
};

pub fn on_both() -> Vec<Test> {
    tests![
        a_wrong_secret_is_named,
        an_unknown_component_is_named,
        a_second_component_of_the_same_name,
        a_server_that_comes_later_is_found,
        a_server_that_restarts_under_load_is_found_again,
    ]
}

/// The daemon stays ready whatever its link does.
async fn is_reported(bed: &Bed, settings: Settings, state: &str) {
    let daemon = settings.start(bed).await;
    daemon.link(state).await;
    let (status, readiness) = daemon.readiness().await;
    assert_eq!((status, &readiness["ready"]), (200, &true.into()));
    let label = format!("state=\"{state}\"");
    assert_eq!(daemon.metric("unified_push_link_state", &label).await, 1.0);
    assert_eq!(daemon.metric("unified_push_link_state", "").await, 1.0);
    let cause = format!("cause=\"{state}\"");
    assert!(
        daemon
            .metric("unified_push_link_losses_total", &cause)
            .await
            >= 1.0
    );
    daemon.stop().await;
}

async fn a_wrong_secret_is_named(bed: Rc<Bed>) {
    let server = bed.server().await;
    let settings = Settings::new(&bed, &server).text("component.secret", "wrong");
    is_reported(&bed, settings, "not-authorized").await;
}

async fn an_unknown_component_is_named(bed: Rc<Bed>) {
    let server = bed.server().await;
    let unknown = Account {
        domain: "nobody.example.test".to_owned(),
        ..server.component()
    };
    let settings = Settings::new(&bed, &server)
        .component(&unknown)
        .value("component.port", server.layout.known_components);
    let state = match bed.kind {
        Kind::Prosody => "host-unknown",
        Kind::Ejabberd => "not-authorized",
    };
    is_reported(&bed, settings, state).await;
}

async fn a_second_component_of_the_same_name(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let second = line.daemon.settings.twin(&bed);
    match bed.kind {
        Kind::Prosody => is_reported(&bed, second, "conflict").await,
        Kind::Ejabberd => second.start_linked(&bed).await.stop().await,
    }
    line.daemon.link("up").await;
    line.works().await;
}

async fn a_server_that_comes_later_is_found(bed: Rc<Bed>) {
    let server = bed.own_server();
    let daemon = Settings::new(&bed, &server).start(&bed).await;
    daemon.link("connection-refused").await;
    server.start().await;
    daemon.link("up").await;
    let mut phone = Phone::log_in(&server, "romeo").await;
    let pair = Pair::of(&phone.jid, "app");
    let registered = phone.register(daemon.service(), &pair).await.unwrap();
    assert_eq!(push(&registered.endpoint, b"hello").await.status, 201);
}

async fn a_server_that_restarts_under_load_is_found_again(bed: Rc<Bed>) {
    let server = bed.own_server();
    server.start().await;
    let phone = Phone::log_in(&server, "romeo").await;
    let mut line = Line::with(&bed, Settings::new(&bed, &server), phone).await;
    let (stop, stopped) = watch::channel(false);
    let endpoint = line.endpoint.clone();
    let load = tokio::spawn(async move {
        let mut statuses = BTreeSet::new();
        while !*stopped.borrow() {
            statuses.insert(push(&endpoint, b"load").await.status);
        }
        statuses
    });
    for _ in 0..3 {
        line.phone.push().await;
    }
    line.phone = restart(&server, &line).await;
    for _ in 0..3 {
        line.phone.push().await;
    }
    stop.send_replace(true);
    assert_eq!(load.await.unwrap(), BTreeSet::from([201, 503]));
}

/// Gives the phone after it has logged in again.
async fn restart(server: &Server, line: &Line) -> Phone {
    server.stop().await;
    assert_try_again(&line.push(b"while it is down").await);
    server.start().await;
    line.daemon.link("up").await;
    let phone = Phone::log_in(server, "romeo").await;
    phone.know(&line.pair);
    phone
}
