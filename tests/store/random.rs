//! Random operations on a store and on a plain list get the same answers.

use proptest::{
    collection::vec,
    test_runner::{Config, TestRunner},
};
use testbed::tests;
use tokio::{runtime::Handle, task::block_in_place};
use unified_push::store::Store;

use crate::{Test, operations::compare, strategy::operation};

pub fn tests() -> Vec<Test> {
    tests![&random_operations_get_the_models_answers]
}

async fn random_operations_get_the_models_answers(store: &Store) {
    let runtime = Handle::current();
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let tried = block_in_place(|| {
        TestRunner::new(config).run(&vec(operation(), 1..60), |operations| {
            runtime.block_on(compare(store, &operations));
            Ok(())
        })
    });
    if let Err(error) = tried {
        panic!("{error}");
    }
}
