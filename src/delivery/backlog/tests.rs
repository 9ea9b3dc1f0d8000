//! When a phone is tried, by the paused clock.

use std::time::Duration;

use super::*;

const ROMEO: &str = "romeo@example.org/orchard";

/// Takes the middle of every span.
struct Half;

impl Random for Half {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn backlog() -> Backlog {
    let gauge = IntGauge::new("phones", "test").unwrap();
    let backlog = Backlog::new(Arc::new(Half), gauge);
    backlog.link_up();
    backlog
}

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

/// How long until a phone is tried.
fn wait(backlog: &Backlog, phone: &str) -> Option<Duration> {
    let next = backlog.next(&jid(phone))?;
    Some(next.saturating_duration_since(Instant::now()))
}

fn secs(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

#[tokio::test(start_paused = true)]
async fn each_failure_doubles_the_pause_up_to_a_quarter_of_an_hour() {
    let backlog = backlog();
    let phone = jid(ROMEO);
    backlog.failed(&phone);
    let mut pauses = vec![wait(&backlog, ROMEO)];
    for _ in 0..9 {
        assert_eq!(backlog.due().await, phone);
        backlog.end(&phone, End::Failed);
        pauses.push(wait(&backlog, ROMEO));
    }
    let expected = [5, 10, 20, 40, 80, 160, 320, 640, 900, 900].map(secs);
    assert_eq!(pauses, expected);
    backlog.heard(&phone);
    assert_eq!(backlog.due().await, phone);
    backlog.look(&phone);
    backlog.end(&phone, End::Failed);
    assert_eq!(wait(&backlog, ROMEO), secs(5));
}

#[tokio::test(start_paused = true)]
async fn phones_are_tried_one_after_the_other_when_the_link_is_back() {
    let backlog = backlog();
    backlog.link_down(EVER);
    for number in 0..1000 {
        backlog.stored(&jid(&format!("romeo@example.org/{number}")), Instant::now());
    }
    assert_eq!(wait(&backlog, "romeo@example.org/0"), None, "no link");
    let start = Instant::now();
    backlog.link_up();
    for _ in 0..1000 {
        backlog.due().await;
    }
    assert_eq!(start.elapsed().as_millis(), 999 * 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_during_the_look_at_the_store_is_looked_for_again() {
    let backlog = backlog();
    let phone = jid(ROMEO);
    backlog.stored(&phone, Instant::now());
    assert_eq!(backlog.due().await, phone);
    backlog.look(&phone);
    backlog.stored(&phone, Instant::now());
    backlog.end(&phone, End::Empty);
    assert_eq!(backlog.due().await, phone);
    backlog.look(&phone);
    backlog.end(&phone, End::Empty);
    assert!(!backlog.contains(&phone));
    assert_eq!(backlog.gauge.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_comes_during_the_look_is_looked_at_again() {
    let backlog = backlog();
    let phone = jid(ROMEO);
    backlog.stored(&phone, Instant::now());
    assert_eq!(backlog.due().await, phone);
    backlog.look(&phone);
    backlog.announced(&phone);
    backlog.end(&phone, End::Later(Instant::now() + HOLD));
    assert_eq!(wait(&backlog, ROMEO), secs(0));
}

#[tokio::test(start_paused = true)]
async fn a_word_of_the_phone_during_an_attempt_keeps_it_from_being_quiet() {
    let backlog = backlog();
    let phone = jid(ROMEO);
    backlog.stored(&phone, Instant::now());
    for (word, expected) in [(false, HOLD), (true, Duration::ZERO)] {
        assert_eq!(backlog.due().await, phone);
        backlog.look(&phone);
        if word {
            backlog.heard(&phone);
        }
        backlog.end(&phone, End::Unanswered);
        assert_eq!(wait(&backlog, ROMEO), Some(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_is_its_own_resources_and_no_others() {
    let backlog = backlog();
    for phone in [
        "romeo@example.org",
        "romeo@example.org/a",
        "romeo@example.org/0",
        "romeo@example.org.example.net/a",
        "romeo@example.orga/a",
        "romeo2@example.org/a",
    ] {
        backlog.unanswered(&jid(phone));
    }
    let table = backlog.lock();
    let account = table.account_of(&jid("romeo@example.org/other"));
    let names: Vec<&str> = account.iter().map(|name| &**name).collect();
    let expected = [
        "romeo@example.org",
        "romeo@example.org/0",
        "romeo@example.org/a",
    ];
    assert_eq!(names, expected);
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_comes_is_tried_at_once_and_its_held_messages_with_it() {
    let backlog = backlog();
    let phone = jid(ROMEO);
    backlog.unanswered(&phone);
    assert_eq!(wait(&backlog, ROMEO), Some(HOLD));
    backlog.announced(&phone);
    assert_eq!(backlog.due().await, phone);
    assert_eq!(backlog.look(&phone), Some(EVER));
    assert_eq!(backlog.look(&phone), None, "once");
}

#[tokio::test(start_paused = true)]
async fn a_bounce_during_an_attempt_is_not_forgotten() {
    let backlog = backlog();
    let phone = jid(ROMEO);
    for (end, expected) in [
        (End::Unanswered, secs(5)),
        (End::Later(Instant::now() + HOLD), secs(10)),
        (End::Failed, secs(40)),
    ] {
        backlog.stored(&phone, Instant::now());
        assert_eq!(backlog.due().await, phone);
        backlog.look(&phone);
        // The late error of the very message whose hold is being written.
        backlog.failed(&phone);
        backlog.end(&phone, end);
        assert_eq!(wait(&backlog, ROMEO), expected, "{end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_waits_only_for_a_phone_that_is_left_alone() {
    let backlog = backlog();
    let phone = jid(ROMEO);
    let now = Instant::now();
    let mut waits = Vec::new();
    for end in [End::Later(now + HOLD), End::Unanswered, End::Failed] {
        backlog.heard(&phone);
        backlog.stored(&phone, now);
        assert_eq!(backlog.due().await, phone);
        backlog.look(&phone);
        backlog.end(&phone, end);
        backlog.stored(&phone, now);
        waits.push(wait(&backlog, ROMEO));
    }
    assert_eq!(waits, [secs(0), Some(HOLD), secs(5)]);
}

#[tokio::test(start_paused = true)]
async fn no_phone_is_quiet_on_a_new_link() {
    let backlog = backlog();
    let phone = jid(ROMEO);
    backlog.unanswered(&phone);
    backlog.link_down(EVER);
    backlog.link_up();
    assert_eq!(backlog.due().await, phone);
    backlog.look(&phone);
    backlog.end(&phone, End::Later(Instant::now() + HOLD));
    backlog.stored(&phone, Instant::now());
    assert_eq!(wait(&backlog, ROMEO), secs(0));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_released_is_not_tried_without_a_pause() {
    let backlog = backlog();
    let phone = jid(ROMEO);
    backlog.unanswered(&phone);
    backlog.announced(&phone);
    assert_eq!(backlog.due().await, phone);
    assert_eq!(backlog.look(&phone), Some(EVER));
    backlog.release_later(&phone, EVER);
    backlog.end(&phone, End::Later(Instant::now() + FIRST_PAUSE));
    assert_eq!(wait(&backlog, ROMEO), secs(5));
    assert_eq!(backlog.look(&phone), Some(EVER));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_lost_releases_what_was_sent_last() {
    let backlog = backlog();
    let phone = jid(ROMEO);
    let since = Timestamp::from_secs;
    backlog.unanswered(&phone);
    backlog.link_down(since(7));
    backlog.link_up();
    backlog.link_down(since(9));
    assert_eq!(backlog.look(&phone), Some(since(7)));
    backlog.release_later(&phone, since(7));
    backlog.announced(&phone);
    assert_eq!(backlog.look(&phone), Some(EVER));
}

/// Presence comes on the link's task, the look at the store on another.
#[test]
fn an_announcement_releases_what_is_held_whenever_it_comes() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for round in 0..20_000 {
            let backlog = Arc::new(backlog());
            let phone = jid(ROMEO);
            let far = Instant::now() + HOLD;
            backlog.stored(&phone, far);
            let forwarder = {
                let (backlog, phone) = (backlog.clone(), phone.clone());
                tokio::spawn(async move {
                    backlog.due().await;
                    let released = backlog.look(&phone).is_some();
                    // What waits is held still.
                    if !released {
                        backlog.end(&phone, End::Later(far));
                    }
                    released
                })
            };
            tokio::task::yield_now().await;
            backlog.announced(&phone);
            let released = forwarder.await.unwrap();
            let soon = backlog.next(&phone).is_some_and(|next| next < far);
            assert!(
                released || soon,
                "round {round}: held for a quarter of an hour"
            );
        }
    });
}
