//! When a phone is tried; the test moves the time.

mod held;

use super::*;
use crate::model::{
    message::Topic,
    registration::{Digest, RegistrationKey},
};

const ROMEO: &str = "romeo@example.org/orchard";

/// When phones announce themselves.
const TIME: Timestamp = Timestamp::from_secs(100);

/// Takes the middle of every span.
struct Half;

impl Random for Half {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn phones() -> Phones {
    let phones = Phones::new(Arc::new(Half), &Metrics::new());
    phones.link_up(Instant::now());
    phones
}

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

/// One phone, and the present time.
struct Scene {
    phones: Phones,
    romeo: Jid,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        Self {
            phones: phones(),
            romeo: jid(ROMEO),
            now: Instant::now(),
        }
    }

    fn stored(&self) {
        self.phones.message_waits(&self.romeo, self.now);
    }

    /// Moves on to the first turn, which must be the phone's.
    fn due(&mut self) {
        loop {
            match self.phones.take_due(self.now) {
                Due::Phone(phone) => return assert_eq!(phone, self.romeo),
                Due::Later(at) => self.now = at.expect("the phone is to be tried"),
            }
        }
    }

    fn link_down(&self, secs: u64) -> Vec<Jid> {
        let time = Timestamp::from_secs(secs);
        let (lost, _) = self.phones.link_down(self.now, time);
        lost.into_iter().map(|(phone, _)| phone).collect()
    }

    fn release_later(&self, held: Held) {
        let first = First {
            held: Some(held),
            ..First::default()
        };
        self.phones.before_next_claim(&self.romeo, first);
    }

    fn claim(&self) -> Option<Held> {
        self.phones.about_to_claim(&self.romeo).held
    }

    fn end(&self, end: End) {
        self.phones.round_ended(&self.romeo, end, self.now);
    }

    /// How long until the phone is tried.
    fn wait(&self) -> Option<Duration> {
        let next = self.phones.next_turn(&self.romeo)?;
        Some(next.saturating_duration_since(self.now))
    }
}

