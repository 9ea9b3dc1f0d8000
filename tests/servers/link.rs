//! The link to the XMPP server: what is said when it is down, and that it comes back by itself.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::Duration,
};

use testbed::{
    Account, Behaviour, Config, Kind, PATIENCE, Pair, Phone, eventually, http::push, tests,
};
use tokio::time::{Instant, interval};

use crate::{
    Test,
    bed::Bed,
    line::{Line, is_over, location, waits},
};

pub fn on_both() -> Vec<Test> {
    tests![
        a_wrong_secret_is_named,
        an_unknown_component_is_named,
        a_second_component_of_the_same_name,
        a_server_that_comes_later_is_found,
        a_server_that_restarts_under_load_loses_no_push,
        a_push_that_waits_when_the_link_is_lost_is_stored_at_once,
    ]
}

/// The daemon stays ready whatever its link does. Gives its log.
pub async fn is_reported(bed: &Bed, settings: Config, state: &str) -> String {
    let daemon = bed.start(&settings).await;
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
    daemon.log()
}

async fn a_wrong_secret_is_named(bed: Rc<Bed>) {
    let server = bed.server().await;
    let settings = bed.config(&server).text("component.secret", "wrong");
    is_reported(&bed, settings, "not-authorized").await;
}

async fn an_unknown_component_is_named(bed: Rc<Bed>) {
    let server = bed.server().await;
    let unknown = Account {
        domain: "nobody.example.test".to_owned(),
        ..server.component()
    };
    let settings = bed
        .config(&server)
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
    let second = bed.twin(&line.daemon.config);
    match bed.kind {
        Kind::Prosody => drop(is_reported(&bed, second, "conflict").await),
        Kind::Ejabberd => bed.start_linked(&second).await.stop().await,
    }
    line.daemon.link("up").await;
    line.works().await;
}

async fn a_server_that_comes_later_is_found(bed: Rc<Bed>) {
    let server = bed.own_server();
    let daemon = bed.start(&bed.config(&server)).await;
    daemon.link("connection-refused").await;
    server.start().await;
    daemon.link("up").await;
    let mut phone = Phone::log_in(&server, "romeo").await;
    let pair = Pair::of(&phone.jid, "app");
    let registered = phone.register(daemon.service(), &pair).await.unwrap();
    assert_eq!(push(&registered.endpoint, b"hello").await.status, 201);
}

async fn a_server_that_restarts_under_load_loses_no_push(bed: Rc<Bed>) {
    let server = bed.own_server();
    server.start().await;
    let phone = Phone::log_in(&server, "romeo").await;
    let settings = bed
        .config(&server)
        .value("delivery.max_queued_per_endpoint", 100_000)
        .value("delivery.max_queued_per_jid", 100_000);
    let mut line = Line::with(&bed, settings, phone).await;
    let accepted = RefCell::new(BTreeSet::new());
    let load = async |stop: &Cell<bool>, endpoint: &str| {
        let mut tick = interval(Duration::from_millis(20));
        let mut number = 0;
        while !stop.get() {
            tick.tick().await;
            let body = format!("push {number}");
            let answer = push(endpoint, body.as_bytes()).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            accepted.borrow_mut().insert(body.into_bytes());
            number += 1;
        }
    };
    let mut arrived = BTreeSet::new();
    let stop = Cell::new(false);
    let endpoint = line.endpoint.clone();
    let restart = async {
        // Some of them get through before.
        for _ in 0..3 {
            arrived.insert(line.phone.push().await.payload);
        }
        server.stop().await;
        while let Some(push) = line.phone.pushed_already() {
            arrived.insert(push.payload);
        }
        let before = accepted.borrow().len();
        eventually("more are accepted", PATIENCE, async || {
            (accepted.borrow().len() > before + 3).then_some(())
        })
        .await;
        server.start().await;
        line.daemon.link("up").await;
        line.phone = Phone::log_in_again(&server, "romeo", &line.pair).await;
        line.announce().await;
        arrived.insert(line.phone.push().await.payload);
        stop.set(true);
    };
    tokio::join!(load(&stop, &endpoint), restart);
    let accepted = accepted.into_inner();
    while !arrived.is_superset(&accepted) {
        arrived.insert(line.phone.push().await.payload);
    }
    line.works().await;
}

async fn a_push_that_waits_when_the_link_is_lost_is_stored_at_once(bed: Rc<Bed>) {
    let server = bed.own_server();
    server.start().await;
    let phone = Phone::log_in(&server, "romeo").await;
    let settings = bed.config(&server).text("delivery.ack_timeout", "5s");
    let mut line = Line::with(&bed, settings, phone).await;
    line.phone.behave(Behaviour::Silent);
    let endpoint = line.endpoint.clone();
    let waiting = tokio::spawn(async move { push(&endpoint, b"a moment").await });
    line.gets(&[b"a moment"]).await;
    let start = Instant::now();
    let answered = async {
        let answer = waiting.await.unwrap();
        let took = start.elapsed();
        assert!(took < Duration::from_secs(4), "{took:?}");
        location(&answer)
    };
    let (kept, ()) = tokio::join!(answered, server.kill());
    assert!(waits(&kept).await);

    server.start().await;
    line.daemon.link("up").await;
    line.phone = Phone::log_in_again(&server, "romeo", &line.pair).await;
    line.announce().await;
    line.gets(&[b"a moment"]).await;
    is_over(&kept).await;
    line.works().await;
}
