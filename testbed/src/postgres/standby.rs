//! Streaming replication: copies of a server that follow it, and may take its place.

use std::{fs, process::Command};

use super::{PASSWORD, Postgres, USER, give_to_server};
use crate::{PATIENCE, Process};

impl Postgres {
    /// A copy of a server that runs, which follows it once it is launched. `name` is what
    /// `synchronous_standby_names` there may hold.
    pub fn standby_of(primary: &Self, name: &str) -> Self {
        let standby = Self::empty(primary.programs.clone());
        run(&mut standby.copy_of(primary));
        standby.follow(primary, name);
        standby
    }

    /// One that has ended becomes such a copy, whatever it held.
    pub async fn copy(&self, primary: &Self, name: &str) {
        fs::remove_dir_all(self.path("data")).unwrap();
        let copying = Process::start(&mut self.copy_of(primary), &self.path("log"));
        let status = copying.unwrap().exit(PATIENCE).await;
        assert!(status.success(), "{status}");
        self.follow(primary, name);
    }

    fn copy_of(&self, primary: &Self) -> Command {
        let mut copy = self.command("pg_basebackup");
        copy.args(["--checkpoint=fast", "--no-sync", "--wal-method=stream"]);
        copy.arg("--pgdata").arg(self.path("data"));
        copy.arg("--dbname").arg(primary.url("postgres"));
        copy
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
