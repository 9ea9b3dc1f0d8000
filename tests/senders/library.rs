//! The libraries, and how the program around each is called.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use testbed::Missing;

/// The variable with the directory into which `tests/senders.sh` installs.
const DIRECTORY: &str = "UNIFIED_PUSH_TEST_SENDERS";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    Pywebpush,
    Npm,
    Pushforge,
    Go,
    Rust,
    Java,
}

impl Library {
    pub const ALL: [Self; 6] = [
        Self::Pywebpush,
        Self::Npm,
        Self::Pushforge,
        Self::Go,
        Self::Rust,
        Self::Java,
    ];

    /// Sends a text to an endpoint for the phone that has these keys. `sender` is which of the two
    /// senders signs.
    pub fn command(self, keys: &Keys, sender: Sender, endpoint: &str, text: &str) -> Command {
        let dir = directory().expect("the libraries are installed");
        let node = |script: &str| {
            let mut command = Command::new("node");
            command.arg(dir.join(script));
            command
        };
        let mut command = match self {
            Self::Pywebpush => {
                let mut command = Command::new(dir.join("venv/bin/python"));
                command.arg(programs().join("pywebpush.py"));
                command
            }
            Self::Npm => node("npm.js"),
            Self::Pushforge => node("pushforge.mjs"),
            Self::Go => Command::new(dir.join("webpush-go")),
            Self::Rust => Command::new(dir.join("rust/debug/sender")),
            Self::Java => {
                let classes = std::fs::read_to_string(dir.join("java/classpath")).unwrap();
                let store = keys.dir.join("trusted.p12");
                let mut command = Command::new("java");
                command.arg(format!("-Djavax.net.ssl.trustStore={}", store.display()));
                command.arg("-Djavax.net.ssl.trustStorePassword=changeit");
                command.arg("-cp");
                command.arg(format!("{}:{}", dir.join("java").display(), classes.trim()));
                command.arg("Send");
                command
            }
        };
        let (public, private, pem) = match sender {
            Sender::Registered => (&keys.public, &keys.private, "private.pem"),
            Sender::Other => (&keys.other_public, &keys.other_private, "other.pem"),
        };
        command.args([endpoint, &keys.p256dh, &keys.auth]);
        match self {
            Self::Rust => command.arg(keys.dir.join(pem)),
            _ => command.args([public, private]),
        };
        let authority = keys.dir.join("fullchain.pem");
        for variable in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
            command.env(variable, &authority);
        }
        command.arg(text);
        command
    }

    /// What the app gets that was sent as this text.
    pub fn delivered(self, text: &str) -> String {
        match self {
            // It sends JSON only.
            Self::Pushforge => format!(r#"{{"text":"{text}"}}"#),
            _ => text.to_owned(),
        }
    }

    /// How it tells of these statuses: `sent` or `failed`, as its caller sees it.
    pub fn tells(self, status: u16) -> String {
        match self {
            // Whoever calls them has to look at the status.
            Self::Go | Self::Java => format!("sent {status}"),
            Self::Rust if status < 300 => "sent 2xx".to_owned(),
            _ if status < 300 => format!("sent {status}"),
            Self::Rust => format!("failed {}", crate::statuses::rust_name(status)),
            _ => format!("failed {status}"),
        }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pywebpush => "pywebpush",
            Self::Npm => "npm",
            Self::Pushforge => "pushforge",
            Self::Go => "go",
            Self::Rust => "rust",
            Self::Java => "java",
        })
    }
}

/// Who signs: the application server whose key the endpoint was registered with, or another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    Registered,
    Other,
}

/// A phone's keys and two senders', in base64url and, for who wants files, as PEM in `dir`.
pub struct Keys {
    pub dir: PathBuf,
    pub p256dh: String,
    pub auth: String,
    pub phone: String,
    pub public: String,
    pub private: String,
    pub other_public: String,
    pub other_private: String,
}

impl Keys {
    pub fn new(dir: &Path) -> Self {
        let line = said(python("keys.py").current_dir(dir));
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let words: [String; 7] = words.try_into().unwrap();
        let [
            p256dh,
            auth,
            phone,
            public,
            private,
            other_public,
            other_private,
        ] = words;
        Self {
            dir: dir.to_owned(),
            p256dh,
            auth,
            phone,
            public,
            private,
            other_public,
            other_private,
        }
    }

    /// What the phone's app reads in a push.
    pub fn decrypt(&self, payload: &[u8]) -> String {
        let body = self.dir.join("payload");
        std::fs::write(&body, payload).unwrap();
        let mut command = python("decrypt.py");
        command.args([&self.phone, &self.auth]);
        said(command.stdin(std::fs::File::open(body).unwrap()))
    }
}

/// Runs a program that has to succeed; what it prints.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn python(script: &str) -> Command {
    let dir = directory().expect("the libraries are installed");
    let mut command = Command::new(dir.join("venv/bin/python"));
    command.arg(programs().join(script));
    command
}

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/senders/programs")
}

fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// The libraries, unless they are installed.
pub fn missing() -> Option<Missing> {
    let missing = Missing::package("a library of application servers");
    directory()
        .is_none()
        .then(|| missing.instead("tests/senders.sh", false))
}
