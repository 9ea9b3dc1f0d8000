//! A Prosody without accounts, which carries one component: that of `contrib/compose`, with the ports
//! and the files of a test.

use std::{fs, path::PathBuf, process::Command};

use super::{Federation, prosody};
use crate::{Account, PATIENCE, Process, directory, eventually, free_port};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpStream;

pub struct Carrier {
    pub account: Account,
    /// Where the component connects.
    pub components: u16,
    dir: TempDir,
    /// Where other servers connect.
    pub servers: u16,
    process: Process,
}

impl Carrier {
    /// A running one, which other servers find by the federation's DNS.
    pub async fn start(federation: &Federation) -> Self {
        let account = Account {
            domain: "up.carrier.test".to_owned(),
            secret: "the-carrier-s-secret".to_owned(),
        };
        let dir = directory("carrier");
        let components = free_port();
        let member = federation.join(&account.domain);
        let own = prosody::files_of(dir.path());
        let federated = prosody::federated(&member, dir.path());
        // Cargo runs tests where the sources are; where they were compiled may be elsewhere.
        let config = fs::read_to_string("contrib/compose/federated.cfg.lua");
        let config = config
            .unwrap()
            .replace("5347", &components.to_string())
            .replace("up.example.org", &account.domain);
        let path = dir.path().join("prosody.cfg.lua");
        fs::write(&path, format!("{own}{federated}{config}")).unwrap();
        let mut command = Command::new(prosody::PROGRAM);
        command.arg("--config").arg(path).arg("-F");
        command.env("COMPONENT_SECRET", &account.secret);
        let process = Process::start(&mut command, &dir.path().join("output.log")).unwrap();
        eventually("the carrier listens", 4 * PATIENCE, async || {
            TcpStream::connect(("127.0.0.1", components)).await.ok()
        })
        .await;
        Self {
            account,
            components,
            dir,
            servers: member.servers,
            process,
        }
    }

    /// Gives it another certificate, and has it read that as `systemctl reload` does. Returns where the
    /// certificate is.
    pub fn renew(&self, federation: &Federation) -> PathBuf {
        let certificate = federation.issue(&self.account.domain);
        prosody::place(&certificate, &self.account.domain, self.dir.path());
        self.process.signal(Signal::HUP);
        certificate.certificate
    }

    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }
}
