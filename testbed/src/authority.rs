//! A certificate authority of a test's own, by openssl.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::MovedClock;

pub struct Authority {
    dir: TempDir,
}

/// A certificate and its key, in PEM.
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let authority = Self {
            dir: TempDir::with_prefix("authority").unwrap(),
        };
        authority.openssl(None, &format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} \
             -addext keyUsage=critical,keyCertSign -keyout authority.key -out authority.pem"
        ));
        authority
    }

    /// Its own certificate.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("authority.pem")
    }

    /// Where its certificates are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// For a subject, and names such as `DNS:localhost,IP:127.0.0.1`.
    pub fn issue(&self, subject: &str, names: &str) -> Certificate {
        self.issue_by(None, 2, subject, names)
    }

    /// One that was issued when this clock was right, for so many days.
    pub fn issue_then(
        &self,
        clock: &MovedClock,
        days: u32,
        subject: &str,
        names: &str,
    ) -> Certificate {
        self.issue_by(Some(clock), days, subject, names)
    }

    fn issue_by(
        &self,
        clock: Option<&MovedClock>,
        days: u32,
        subject: &str,
        names: &str,
    ) -> Certificate {
        self.openssl(None, &format!(
            "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={subject} \
             -addext subjectAltName={names} -addext basicConstraints=critical,CA:FALSE \
             -keyout {subject}.key -out {subject}.request"
        ));
        self.openssl(clock, &format!(
            "x509 -req -days {days} -in {subject}.request -CA authority.pem -CAkey authority.key \
             -CAcreateserial -copy_extensions copyall -out {subject}.pem"
        ));
        Certificate {
            certificate: self.dir.path().join(format!("{subject}.pem")),
            key: self.dir.path().join(format!("{subject}.key")),
        }
    }

    fn openssl(&self, clock: Option<&MovedClock>, arguments: &str) {
        let mut openssl = Command::new("/usr/bin/openssl");
        openssl.args(arguments.split_whitespace());
        if let Some(clock) = clock {
            clock.attach(&mut openssl);
        }
        let made = openssl.current_dir(self.dir.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }
}