fn secs(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

#[test]
fn each_failure_doubles_the_pause_up_to_a_quarter_of_an_hour() {
    let mut scene = Scene::new();
    scene.phones.failed(&scene.romeo, scene.now);
    let mut pauses = vec![scene.wait()];
    for _ in 0..9 {
        scene.due();
        scene.end(End::Failed);
        pauses.push(scene.wait());
    }
    let expected = [5, 10, 20, 40, 80, 160, 320, 640, 900, 900].map(secs);
    assert_eq!(pauses, expected);
    scene.phones.spoke(scene.romeo.as_str(), scene.now);
    assert_eq!(scene.wait(), Some(LEAST_PAUSE));
    scene.due();
    scene.claim();
    scene.end(End::Failed);
    assert_eq!(scene.wait(), secs(5));
}

/// One that refuses each message and announces itself, before its refusal or after it, is not tried
/// thousands of times a second.
#[test]
fn an_error_is_followed_by_a_pause_whatever_the_phone_says() {
    let mut scene = Scene::new();
    scene.phones.message_waits(&scene.romeo, scene.now);
    for _ in 0..3 {
        scene.due();
        scene.claim();
        scene.phones.available(&scene.romeo, scene.now, TIME);
        scene.end(End::Failed);
        scene.phones.available(&scene.romeo, scene.now, TIME);
        scene.phones.spoke(scene.romeo.as_str(), scene.now);
        scene.phones.registered(&scene.romeo, scene.now);
        assert_eq!(scene.wait(), Some(LEAST_PAUSE));
    }
}

#[test]
fn several_errors_of_one_pause_are_one() {
    let mut scene = Scene::new();
    for _ in 0..5 {
        scene.phones.failed(&scene.romeo, scene.now);
    }
    assert_eq!(scene.wait(), secs(5));
    scene.due();
    for _ in 0..5 {
        scene.phones.failed(&scene.romeo, scene.now);
    }
    // What is held still waits for long.
    scene.end(End::Later(scene.now + HOLD));
    assert_eq!(scene.wait(), secs(10));
    scene.due();
    scene.end(End::Later(scene.now + HOLD));
    scene.phones.failed(&scene.romeo, scene.now);
    assert_eq!(scene.wait(), secs(10), "what has come back is tried soon");
}

#[test]
fn a_new_link_ends_the_rest_but_the_next_error_still_doubles_the_pause() {
    let mut scene = Scene::new();
    scene.phones.failed(&scene.romeo, scene.now);
    scene.link_down(100);
    scene.phones.link_up(scene.now);
    assert_eq!(scene.wait(), secs(0));
    scene.due();
    scene.end(End::Failed);
    assert_eq!(scene.wait(), secs(10));
}

#[test]
fn phones_are_tried_one_after_the_other_when_the_link_is_back() {
    let phones = phones();
    let start = Instant::now();
    phones.link_down(Instant::now(), Timestamp::from_secs(100));
    for number in 0..1000 {
        phones.message_waits(&jid(&format!("romeo@example.org/{number}")), start);
    }
    assert_eq!(phones.take_due(start), Due::Later(None), "no link");
    phones.link_up(start);
    for number in 0..1000 {
        let at = start + PACE * number;
        assert!(matches!(phones.take_due(at), Due::Phone(_)));
        let next = (number < 999).then_some(at + PACE);
        assert_eq!(phones.take_due(at), Due::Later(next));
    }
}

#[test]
fn what_is_stored_after_the_store_was_asked_is_asked_for_again() {
    let mut scene = Scene::new();
    scene.stored();
    scene.due();
    scene.claim();
    scene.stored();
    scene.end(End::Empty);
    assert_eq!(scene.wait(), secs(0));
    scene.due();
    scene.claim();
    scene.end(End::Empty);
    assert!(!scene.phones.must_wait(&scene.romeo));
    assert_eq!(scene.phones.waiting.get(), 0);
}

#[test]
fn a_phone_that_comes_after_the_store_was_asked_is_tried_again() {
    let mut scene = Scene::new();
    scene.stored();
    scene.due();
    scene.claim();
    scene.phones.available(&scene.romeo, scene.now, TIME);
    scene.end(End::Later(scene.now + HOLD));
    assert_eq!(scene.wait(), secs(0));
}

#[test]
fn a_stanza_of_the_phone_during_an_attempt_keeps_it_from_being_quiet() {
    let mut scene = Scene::new();
    scene.stored();
    for (speaks, expected) in [(false, HOLD), (true, Duration::ZERO)] {
        scene.due();
        scene.claim();
        if speaks {
            scene.phones.spoke(scene.romeo.as_str(), scene.now);
        }
        scene.end(End::Unanswered);
        assert_eq!(scene.wait(), Some(expected));
    }
}

#[test]
fn an_account_is_its_own_resources_and_no_others() {
    let phones = phones();
    for phone in [
        "romeo@example.org",
        "romeo@example.org/a",
        "romeo@example.org/0",
        "romeo@example.org.example.net/a",
        "romeo@example.orga/a",
        "romeo2@example.org/a",
    ] {
        phones.left_unanswered(&jid(phone), Instant::now());
    }
    let table = phones.table.lock();
    let account = table.account_of(&jid("romeo@example.org/other"));
    let names: Vec<&str> = account.iter().map(|name| &**name).collect();
    let expected = [
        "romeo@example.org",
        "romeo@example.org/0",
        "romeo@example.org/a",
    ];
    assert_eq!(names, expected);
}

#[test]
fn an_error_during_an_attempt_is_not_forgotten() {
    let mut scene = Scene::new();
    let later = End::Later(scene.now + HOLD);
    for (end, expected) in [
        (End::Unanswered, secs(5)),
        (later, secs(10)),
        (End::Failed, secs(40)),
    ] {
        scene.stored();
        scene.due();
        scene.claim();
        // The late error of the very message whose hold is being written.
        scene.phones.failed(&scene.romeo, scene.now);
        scene.end(end);
        assert_eq!(scene.wait(), expected, "{end:?}");
    }
}

#[test]
fn what_is_stored_waits_only_for_a_phone_that_is_left_alone() {
    let mut scene = Scene::new();
    let later = End::Later(scene.now + HOLD);
    let mut waits = Vec::new();
    for end in [later, End::Unanswered, End::Failed] {
        scene.phones.spoke(scene.romeo.as_str(), scene.now);
        scene.stored();
        scene.due();
        scene.claim();
        scene.end(end);
        scene.stored();
        waits.push(scene.wait());
    }
    assert_eq!(waits, [secs(0), Some(HOLD), secs(5)]);
}

#[test]
fn no_phone_is_quiet_on_a_new_link() {
    let mut scene = Scene::new();
    scene.phones.left_unanswered(&scene.romeo, scene.now);
    scene.link_down(100);
    scene.phones.link_up(scene.now);
    assert_eq!(scene.wait(), secs(0));
    scene.due();
    scene.claim();
    scene.end(End::Later(scene.now + HOLD));
    scene.stored();
    assert_eq!(scene.wait(), secs(0));
}

#[test]
fn the_latest_push_that_overtook_a_topic_counts() {
    let mut scene = Scene::new();
    let overtook = |topic: &str, before| {
        let overtaken = Overtaken {
            endpoint: RegistrationKey {
                owner: scene.romeo.to_bare(),
                application: Digest::from_bytes([1; 32]),
                instance: Digest::from_bytes([2; 32]),
            },
            topic: Topic::parse(topic.as_bytes()).unwrap(),
            before: Timestamp::from_secs(before),
        };
        let romeo = &scene.romeo;
        scene.phones.overtook(romeo, overtaken.clone(), scene.now);
        overtaken
    };
    overtook("mail", 2);
    let [mail, chat] = [overtook("mail", 3), overtook("chat", 1)];
    overtook("mail", 1);
    assert!(
        !scene.phones.must_wait(&scene.romeo),
        "nothing is known to wait"
    );
    let before = scene.now;
    scene.due();
    assert_eq!(scene.now, before, "the store is told at once");
    let first = scene.phones.about_to_claim(&scene.romeo);
    assert_eq!(first.overtaken, [mail, chat]);
    scene.phones.before_next_claim(&scene.romeo, first);
    let again = scene.phones.about_to_claim(&scene.romeo);
    assert_eq!(again.overtaken.len(), 2, "it could not be told");
    let once = scene.phones.about_to_claim(&scene.romeo);
    assert_eq!(once, First::default());
}

#[test]
fn nothing_is_sent_while_a_push_passes_it_nor_the_other_way_round() {
    let mut scene = Scene::new();
    assert!(scene.phones.pass(&scene.romeo));
    assert!(scene.phones.pass(&scene.romeo));
    scene.phones.may_have_messages(&scene.romeo);
    scene.phones.available(&scene.romeo, scene.now, TIME);
    scene.due();
    assert!(scene.phones.gives_way(&scene.romeo));
    scene.end(End::Later(scene.now + HOLD));
    assert!(!scene.phones.pass(&scene.romeo), "it would never end");

    scene.phones.passed(&scene.romeo, scene.now);
    assert_eq!(scene.wait(), Some(HOLD), "the other one does still");
    scene.phones.passed(&scene.romeo, scene.now);
    scene.due();
    assert!(!scene.phones.gives_way(&scene.romeo));
    scene.claim();
    scene.end(End::Empty);
    assert!(scene.phones.pass(&scene.romeo));
    scene.phones.passed(&scene.romeo, scene.now);

    scene.phones.may_have_messages(&scene.romeo);
    scene.phones.available(&scene.romeo, scene.now, TIME);
    scene.due();
    assert!(!scene.phones.pass(&scene.romeo), "it is being looked for");
}
