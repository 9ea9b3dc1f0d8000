//! The subcommands. Exit codes: 0 done, 1 failed or answered with no, 2 wrong arguments, 78 a wrong
//! configuration, 130 ended by a second signal.

mod accounts;
mod agent;
mod demo;
mod doctor;
mod error;
mod examples;
mod healthcheck;
mod import;
mod inspect;
mod manual;
mod queue;
mod registrations;
mod send;
mod store;

use std::{
    env, panic,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, Subcommand, ValueEnum};
use tokio::runtime;
use tracing::{error, info, warn};

use self::error::{CliError, Exit};
use crate::{
    app::{App, Reloads, Sockets, StartError},
    config::{self, Config, Loaded},
    model::{endpoint::LONG_ENDPOINT, random::SystemRandom},
    runtime::{lifecycle, logging, patience::Patience},
    token::{self, gen_secret},
};

/// A UnifiedPush push server for any XMPP server.
#[derive(Parser)]
#[command(version, after_help = examples::PROGRAM)]
struct Cli {
    /// Configuration file. Default: $UNIFIED_PUSH_CONFIG, or else /etc/unified-push/config.toml
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon (the default when no subcommand is given)
    #[command(after_help = examples::SERVE)]
    Serve,
    /// Check the configuration and report every problem at once
    #[command(after_help = examples::CHECK_CONFIG)]
    CheckConfig {
        /// Show the effective configuration and where each value comes from
        #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true)]
        #[arg(default_missing_value = "toml")]
        print: Option<Format>,
    },
    /// Look for what is wrong: configuration, store, link, names, certificate, proxy
    #[command(after_help = examples::DOCTOR)]
    Doctor {
        /// How to print what was found
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        print: doctor::Format,
    },
    /// Ask the running daemon whether it is ready
    #[command(after_help = examples::HEALTHCHECK)]
    Healthcheck,
    /// Print a fresh secret
    #[command(after_help = examples::GEN_SECRET)]
    GenSecret,
    /// Write the manual pages and the completions for bash, zsh and fish
    #[command(after_help = examples::MANUAL)]
    Manual {
        /// A directory that is laid out like /usr/share, such as ~/.local/share
        directory: PathBuf,
    },
    /// Demonstrate a push on loopback, without an XMPP server
    #[command(after_help = examples::DEMO)]
    Demo,
    /// Send a test push and explain the answer
    Send(Box<send::Args>),
    /// Show to whom an endpoint belongs and whether it works
    #[command(after_help = examples::INSPECT)]
    Inspect {
        /// An endpoint or its token; `-` reads it from standard input
        // A token may begin with a hyphen.
        #[arg(allow_hyphen_values = true)]
        endpoint: String,
    },
    /// Take over the endpoints that another push server keeps; works while the daemon runs
    #[command(subcommand, after_help = examples::IMPORT)]
    Import(import::Command),
    /// List or drop the messages that are waiting for phones; works while the daemon runs
    #[command(subcommand, after_help = examples::QUEUE)]
    Queue(queue::Command),
    /// List or revoke registrations; works while the daemon runs
    #[command(subcommand, after_help = examples::REGISTRATIONS)]
    Registrations(registrations::Command),
    /// Copy a store, such as from SQLite to PostgreSQL
    #[command(subcommand, after_help = examples::STORE)]
    Store(store::Command),
}

impl Command {
    /// What it may be at for seconds, unless it waits for a person or shows that by itself.
    fn takes_long(&self) -> Option<&'static str> {
        match self {
            Self::Doctor { .. } => Some("looking"),
            Self::Healthcheck => Some(WAITING),
            Self::Import(_) | Self::Queue(_) | Self::Registrations(_) => Some(AT_WORK),
            Self::Serve
            | Self::Send(_)
            | Self::Inspect { .. }
            | Self::CheckConfig { .. }
            | Self::GenSecret
            | Self::Manual { .. }
            | Self::Demo
            | Self::Store(_) => None,
        }
    }
}

const WAITING: &str = "waiting for an answer";
const AT_WORK: &str = "at work on the store";

/// Says on stderr now and then what takes so long. What was asked for is on stdout.
fn still(doing: &'static str) -> Patience {
    Patience::new(move |passed| {
        eprintln!("unified-push: still {doing}, for {} s", passed.as_secs());
    })
}

/// How a configuration is printed.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Toml,
    Json,
}

