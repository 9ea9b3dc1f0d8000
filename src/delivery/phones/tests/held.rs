//! When the messages that are held are released.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{super::pause::FIRST_PAUSE, *};

#[test]
fn a_phone_that_comes_is_tried_at_once_and_its_held_messages_with_it() {
    let mut scene = Scene::new();
    scene.phones.left_unanswered(&scene.romeo, scene.now);
    assert_eq!(scene.wait(), Some(HOLD));
    scene.phones.available(&scene.romeo, scene.now, TIME);
    assert_eq!(scene.wait(), secs(0));
    scene.due();
    assert_eq!(scene.claim(), Some(Held::until(TIME)));
    assert_eq!(scene.claim(), None, "once");
}

#[test]
fn what_cannot_be_released_is_not_tried_without_a_pause() {
    let mut scene = Scene::new();
    scene.phones.left_unanswered(&scene.romeo, scene.now);
    scene.phones.available(&scene.romeo, scene.now, TIME);
    scene.due();
    assert_eq!(scene.claim(), Some(Held::until(TIME)));
    scene.release_later(Held::until(TIME));
    scene.end(End::Later(scene.now + FIRST_PAUSE));
    assert_eq!(scene.wait(), secs(5));
    assert_eq!(scene.claim(), Some(Held::until(TIME)));
}

#[test]
fn a_link_that_is_lost_releases_what_was_sent_last() {
    let scene = Scene::new();
    let lost = |secs| {
        scene.link_down(secs);
        scene.phones.link_up(scene.now);
    };
    scene.phones.left_unanswered(&scene.romeo, scene.now);
    lost(67);
    lost(69);
    let held = Held {
        since: Timestamp::from_secs(7),
        until: Timestamp::from_millis(67_500),
    };
    assert_eq!(scene.claim(), Some(held), "a minute before the first loss");
    scene.release_later(held);
    scene.phones.available(&scene.romeo, scene.now, TIME);
    assert_eq!(scene.claim(), Some(Held::until(TIME)));
}

/// Presence comes on the link's task, the forwarder is another.
#[test]
fn an_announcement_releases_what_is_held_whenever_it_comes() {
    let (metrics, romeo, now) = (Metrics::new(), &jid(ROMEO), Instant::now());
    let far = now + HOLD;
    for round in 0..20_000 {
        let phones = &Phones::new(Arc::new(Half), &metrics);
        phones.link_up(now);
        let started = &AtomicBool::new(false);
        phones.message_waits(romeo, far);
        let released = std::thread::scope(|scope| {
            let forwarder = scope.spawn(|| {
                started.store(true, Ordering::Relaxed);
                while let Due::Later(_) = phones.take_due(now) {
                    std::thread::yield_now();
                }
                let released = phones.about_to_claim(romeo).held.is_some();
                // What waits is held still.
                if !released {
                    phones.round_ended(romeo, End::Later(far), now);
                }
                released
            });
            while !started.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            phones.available(romeo, now, TIME);
            forwarder.join().unwrap()
        });
        let soon = phones.next_turn(romeo).is_some_and(|next| next < far);
        assert!(
            released || soon,
            "round {round}: held for a quarter of an hour"
        );
    }
}

#[test]
fn a_lost_link_tells_who_was_lately_left_unanswered() {
    let mut scene = Scene::new();
    scene.stored();
    assert!(scene.link_down(100).is_empty(), "it is not quiet");
    scene.phones.link_up(scene.now);
    scene.phones.left_unanswered(&scene.romeo, scene.now);
    scene.now += first::DOUBTFUL;
    assert_eq!(scene.link_down(200), [scene.romeo.clone()]);
    scene.phones.link_up(scene.now);
    scene.phones.left_unanswered(&scene.romeo, scene.now);
    scene.phones.spoke(scene.romeo.as_str(), scene.now);
    assert_eq!(
        scene.link_down(250),
        [scene.romeo.clone()],
        "what it left unanswered is held still"
    );
    scene.phones.link_up(scene.now);
    scene.phones.left_unanswered(&scene.romeo, scene.now);
    scene.now += first::DOUBTFUL + Duration::from_secs(1);
    assert!(
        scene.link_down(300).is_empty(),
        "what waits is held no more"
    );
}

#[test]
fn what_another_replica_holds_is_released_when_the_phone_announces_itself() {
    let mut scene = Scene::new();
    scene.phones.available(&scene.romeo, scene.now, TIME);
    assert_eq!(
        scene.phones.take_due(scene.now),
        Due::Later(None),
        "nothing is known"
    );

    scene.phones.may_have_messages(&scene.romeo);
    assert!(!scene.phones.must_wait(&scene.romeo));
    scene.phones.available(&scene.romeo, scene.now, TIME);
    scene.due();
    assert_eq!(scene.claim(), Some(Held::until(TIME)));
    scene.phones.surely_has_messages(&scene.romeo);
    assert!(
        scene.phones.must_wait(&scene.romeo),
        "nothing is sent past it"
    );
    scene.end(End::Empty);
    assert!(!scene.phones.must_wait(&scene.romeo));
}
