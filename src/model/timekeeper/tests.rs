use super::*;
use crate::model::{leads, time::ManualSource};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86400);
const WEEK: Duration = LONGEST_ABSENCE;
/// Some instant after the release.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn begun(source: &ManualSource) -> Timekeeper {
    Timekeeper::new(source.clone(), Origin::Own(None))
}

/// After a restart of the daemon.
fn restarted(source: &ManualSource, kept: &Kept) -> Timekeeper {
    Timekeeper::new(source.clone(), Origin::Own(Some(kept.clone())))
}

#[test]
fn it_is_the_systems_clock_while_nobody_sets_that() {
    let source = ManualSource::new(NOW);
    let keeper = begun(&source);
    assert_eq!((keeper.now(), keeper.wall()), (NOW, Some(NOW)));
    source.pass(10 * DAY);
    let later = NOW.saturating_add(10 * DAY);
    assert_eq!((keeper.now(), keeper.wall()), (later, Some(later)));
    assert_eq!(keeper.to_wall(later), later);
    assert_eq!(keeper.to_ours(later, NOW), later);
}

#[test]
fn it_goes_on_evenly_when_the_clock_is_set() {
    let source = ManualSource::new(NOW);
    let keeper = begun(&source);
    let mut expected = NOW;
    for wall in [
        NOW.saturating_add(6 * HOUR),
        NOW,
        NOW.saturating_sub(30 * DAY),
        NOW.saturating_add(3650 * DAY),
        Timestamp::from_secs(5),
        NOW,
    ] {
        source.set(wall);
        assert_eq!(keeper.now(), expected);
        // Nobody is told a time that is certainly wrong.
        assert_eq!(keeper.wall(), (wall >= RELEASED).then_some(wall));
        source.pass(HOUR);
        expected = expected.saturating_add(HOUR);
        assert_eq!(keeper.now(), expected);
    }
}

#[test]
fn what_was_told_by_a_wrong_clock_is_understood() {
    // Behind, and then right; ahead, and then right.
    for (before, after) in [
        (NOW.saturating_sub(40 * DAY), NOW),
        (NOW.saturating_add(3650 * DAY), NOW),
    ] {
        let source = ManualSource::new(before);
        let keeper = begun(&source);
        let issued = keeper.now();
        let told = keeper.wall().unwrap().saturating_add(WEEK);
        source.pass(HOUR);
        source.set(after);
        assert_eq!(keeper.wall(), Some(after));
        // A week for us, less the hour that has passed.
        let end = keeper.to_ours(told, issued);
        assert_eq!(keeper.now().until(end), WEEK - HOUR);
        assert_eq!(keeper.to_wall(end), after.saturating_add(WEEK - HOUR));

        source.pass(DAY);
        let told = keeper.wall().unwrap().saturating_add(WEEK);
        let end = keeper.to_ours(told, keeper.now());
        assert_eq!(keeper.now().until(end), WEEK);
    }
}

#[test]
fn a_clock_before_the_release_is_waited_for() {
    let source = ManualSource::new(Timestamp::from_secs(5));
    let keeper = begun(&source);
    for _ in 0..3 {
        assert!(!keeper.begin() && !keeper.has_begun());
        assert_eq!((keeper.wall(), keeper.kept()), (None, None));
        source.pass(HOUR);
    }
    source.set(NOW);
    assert!(keeper.begin() && keeper.has_begun());
    assert!(!keeper.begin(), "only once");
    assert_eq!((keeper.now(), keeper.wall()), (NOW, Some(NOW)));
}

#[test]
fn nothing_passes_while_it_waits_after_a_restart() {
    let source = ManualSource::new(NOW);
    let kept = begun(&source).kept().unwrap();
    source.boot();
    source.set(Timestamp::from_secs(5));
    let keeper = restarted(&source, &kept);
    source.pass(HOUR);
    assert!(!keeper.begin());
    assert_eq!(keeper.now(), NOW);
    source.set(NOW.saturating_add(2 * HOUR));
    assert!(keeper.begin());
    assert_eq!(keeper.now(), NOW.saturating_add(2 * HOUR));
}

#[test]
fn while_the_computer_runs_a_restart_of_the_daemon_hides_nothing() {
    let source = ManualSource::new(NOW.saturating_sub(40 * DAY));
    let keeper = begun(&source);
    let issued = keeper.now();
    let told = keeper.wall().unwrap().saturating_add(WEEK);
    let kept = keeper.kept().unwrap();
    // It is killed, not stopped: some time passes that was not kept.
    source.pass(MINUTE);
    source.set(NOW);
    let keeper = restarted(&source, &kept);
    assert_eq!(keeper.now(), issued.saturating_add(MINUTE));
    let end = keeper.to_ours(told, issued);
    assert_eq!(keeper.now().until(end), WEEK - MINUTE);
    assert_eq!(keeper.wall(), Some(NOW));
}