/// Parses the arguments, runs the subcommand and tells how it ended.
pub fn main() -> ExitCode {
    let Cli { config, command } = Cli::parse();
    let ended = run(config.as_deref(), command.unwrap_or(Command::Serve));
    ended.map_or_else(
        |error| {
            match error {
                // The report begins with our name by itself.
                CliError::Config(_) => eprintln!("{error}"),
                _ => eprintln!("unified-push: {error}"),
            }
            error.exit_code()
        },
        ExitCode::from,
    )
}

fn run(path: Option<&Path>, command: Command) -> Result<Exit, CliError> {
    let _patience = command.takes_long().map(still);
    match command {
        Command::Serve => serve(path),
        Command::CheckConfig { print } => check_config(path, print),
        Command::Doctor { print } => block_on(doctor::run(path, print))?,
        Command::Healthcheck => healthcheck::run(load(path)?.admin.listen),
        Command::GenSecret => {
            println!("{}", gen_secret(&SystemRandom));
            Ok(Exit::Done)
        }
        Command::Manual { directory } => manual::run(&directory),
        Command::Demo => block_on(demo::run())?,
        Command::Send(args) => send::run(*args),
        Command::Inspect { endpoint } => block_on(inspect::run(&load(path)?, &endpoint))?,
        Command::Import(command) => block_on(import::run(&load(path)?, command))?,
        Command::Queue(command) => block_on(queue::run(&load(path)?, command))?,
        Command::Store(command) => block_on(store::run(command))?,
        Command::Registrations(command) => block_on(registrations::run(&load(path)?, command))?,
    }
}

fn serve(path: Option<&Path>) -> Result<Exit, CliError> {
    let Loaded {
        config, warnings, ..
    } = read_config(path)?;
    let level = logging::init(&config.log);
    panic::set_hook(Box::new(|panic| {
        // The text may hold what nobody should read; the place tells enough.
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        error!(place, "the daemon panicked; please report this defect");
    }));
    info!(version = env!("CARGO_PKG_VERSION"), "unified-push starts");
    for warning in warnings {
        warn!("{warning}");
    }
    let path = path.map(Path::to_owned);
    let ran = block_on(async {
        let reloads = Reloads {
            // Before anything that takes long: until then it would end the daemon.
            signal: lifecycle::reload_signal().map_err(StartError::Signals)?,
            load: Arc::new(move || config::load(path.as_deref(), env::vars_os())),
            level,
        };
        let app = App::build(config, Sockets::from_systemd()?).await?;
        let stop = lifecycle::shutdown_signal().map_err(StartError::Signals)?;
        if let (Ok(http), Ok(admin)) = (app.http_address(), app.admin_address()) {
            info!(%http, %admin, "listening");
        }
        Ok::<_, StartError>(app.run(stop, Some(reloads)).await)
    })?;
    // The log says what went wrong, not the terminal.
    Ok(match ran {
        Ok(Ok(())) => Exit::Done,
        Ok(Err(_)) => Exit::No,
        Err(error) => {
            error!("not started: {error}");
            Exit::No
        }
    })
}

fn check_config(path: Option<&Path>, print: Option<Format>) -> Result<Exit, CliError> {
    let loaded = read_config(path)?;
    let verdict = format!("{}{}", loaded.verdict(), endpoints(&loaded.config));
    let printed = match print {
        None => {
            println!("{verdict}");
            return Ok(Exit::Done);
        }
        Some(Format::Toml) => loaded.effective.toml,
        Some(Format::Json) => format!("{:#}", loaded.effective.json),
    };
    println!("{printed}");
    eprintln!("{verdict}");
    Ok(Exit::Done)
}

/// How long endpoints will be, because some senders limit that.
fn endpoints(config: &Config) -> String {
    /// Bytes: a name, a domain and what servers make up for a resource.
    const JID: usize = 40;
    let backend = config.backend;
    let token = token::length(backend, JID, &SystemRandom);
    let length = config.http.public_url.endpoint_length(token);
    let more = if length > LONG_ENDPOINT {
        format!(": some application servers accept at most {LONG_ENDPOINT}")
    } else {
        String::new()
    };
    format!(
        "\nEndpoints (backend = \"{backend}\") have {length} bytes for a full JID of {JID} bytes{more}\n"
    )
}

fn load(path: Option<&Path>) -> Result<Config, CliError> {
    read_config(path).map(|loaded| loaded.config)
}

fn read_config(path: Option<&Path>) -> Result<Loaded, CliError> {
    config::load(path, env::vars_os()).map_err(CliError::from)
}

/// On this thread alone: waking another one for a push takes longer than the push itself. The store
/// writes in a thread of its own.
fn block_on<F: Future>(work: F) -> Result<F::Output, CliError> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    Ok(runtime.block_on(work))
}
