//! The daemon's configuration, written by the tests in one place.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{Account, free_port, program};

/// What tokens rest on; looked for in logs and answers.
pub const SECRET: &str = "the-daemon-s-token-secret-of-more-than-32-bytes";

/// Options by dotted key, as TOML writes their values, with a directory for the files.
#[derive(Clone)]
pub struct Config {
    dir: PathBuf,
    values: BTreeMap<&'static str, String>,
}

impl Config {
    /// With a state directory below `dir`, ports of its own, and a component of the server at `port`.
    pub fn new(dir: &Path, component: &Account, port: u16) -> Self {
        let config = Self {
            dir: dir.to_owned(),
            values: BTreeMap::new(),
        };
        let config = config.text("secret", SECRET).component(component);
        config.value("component.port", port).twin(dir)
    }

    /// The same with another directory and other ports.
    pub fn twin(&self, dir: &Path) -> Self {
        let (http, admin) = (free_port(), free_port());
        fs::create_dir_all(dir).unwrap();
        let mut twin = self.clone();
        twin.dir = dir.to_owned();
        twin.path("state_dir", &dir.join("state"))
            .text("http.listen", &format!("127.0.0.1:{http}"))
            .text("http.public_url", &format!("http://127.0.0.1:{http}"))
            .text("admin.listen", &format!("127.0.0.1:{admin}"))
    }

    pub fn component(self, account: &Account) -> Self {
        let config = self.text("component.domain", &account.domain);
        config.text("component.secret", &account.secret)
    }

    pub fn path(self, key: &'static str, value: &Path) -> Self {
        self.text(key, value.to_str().unwrap())
    }

    pub fn text(self, key: &'static str, value: &str) -> Self {
        self.value(key, format!("{value:?}"))
    }

    /// A value as TOML writes it.
    pub fn value(mut self, key: &'static str, value: impl ToString) -> Self {
        self.set(key, value);
        self
    }

    pub fn set(&mut self, key: &'static str, value: impl ToString) {
        self.values.insert(key, value.to_string());
    }

    pub fn unset(&mut self, key: &'static str) {
        self.values.remove(key);
    }

    /// A text that was set.
    pub fn get(&self, key: &str) -> &str {
        self.values[key].trim_matches('"')
    }

    /// The URL of a path where pushes are taken.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.get("http.public_url"))
    }

    /// The URL of a path of the admin listener.
    pub fn admin(&self, path: &str) -> String {
        format!("http://{}{path}", self.get("admin.listen"))
    }

    /// Written as it is now.
    pub fn file(&self) -> PathBuf {
        let file = self.dir.join("config.toml");
        let line = |(key, value): (&&str, &String)| format!("{key} = {value}\n");
        let text: String = self.values.iter().map(line).collect();
        let mut options = OpenOptions::new();
        // It may hold the component's secret.
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut opened = options.open(&file).unwrap();
        opened.write_all(text.as_bytes()).unwrap();
        file
    }

    /// A name for a file that is not there yet.
    pub fn fresh(&self, ending: &str) -> PathBuf {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{number}.{ending}"))
    }

    /// Starts the daemon, which says what it has to say on its standard error.
    pub fn serve(&self) -> Command {
        let mut command = self.command(&["serve"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// The program with this configuration and nothing in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(program(), arguments)
    }

    /// The same of another version of the program.
    pub fn command_of(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.env_clear().args(arguments);
        command.arg("--config").arg(self.file());
        command
    }
}
