//! SQLite answers as the plain list does that the store's own tests compare it with.

use proptest::{
    collection::vec,
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use ring::digest::{SHA256, digest};
use tempfile::TempDir;
use unified_push::store::Store;

use crate::{operations::compare, strategy::operation, wait};

struct Opened {
    store: Store,
    _dir: TempDir,
}

thread_local!(static OPENED: Opened = {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path()).expect("a store");
    Opened { store, _dir: dir }
});

/// The bytes are the seed that operations are drawn by: drawn from the bytes themselves, they would not end
/// when the bytes do.
pub fn run(data: &[u8]) {
    let seed = digest(&SHA256, data);
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, seed.as_ref());
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let Ok(operations) = vec(operation(), 1..40).new_tree(&mut runner) else {
        return;
    };
    OPENED.with(|opened| wait(compare(&opened.store, &operations.current())));
}
