//! How a subcommand ends.

use std::{io, path::PathBuf, process::ExitCode};

use super::{send::error::SendError, store::error::PlaceError};
use crate::{
    app::{Failed, StartError, state::StateError},
    config::Report,
    http::BindError,
    model::{
        listen::Listen,
        secret::{KeyId, KeyIdError},
    },
    store::{CopyError, StoreError},
    tls::{self, AuthoritiesError},
    token::{DirectoryError, InspectError, StateSecretError},
};

/// sysexits.h: the configuration is wrong.
const EXIT_CONFIG: u8 = 78;

/// What a subcommand that did its work found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It is done, or the answer is yes.
    Done,
    /// The answer is no: not ready, not valid, not accepted.
    No,
}

/// Why a subcommand could not do its work, for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Config(#[from] Report),
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] io::Error),
    #[error("not started: {0}")]
    Start(#[from] StartError),
    #[error(transparent)]
    Failed(#[from] Failed),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Secret(#[from] StateSecretError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("admin.listen = {listen} does not answer: {source}. Is the daemon running?")]
    NoHealth { listen: Listen, source: io::Error },
    #[error("cannot read standard input: {0}")]
    Input(#[source] io::Error),
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),
    #[error("{given:?} is not the bare JID of an account; write it as juliet@example.org")]
    NoAccount { given: String },
    #[error("{given:?} is not a JID: {source}. Write it like juliet@example.org")]
    NoJid { given: String, source: jid::Error },
    #[error("{given:?} is not a key id; copy it from the daemon's message")]
    NoKeyId { given: String, source: KeyIdError },
    #[error(
        "the configuration still contains the secret of key {0}, so its endpoints would keep working. \
         Remove the secret from `secret`, `previous_secrets` or `state_dir` first"
    )]
    KeyInUse(KeyId),
    #[error("no endpoint was issued under key {0}; nothing has changed")]
    UnknownKey(KeyId),
    #[error(
        "this is not an endpoint of this server: it is incomplete or was changed, it belongs to another \
         server, or it depends on a secret that is neither in `secret` nor in `previous_secrets`"
    )]
    Foreign(#[source] InspectError),
    #[error("{0}")]
    Send(#[from] SendError),
    #[error(transparent)]
    Import(#[from] DirectoryError),
    #[error("the endpoint is not a URL; copy it exactly as the app received it")]
    NoUrl(#[source] ureq::http::uri::InvalidUri),
    #[error("the endpoint does not start with http:// or https://")]
    NoHttp,
    /// ureq's errors name hosts and causes, never the path, which is a secret.
    #[error(
        "no answer: {0}. Check the host name in the endpoint and the reverse proxy, and that the \
         daemon is running"
    )]
    NoAnswer(#[source] Box<ureq::Error>),
    #[error("no encrypted connection to the endpoint: {source}. {remedy}")]
    Tls {
        source: Box<ureq::Error>,
        remedy: &'static str,
    },
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    #[error("cannot create {}: {source}; set TMPDIR to a directory that is writable", .path.display())]
    TemporaryDirectory { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}; set TMPDIR to a directory that is writable", .path.display())]
    TemporaryFile { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}; name a directory that you may write to", .path.display())]
    Manual { path: PathBuf, source: io::Error },
    #[error("cannot start the simulated XMPP server: {0}")]
    DemoServer(#[source] io::Error),
    #[error(transparent)]
    DemoListener(#[from] BindError),
    #[error("the registration was refused: {0}")]
    DemoRefused(String),
}

impl CliError {
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) => ExitCode::from(EXIT_CONFIG),
            _ => ExitCode::FAILURE,
        }
    }
}

impl From<ureq::Error> for CliError {
    fn from(error: ureq::Error) -> Self {
        let remedy = match &error {
            ureq::Error::Io(error) => tls::cause(error).and_then(tls::remedy),
            _ => None,
        };
        let source = Box::new(error);
        match remedy {
            Some(remedy) => Self::Tls { source, remedy },
            None => Self::NoAnswer(source),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::No => Self::FAILURE,
        }
    }
}
