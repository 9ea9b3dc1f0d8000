//! The real program with a clock that is wrong, and is set while it runs.

use rustix::process::Signal;
use testbed::{
    Bed, Behaviour, Daemon, Missing, MovedClock, PATIENCE, Postgres,
    bed::{BACKENDS, OWNER, push},
    clock, eventually,
    http::{post, try_get},
};

use crate::outage;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// A clock that is behind by so much says 1970.
const AGES: i64 = 100 * 365 * DAY;
const SET: &str = "the system's clock was set";

/// Each where it is there: in the daemon's own store, and in PostgreSQL, which has a clock that is
/// right.
async fn stores() -> Vec<Option<Postgres>> {
    let mut stores = vec![None];
    if outage::installed() {
        stores.push(Some(Postgres::start().await));
    }
    stores
}

/// None when clocks cannot be moved here.
async fn bed(backend: &str, store: Option<&Postgres>) -> Option<(Bed, MovedClock)> {
    let missing = clock::missing();
    missing.iter().for_each(Missing::leave_out);
    if missing.is_some() {
        return None;
    }
    let mut bed = Bed::new().await;
    bed.text("backend", backend);
    if let Some(postgres) = store {
        bed.text("store.url", &postgres.database().await);
    }
    let clock = MovedClock::new(&bed.path(""));
    Some((bed, clock))
}

/// A daemon with this clock.
async fn start(bed: &Bed, clock: &MovedClock) -> Daemon {
    let mut command = bed.config.serve();
    clock.attach(&mut command);
    bed.start_with(command).await
}

/// Starts it again after it was killed, or stopped.
async fn restart(daemon: &Daemon, signal: Signal) {
    daemon.end(signal).await;
    daemon.start_linked().await;
}

/// Sets the clock, and awaits that the daemon notices, if it goes by its own time.
async fn set(clock: &MovedClock, daemon: &Daemon, offset: i64, store: Option<&Postgres>) {
    if store.is_some() {
        clock.set_offset(offset);
        return;
    }
    let noticed = || daemon.log().matches(SET).count();
    let before = noticed();
    clock.set_offset(offset);
    let more = async || (noticed() > before).then_some(());
    eventually("the daemon notices", PATIENCE, more).await;
}

async fn clock_is(daemon: &Daemon, state: &str) {
    let (status, readiness) = daemon.readiness().await;
    assert_eq!(status, 200, "{readiness}");
    assert_eq!(readiness["clock"], state, "{readiness}");
}

/// The phone comes online.
fn returns(bed: &Bed) {
    bed.phone.behave(Behaviour::Conversations);
    bed.phone.announce();
}

/// Awaits a message among those that the phone refused before.
async fn arrives(bed: &mut Bed, payload: &[u8]) {
    while bed.arrived().await.payload != payload {}
}

/// Whether the message of this URL waits.
async fn waits(message: &str) -> bool {
    try_get(message).await.unwrap().status == 200
}

async fn delivered(message: &str) {
    let gone = async || (!waits(message).await).then_some(());
    eventually("the phone has it", PATIENCE, gone).await;
}

#[tokio::test]
async fn a_clock_before_the_release_is_waited_for() {
    let stores = stores().await;
    let each = |backend| stores.iter().map(move |store| (backend, store.as_ref()));
    for (backend, store) in BACKENDS.into_iter().flat_map(each) {
        let Some((mut bed, clock)) = bed(backend, store).await else {
            return;
        };
        let daemon = start(&bed, &clock).await;
        clock_is(&daemon, "ok").await;
        let endpoint = bed.register("app").await;
        bed.phone.behave(Behaviour::OFFLINE);
        let kept = post(&endpoint, &[("TTL", "3600")], b"kept").await;
        assert_eq!(kept.status, 201);
        daemon.stop().await;

        clock.set_offset(-AGES);
        daemon.start_linked().await;
        clock_is(&daemon, "wrong").await;
        let log = daemon.log();
        assert!(log.contains("clock says 1970-01-01T00:00:00Z"), "{log}");
        assert!(log.contains("timedatectl set-ntp true"), "{log}");
        let answer = post(&endpoint, &[("TTL", "3600")], b"too early").await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("60"));
        let refused = bed.phone.register("another app").await.unwrap_err();
        assert!(refused.is("wait", "internal-server-error"), "{refused:?}");
        let unknown = push(&bed.url("/push/no-token-of-ours")).await;
        assert_eq!(unknown, 404);
        returns(&bed);
        let result = r#"result="clock-wrong""#;
        assert_eq!(
            daemon.metric("unified_push_pushes_total", result).await,
            1.0
        );
        let message = kept.header("location").unwrap();
        assert!(waits(message).await, "nothing is forwarded yet");

        clock.set_offset(0);
        daemon.logged("the system's clock is set").await;
        clock_is(&daemon, "ok").await;
        arrives(&mut bed, b"kept").await;
        delivered(message).await;
        assert_eq!(push(&endpoint).await, 201);
        bed.register("another app").await;
        daemon.stop().await;
    }
}

