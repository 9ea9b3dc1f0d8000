//! The link to the XMPP server: what is said when it is down, and that it comes back by itself.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, time::Duration};

use tokio::time::interval;

use crate::{
    Test,
    bed::Bed,
    daemon::{Settings, push},
    login::PATIENCE,
    phone::{Pair, Phone},
    process::eventually,
    pushes::{Line, assert_try_again},
    server::{Account, Kind},
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
    // Between two attempts it shows; during one, connecting does.
    let label = format!("state=\"{state}\"");
    eventually("the metric shows the state", PATIENCE, async || {
        let present = daemon.metric("unified_push_link_state", &label).await;
        let all = daemon.metric("unified_push_link_state", "").await;
        (present == 1.0 && all == 1.0).then_some(())
    })
    .await;
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
    let line = Line::with(&bed, Settings::new(&bed, &server), phone).await;
    let statuses = RefCell::new(BTreeSet::new());
    let load = async {
        let mut tick = interval(Duration::from_millis(10));
        loop {
            tick.tick().await;
            let status = push(&line.endpoint, b"load").await.status;
            assert!(matches!(status, 201 | 503), "{status}");
            statuses.borrow_mut().insert(status);
        }
    };
    let restart = async {
        server.stop().await;
        assert_try_again(&line.push(b"while it is down").await);
        server.start().await;
        line.daemon.link("up").await;
        let mut phone = Phone::log_in_again(&server, "romeo", &line.pair).await;
        for _ in 0..3 {
            phone.push().await;
        }
    };
    tokio::select! {
        () = load => {}
        () = restart => {}
    }
    assert_eq!(statuses.into_inner(), BTreeSet::from([201, 503]));
}
