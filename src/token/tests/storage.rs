//! What the back end `storage` keeps to: the same URL while it lives, and so many for each account.

use super::*;

#[tokio::test]
async fn storage_gives_the_same_url_while_it_lives_and_never_after() {
    let rig = Rig::new(Backend::Storage).await;
    let first = rig.issue().await;
    rig.tokens.open(&first).await.unwrap();
    rig.clock.advance(Duration::from_secs(3600));
    assert_eq!(
        issue(&rig.tokens, "romeo@example.org/balcony", 1).await,
        first
    );
    let opened = opened(&rig.tokens, &first).await;
    assert_eq!(opened.owner.as_str(), "romeo@example.org/balcony");
    assert_eq!(opened.issued, rig.clock.now());

    rig.clock.advance(WEEK);
    let second = rig.issue().await;
    assert_ne!(second, first);
    assert_dead(rig.tokens.open(&first).await);
    // Known to have been ours even when nothing is left of it.
    rig.tokens.purge().await.unwrap();
    assert_dead(rig.tokens.open(&first).await);
    let restarted = rig
        .rotated(Backend::Storage, Keyring::new(&secret(), &[]))
        .await;
    let inspection = restarted.inspect(&first).await.unwrap();
    assert_eq!(inspection.endpoint, None);
    let Sizes { registrations, .. } = rig.tokens.0.store.sizes().await.unwrap();
    assert_eq!(registrations, 1);
}

#[tokio::test]
async fn at_the_limit_what_was_renewed_longest_ago_gives_way() {
    const HOUR: Duration = Duration::from_secs(3600);
    let rig = Rig::new(Backend::Storage).await;
    let keyring = Keyring::new(&secret(), &[]);
    let store = &rig.tokens.0.store;
    let tokens = limited(store, &rig.clock, Backend::Storage, keyring, 2).await;
    let jid = Jid::new("romeo@example.org/orchard").unwrap();
    let ask = async |app: u8| {
        let instance = Digest::from_bytes([2; 32]);
        tokens
            .issue(&jid, Digest::from_bytes([app; 32]), instance, None)
            .await
    };
    let first = ask(1).await.unwrap();
    rig.clock.advance(HOUR);
    let second = ask(2).await.unwrap();
    tokens.open(&first.token).await.unwrap();
    rig.clock.advance(22 * HOUR);
    assert!(matches!(ask(3).await, Err(IssueError::TooMany)));

    // A renewal puts it off.
    assert_eq!(ask(1).await.unwrap().token, first.token);
    rig.clock.advance(HOUR);
    assert!(matches!(ask(3).await, Err(IssueError::TooMany)));
    rig.clock.advance(HOUR);
    let third = ask(3).await.unwrap();
    assert_eq!(third.displaced, Some(0));
    assert_dead(tokens.open(&second.token).await);
    for living in [&first, &third] {
        tokens.open(&living.token).await.unwrap();
    }
    assert!(matches!(ask(2).await, Err(IssueError::TooMany)));
    let juliet = Jid::new("juliet@example.org/x").unwrap();
    let digest = Digest::from_bytes([2; 32]);
    tokens.issue(&juliet, digest, digest, None).await.unwrap();
}
