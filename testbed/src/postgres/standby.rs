//! Streaming replication: copies of a server that follow it, and may take its place.

use std::{fs, process::Command};

use super::{PASSWORD, Postgres, USER, give_to_server};

impl Postgres {
    /// A copy of a server that runs, which follows it once it is launched. `name` is what
    /// `synchronous_standby_names` there may hold.
    pub fn standby_of(primary: &Self, name: &str) -> Self {
        let standby = Self::empty(primary.programs.clone());
        let mut copy = standby.command("pg_basebackup");
        copy.args(["--checkpoint=fast", "--no-sync", "--wal-method=stream"]);
        copy.arg("--pgdata").arg(standby.path("data"));
        copy.arg("--dbname").arg(primary.url("postgres"));
        run(&mut copy);
        standby.follow(primary, name);
        standby
    }

    /// Follows another one from its next start on. It must have stopped in order, and hold nothing
    /// that the other one does not have.
    pub fn follow(&self, primary: &Self, name: &str) {
        let port = primary.port;
        self.configure(&format!(
            "primary_conninfo = 'host=127.0.0.1 port={port} user={USER} password={PASSWORD} \
             application_name={name}'"
        ));
        let signal = self.path("data/standby.signal");
        fs::write(&signal, "").unwrap();
        give_to_server(&signal);
    }

    /// A standby that runs takes writes when this returns.
    pub fn promote(&self) {
        let mut promote = self.command("pg_ctl");
        promote.args(["promote", "--silent", "-D"]);
        run(promote.arg(self.path("data")));
    }
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{done:?}");
}