#[test]
fn after_a_boot_the_clock_tells_how_long_the_computer_was_off() {
    let source = ManualSource::new(NOW);
    let kept = begun(&source).kept().unwrap();
    source.pass(2 * DAY);
    source.boot();
    let later = NOW.saturating_add(2 * DAY);
    assert_eq!(restarted(&source, &kept).now(), later);
    source.hide_boots();
    assert_eq!(restarted(&source, &kept).now(), later);
}

#[test]
fn a_clock_that_stood_still_while_the_computer_was_off_is_behind_at_first() {
    let source = ManualSource::new(NOW);
    let kept = begun(&source).kept().unwrap();
    source.boot();
    // It may even go back to when it was saved last.
    source.set(NOW.saturating_sub(HOUR));
    let keeper = restarted(&source, &kept);
    let start = keeper.now();
    assert_eq!(start, NOW.saturating_add(KEEP_EVERY));
    source.set(NOW.saturating_add(90 * DAY));
    assert_eq!(keeper.now(), start);
}

#[test]
fn no_absence_counts_for_more_than_a_week() {
    for same_boot in [true, false] {
        let source = ManualSource::new(NOW);
        let kept = begun(&source).kept().unwrap();
        source.pass(40 * DAY);
        if !same_boot {
            source.boot();
        }
        let keeper = restarted(&source, &kept);
        assert_eq!(keeper.now(), NOW.saturating_add(WEEK));
        // What was issued before is as old as our time says.
        let told = NOW.saturating_add(8 * DAY);
        let end = keeper.to_ours(told, NOW);
        assert_eq!(keeper.now().until(end), DAY);
    }
}

#[test]
fn what_was_issued_just_before_a_crash_lives_no_shorter() {
    for jump in [40 * DAY, HOUR] {
        // Ahead; set right, and killed before that was kept.
        let source = ManualSource::new(NOW.saturating_add(jump));
        let keeper = begun(&source);
        let kept = keeper.kept().unwrap();
        source.pass(MINUTE);
        source.set(NOW);
        let issued = keeper.now();
        let told = keeper.wall().unwrap().saturating_add(WEEK);
        source.pass(MINUTE);
        let keeper = restarted(&source, &kept);
        let end = keeper.to_ours(told, issued);
        assert_eq!(keeper.now().until(end), WEEK - MINUTE);
    }
}

#[test]
fn what_has_no_date_of_issue_lives_as_long_as_can_be() {
    let source = ManualSource::new(NOW.saturating_add(40 * DAY));
    let keeper = begun(&source);
    source.set(NOW);
    keeper.wall();
    let told = NOW.saturating_add(WEEK);
    let end = keeper.to_ours(told, Timestamp::from_millis(0));
    assert_eq!(keeper.now().until(end), WEEK);
}

#[test]
fn a_clock_that_is_set_all_the_time_fills_no_memory() {
    let source = ManualSource::new(NOW);
    let keeper = begun(&source);
    let told = NOW.saturating_add(WEEK);
    for number in 0..10 * leads::MOST {
        source.set(if number % 2 == 0 { NOW } else { told });
        keeper.wall();
        source.pass(MINUTE);
    }
    let kept = keeper.kept().unwrap();
    assert_eq!(kept.leads.count(), leads::MOST);
    assert!(keeper.to_ours(told, NOW) >= told);
}

#[test]
fn those_who_share_a_store_go_by_the_wall_clock() {
    let source = ManualSource::new(Timestamp::from_secs(5));
    let keeper = Timekeeper::new(source.clone(), Origin::Wall);
    assert!(!keeper.has_begun());
    source.set(NOW);
    assert!(keeper.begin());
    let later = NOW.saturating_add(DAY);
    source.set(later);
    assert_eq!((keeper.now(), keeper.wall()), (later, Some(later)));
    assert_eq!(keeper.kept(), None);
}

#[test]
fn it_is_kept_now_and_then_and_when_the_clock_was_set() {
    let source = ManualSource::new(NOW);
    let keeper = begun(&source);
    let stored = keeper.kept().unwrap();
    source.pass(KEEP_EVERY - MINUTE);
    let next = keeper.kept().unwrap();
    assert!(!next.is_news_after(&stored) && !next.knows_more_leads_than(&stored));
    // Less is not worth a note.
    source.set(keeper.now().saturating_add(MINUTE));
    assert!(!keeper.kept().unwrap().is_news_after(&stored));
    source.set(keeper.now().saturating_add(HOUR));
    let next = keeper.kept().unwrap();
    assert!(next.is_news_after(&stored) && next.knows_more_leads_than(&stored));
    source.pass(KEEP_EVERY);
    let later = keeper.kept().unwrap();
    assert!(later.is_news_after(&next) && !later.knows_more_leads_than(&next));
}
