//! Pushes of the libraries that application servers use, each by the first call of its own
//! documentation, over TLS and a real Prosody to a phone whose app decrypts them. `tests/senders.sh`
//! installs the libraries, and runs this where there is no network but loopback.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod desk;
mod front;
mod library;
mod statuses;

use std::process::ExitCode;

use testbed::{
    Kind, Missing,
    suite::{self, Suite},
};

use crate::library::Library;

type Test = suite::Test<Library>;

fn main() -> ExitCode {
    // One at a time: they share port 443.
    let mut suite = Suite::from_args(Some(1));
    let missing = library::missing().or_else(|| Kind::Prosody.missing());
    let missing = missing.or_else(|| Missing::of(&["/usr/sbin/nginx", "/usr/bin/openssl"]));
    for library in Library::ALL {
        let tests: Vec<Test> = [desk::all(), statuses::all()].concat();
        for test in tests {
            let name = format!("{library}::{}", test.name);
            let run = move || suite::perform((test.run)(library), String::new);
            suite.add(name, missing.clone(), Box::new(run));
        }
    }
    suite.run()
}
