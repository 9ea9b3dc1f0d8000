//! Tests against real XMPP servers: Debian's Prosody and ejabberd, started on loopback with data
//! directories of their own.

#![expect(clippy::unwrap_used, reason = "a failed test says what failed")]

mod abuse;
mod backup;
mod bed;
mod caps;
mod encrypted;
mod federated;
mod fixtures;
mod lifecycle;
mod line;
mod link;
mod pushes;
mod queue;
mod quiet;
mod registrations;
mod resources;
mod secrecy;
mod service;

use std::{process::ExitCode, rc::Rc, sync::Arc};

use testbed::{
    Kind, Missing,
    suite::{self, MANY, Suite},
};

use crate::bed::{Bed, Servers};

type Test = suite::Test<Rc<Bed>>;

fn main() -> ExitCode {
    let mut suite = Suite::from_args(Some(MANY));
    let servers = Arc::new(Servers::default());
    for kind in Kind::ALL {
        for test in tests_on(kind) {
            let name = format!("{kind}::{}", test.name);
            let missing = kind.missing().or(Missing::of(test.needs));
            let servers = servers.clone();
            let run = move || {
                let bed = Rc::new(Bed::new(kind, servers));
                let report = {
                    let bed = bed.clone();
                    || Rc::into_inner(bed).map_or_else(String::new, Bed::report)
                };
                suite::perform((test.run)(bed), report)
            };
            suite.add(name, missing, Box::new(run));
        }
    }
    suite.run()
}

fn tests_on(kind: Kind) -> Vec<Test> {
    let on_both = [
        fixtures::on_both(),
        pushes::on_both(),
        queue::on_both(),
        caps::on_both(),
        quiet::on_both(),
        resources::on_both(),
        registrations::on_both(),
        link::on_both(),
        encrypted::on_both(),
        federated::on_both(),
        abuse::on_both(),
        service::on_both(),
        lifecycle::on_both(),
        secrecy::on_both(),
    ];
    let on_prosody = [
        backup::on_prosody(),
        federated::on_prosody(),
        fixtures::on_prosody(),
        registrations::on_prosody(),
        secrecy::on_prosody(),
    ];
    let on_one = match kind {
        Kind::Prosody => on_prosody.concat(),
        Kind::Ejabberd => encrypted::on_ejabberd(),
    };
    [on_both.concat(), on_one].concat()
}
