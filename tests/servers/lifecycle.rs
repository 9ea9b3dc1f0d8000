//! Starting, stopping and the commands around it.

use std::{rc::Rc, time::Duration};

use rustix::process::Signal;
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    Test,
    bed::Bed,
    daemon::{Daemon, Settings},
    http::{Response, try_get, try_post},
    phone::{Behaviour, Phone, Push},
    process::eventually,
    pushes::Line,
    tests,
};

pub fn on_both() -> Vec<Test> {
    tests![
        a_stop_finishes_the_push_that_waits,
        a_second_signal_ends_at_once,
    ]
}

/// What does not depend on the server.
pub fn on_prosody() -> Vec<Test> {
    tests![
        a_bad_config_is_refused_with_78,
        healthcheck_follows_the_daemon,
    ]
}

const LONG_WAIT: Duration = Duration::from_secs(5);

/// A push that waits for the phone while the daemon has been told to stop.
async fn stopping(bed: &Bed) -> (Line, JoinHandle<Option<Response>>, Push) {
    let server = bed.server().await;
    let settings = Settings::new(bed, &server).text("delivery.ack_timeout", "5s");
    let phone = Phone::log_in(&server, &bed.user("romeo")).await;
    let mut line = Line::with(bed, settings, phone).await;
    line.phone.behave(Behaviour::Silent);
    let endpoint = line.endpoint.clone();
    let waiting = tokio::spawn(async move { try_post(&endpoint, &[], b"last words").await });
    let pushed = line.phone.push().await;
    line.daemon.signal(Signal::TERM);
    is_unready(&line.daemon).await;
    (line, waiting, pushed)
}

async fn is_unready(daemon: &Daemon) {
    eventually("the daemon stops", LONG_WAIT, async || {
        let answer = try_get(&daemon.admin("/readyz")).await;
        answer
            .is_none_or(|answer| answer.status == 503)
            .then_some(())
    })
    .await;
}

async fn a_stop_finishes_the_push_that_waits(bed: Rc<Bed>) {
    let (line, waiting, pushed) = stopping(&bed).await;
    line.phone.acknowledge(&pushed).await;
    assert_eq!(waiting.await.unwrap().expect("an answer").status, 201);
    assert_eq!(line.daemon.exit().await, Some(0));
}

async fn a_second_signal_ends_at_once(bed: Rc<Bed>) {
    let (line, waiting, _) = stopping(&bed).await;
    let start = Instant::now();
    line.daemon.signal(Signal::TERM);
    line.daemon.exit().await;
    assert!(start.elapsed() < LONG_WAIT / 2, "{:?}", start.elapsed());
    assert!(waiting.await.unwrap().is_none(), "nothing was promised");
}

async fn a_bad_config_is_refused_with_78(bed: Rc<Bed>) {
    let server = bed.server().await;
    let good = Settings::new(&bed, &server);
    let check = |settings: &Settings, subcommand| {
        let output = settings.command(subcommand).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text + &stdout)
    };
    let (code, report) = check(&good, "check-config");
    assert_eq!(code, Some(0), "{report}");
    let bad = good
        .twin(&bed)
        .text("backend", "pasteo")
        .text("registration_ttl", "soon")
        .value("component.port", 0);
    for subcommand in ["check-config", "serve"] {
        let (code, report) = check(&bad, subcommand);
        assert_eq!(code, Some(78), "{report}");
        for problem in ["backend", "registration_ttl", "component.port"] {
            assert!(report.contains(problem), "{problem} in {report}");
        }
    }
}

async fn healthcheck_follows_the_daemon(bed: Rc<Bed>) {
    let server = bed.server().await;
    let settings = Settings::new(&bed, &server);
    let code = |settings: &Settings| settings.command("healthcheck").status().unwrap().code();
    assert_eq!(code(&settings), Some(1));
    let daemon = settings.start(&bed).await;
    assert_eq!(code(&settings), Some(0));
    daemon.stop().await;
    assert_eq!(code(&settings), Some(1));
}
