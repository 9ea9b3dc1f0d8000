//! The page at `/` in a real browser: Debian's Chromium.
//!
//! With `UNIFIED_PUSH_TEST_PICTURES=DIRECTORY` it leaves pictures of the page there.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod browser;
mod looks;
mod pushes;
mod visit;

use std::{process::ExitCode, sync::Arc};

use testbed::{
    Missing,
    suite::{self, Suite},
};
use tokio::{runtime::Runtime, sync::Mutex};

use crate::browser::{Browser, PROGRAMS};

type Test = suite::Test<Arc<Browser>>;

/// One for all tests, which take turns: it takes longer to start than most of them.
type Shared = Arc<Mutex<Option<Arc<Browser>>>>;

fn main() -> ExitCode {
    let mut suite = Suite::from_args(Some(1));
    let browser = Shared::default();
    for test in [looks::all(), pushes::all()].concat() {
        let shared = browser.clone();
        let run = move || {
            let visit = async move {
                let mut browser = shared.lock().await;
                let browser = match &mut *browser {
                    Some(browser) => browser,
                    none => none.insert(Arc::new(Browser::start().await)),
                };
                (test.run)(browser.clone()).await;
            };
            suite::perform(visit, String::new)
        };
        suite.add(test.name.to_owned(), Missing::of(PROGRAMS), Box::new(run));
    }
    let ended = suite.run();
    let runtime = Runtime::new().unwrap();
    if let Some(browser) = runtime.block_on(browser.lock()).take() {
        let browser = Arc::into_inner(browser).expect("the tests are over");
        runtime.block_on(browser.close());
    }
    ended
}
