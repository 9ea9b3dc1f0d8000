//! Tests of `contrib/proxies` with the real programs: each sample file is accepted, and pushes pass
//! through it over TLS to the daemon. Traefik, which Debian does not have, is built and tested by
//! `tests/traefik.sh`.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod front;
mod names;
mod outages;
mod paths;
mod program;
mod pushes;
mod restarts;
mod upstreams;

use std::process::ExitCode;

use testbed::suite::{self, MANY, Suite};

use crate::program::Program;

type Test = suite::Test<Program>;

fn main() -> ExitCode {
    let mut suite = Suite::from_args(Some(MANY));
    for program in Program::ALL {
        for test in tests_of(program) {
            let name = format!("{program}::{}", test.name);
            let run = move || suite::perform((test.run)(program), String::new);
            suite.add(name, program.missing(), Box::new(run));
        }
    }
    suite.run()
}

fn tests_of(program: Program) -> Vec<Test> {
    let mut tests = pushes::all();
    tests.extend(outages::all());
    tests.extend(paths::all());
    tests.extend(restarts::all());
    tests.extend(names::of(program));
    tests.extend(upstreams::of(program));
    tests
}
