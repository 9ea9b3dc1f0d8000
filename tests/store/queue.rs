//! The messages that wait for their phones.

use unified_push::store::Store;

use crate::{Test, tests};

pub fn tests() -> Vec<Test> {
    tests![nothing_waits_at_first]
}

async fn nothing_waits_at_first(store: &Store) {
    assert!(store.owners_waiting(None, 10).await.unwrap().is_empty());
    let sizes = store.sizes().await.unwrap();
    assert_eq!(
        (sizes.queued, sizes.queued_bytes, sizes.oldest),
        (0, 0, None)
    );
}