#[tokio::test]
async fn endpoints_of_a_clock_that_was_behind_live_on_when_it_is_set() {
    let stores = stores().await;
    let each = |backend| stores.iter().map(move |store| (backend, store.as_ref()));
    for (backend, store) in BACKENDS.into_iter().flat_map(each) {
        for signal in [Signal::KILL, Signal::TERM] {
            let Some((bed, clock)) = bed(backend, store).await else {
                return;
            };
            clock.set_offset(-40 * DAY);
            let daemon = start(&bed, &clock).await;
            let endpoint = bed.register("app").await;
            assert_eq!(push(&endpoint).await, 201);
            set(&clock, &daemon, 0, store).await;
            assert_eq!(push(&endpoint).await, 201);
            restart(&daemon, signal).await;
            assert_eq!(push(&endpoint).await, 201, "{backend}");

            // Set while the daemon is down, too.
            daemon.end(signal).await;
            clock.set_offset(90 * DAY);
            daemon.start_linked().await;
            assert_eq!(push(&endpoint).await, 201, "{backend}");
            daemon.stop().await;
        }
    }
}

#[tokio::test]
async fn what_waits_survives_a_clock_that_is_set_to_and_fro() {
    for store in &stores().await {
        let store = store.as_ref();
        let Some((mut bed, clock)) = bed("paseto", store).await else {
            return;
        };
        let daemon = start(&bed, &clock).await;
        let endpoint = bed.register("app").await;
        bed.phone.behave(Behaviour::OFFLINE);
        let kept = post(&endpoint, &[("TTL", "3600")], b"kept").await;
        let message = kept.header("location").unwrap();
        for offset in [6 * HOUR, 0, -6 * HOUR, 0] {
            set(&clock, &daemon, offset, store).await;
            assert!(waits(message).await, "{offset}");
            // What is stored by each of these clocks takes the place of what was before.
            let topic = [("TTL", "3600"), ("Topic", "weather")];
            let answer = post(&endpoint, &topic, offset.to_string().as_bytes()).await;
            assert_eq!(answer.status, 201);
            // Which begins with a purge.
            restart(&daemon, Signal::KILL).await;
            assert!(waits(message).await, "{offset}");
        }
        let listed = bed.run(&["queue", "list"]).await.with(0);
        let row = listed.lines().find(|line| line.ends_with(OWNER)).unwrap();
        assert!(row.trim_start().starts_with("2 "), "{listed}");

        returns(&bed);
        arrives(&mut bed, b"kept").await;
        delivered(message).await;
        if store.is_none() {
            // Real time ends it: an hour in which the machine sleeps.
            bed.phone.behave(Behaviour::OFFLINE);
            let late = post(&endpoint, &[("TTL", "3600")], b"late").await;
            clock.pass(HOUR + 1);
            assert!(!waits(late.header("location").unwrap()).await);
        }
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_phone_that_was_off_for_20_days_has_lost_nothing_whatever_the_clock_did() {
    for backend in BACKENDS {
        let Some((mut bed, clock)) = bed(backend, None).await else {
            return;
        };
        let daemon = start(&bed, &clock).await;
        let endpoint = bed.register("app").await;
        // An hour before it would renew, which is a day before the expiry.
        clock.pass(6 * DAY - HOUR);
        assert_eq!(push(&endpoint).await, 201);
        bed.phone.behave(Behaviour::OFFLINE);
        let mut sent = Vec::new();
        for day in 1..=20_i64 {
            clock.pass(DAY);
            match day {
                3 => set(&clock, &daemon, 6 * HOUR, None).await,
                5 => set(&clock, &daemon, -40 * DAY, None).await,
                7 => restart(&daemon, Signal::KILL).await,
                9 => set(&clock, &daemon, 0, None).await,
                11 => {
                    daemon.stop().await;
                    clock.set_offset(40 * DAY);
                    daemon.start_linked().await;
                }
                13 => set(&clock, &daemon, 0, None).await,
                15 => restart(&daemon, Signal::TERM).await,
                _ => {}
            }
            let payload = format!("day {day}");
            let answer = post(&endpoint, &[("TTL", "2419200")], payload.as_bytes()).await;
            assert_eq!(
                answer.status,
                201,
                "{backend}, day {day}: {}",
                answer.text()
            );
            sent.push(answer.header("location").unwrap().to_owned());
        }
        returns(&bed);
        for message in &sent {
            delivered(message).await;
        }
        arrives(&mut bed, b"day 20").await;
        let renewed = bed.register("app").await;
        assert_eq!(renewed == endpoint, backend == "storage");
        for endpoint in [&renewed, &endpoint] {
            assert_eq!(push(endpoint).await, 201, "{backend}");
        }
        // The grace, which is what keeps the old one, does end.
        if backend != "storage" {
            clock.pass(16 * DAY);
            assert_eq!(push(&endpoint).await, 404, "{backend}");
            assert_eq!(push(&renewed).await, 201, "{backend}");
        }
        daemon.stop().await;
    }
}
