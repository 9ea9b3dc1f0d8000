//! Stopping while a push is on its way.

use std::rc::Rc;

use rustix::process::Signal;

use crate::{
    Test,
    bed::Bed,
    daemon::Settings,
    http::{try_get, try_post},
    login::PATIENCE,
    phone::{Behaviour, Phone},
    process::eventually,
    pushes::Line,
    tests,
};

pub fn on_both() -> Vec<Test> {
    tests![a_stop_finishes_the_push_that_waits]
}

async fn a_stop_finishes_the_push_that_waits(bed: Rc<Bed>) {
    let server = bed.server().await;
    let settings = Settings::new(&bed, &server).text("delivery.ack_timeout", "5s");
    let phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let mut line = Line::with(&bed, settings, phone).await;
    line.phone.behave(Behaviour::Silent);
    let endpoint = line.endpoint.clone();
    let waiting = tokio::spawn(async move { try_post(&endpoint, &[], b"last words").await });
    let pushed = line.phone.push().await;
    line.daemon.signal(Signal::TERM);
    eventually("the daemon stops", PATIENCE, async || {
        let answer = try_get(&line.daemon.admin("/readyz")).await;
        answer
            .is_none_or(|answer| answer.status == 503)
            .then_some(())
    })
    .await;
    line.phone.acknowledge(&pushed).await;
    assert_eq!(waiting.await.unwrap().expect("an answer").status, 201);
    assert_eq!(line.daemon.exit().await, Some(0));
}
