//! The subcommands. Exit codes: 0 done, 1 failed or answered with no, 2 wrong arguments, 78 a wrong
//! configuration, 130 ended by a second signal.

mod accounts;
mod demo;
mod healthcheck;
mod inspect;
mod queue;
mod registrations;
mod send;
mod state;

use std::{env, panic, path::Path, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use tokio::runtime;
use tracing::{error, info, warn};

use crate::{
    app::{App, Sockets, StartError},
    config::{self, Config, Loaded},
    model::{endpoint::LONG_ENDPOINT, random::SystemRandom},
    runtime::{lifecycle, logging},
    token::{self, gen_secret},
};

/// sysexits.h: the configuration is wrong.
const EXIT_CONFIG: u8 = 78;

/// A UnifiedPush push server for any XMPP server.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// The configuration; else $UNIFIED_PUSH_CONFIG, else /etc/unified-push/config.toml
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon; no subcommand does the same
    Serve,
    /// Check the configuration and report every problem at once
    CheckConfig {
        /// Show the effective configuration and where each value comes from
        #[arg(long)]
        print: bool,
    },
    /// Ask the running daemon whether it is ready
    Healthcheck,
    /// Print a fresh secret
    GenSecret,
    /// Show a push arriving, on loopback, without an XMPP server
    Demo,
    /// Post a test push and say what the answer means
    Send(send::Args),
    /// Say what an endpoint stands for and whether it works
    Inspect {
        /// An endpoint or its token; `-` reads it from standard input
        // A token may begin with a hyphen.
        #[arg(allow_hyphen_values = true)]
        endpoint: String,
    },
    /// List or drop the messages that wait for their phones, while the daemon runs
    #[command(subcommand)]
    Queue(queue::Command),
    /// List or revoke registrations, while the daemon runs
    #[command(subcommand)]
    Registrations(registrations::Command),
}

/// Parses the arguments, runs the subcommand and tells how it ended.
pub fn main() -> ExitCode {
    let Cli { config, command } = Cli::parse();
    let config = config.as_deref();
    let ended = match command.unwrap_or(Command::Serve) {
        Command::Serve => serve(config),
        Command::CheckConfig { print } => check_config(config, print),
        Command::Healthcheck => healthcheck(config),
        Command::GenSecret => {
            println!("{}", gen_secret(&SystemRandom));
            Ok(true)
        }
        Command::Demo => block_on(demo::run()).and_then(|ran| ran.map_err(Stop::Failed)),
        Command::Send(args) => send::run(args).map_err(Stop::Failed),
        Command::Inspect { endpoint } => load(config)
            .and_then(|config| block_on(inspect::run(&config, &endpoint))?.map_err(Stop::Failed)),
        Command::Queue(command) => load(config)
            .and_then(|config| block_on(queue::run(&config, command))?.map_err(Stop::Failed)),
        Command::Registrations(command) => load(config).and_then(|config| {
            block_on(registrations::run(&config, command))?.map_err(Stop::Failed)
        }),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Stop::Failed(text)) => {
            eprintln!("unified-push: {text}");
            ExitCode::FAILURE
        }
        Err(Stop::Config(text)) => {
            eprintln!("{text}");
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

/// Why a subcommand could not do its work, for people.
enum Stop {
    Config(String),
    Failed(String),
}

fn serve(path: Option<&Path>) -> Result<bool, Stop> {
    let Loaded {
        config, warnings, ..
    } = read_config(path)?;
    logging::init(&config.log);
    panic::set_hook(Box::new(|panic| {
        // The text may hold what nobody should read; the place tells enough.
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        error!(place, "a panic; please report this defect");
    }));
    info!(version = env!("CARGO_PKG_VERSION"), "unified-push starts");
    for warning in warnings {
        warn!("{warning}");
    }
    let ran = block_on(async {
        let app = App::build(config, Sockets::from_systemd()?).await?;
        run(app).await
    });
    ran?.or_else(|error: StartError| {
        error!("not started: {error}");
        Ok(false)
    })
}

async fn run(app: App) -> Result<bool, StartError> {
    let shutdown = lifecycle::shutdown_signal().map_err(StartError::Signals)?;
    if let (Ok(http), Ok(admin)) = (app.http_address(), app.admin_address()) {
        info!(%http, %admin, "listening");
    }
    Ok(app.run(shutdown).await.is_ok())
}

fn check_config(path: Option<&Path>, print: bool) -> Result<bool, Stop> {
    let loaded = read_config(path)?;
    let verdict = format!("{}{}", loaded.verdict(), endpoints(&loaded.config));
    if print {
        println!("{}", loaded.effective);
        eprintln!("{verdict}");
    } else {
        println!("{verdict}");
    }
    Ok(true)
}

/// How long endpoints will be, since senders have limits on that.
fn endpoints(config: &Config) -> String {
    /// Bytes: a name, a domain and what servers make up for a resource.
    const JID: usize = 40;
    let backend = config.backend;
    let token = token::length(backend, JID, &SystemRandom);
    let length = config.http.public_url.endpoint_length(token);
    let more = if length > LONG_ENDPOINT {
        format!(": some application servers take {LONG_ENDPOINT} at most")
    } else {
        String::new()
    };
    format!(
        "\nEndpoints (backend = \"{backend}\") have {length} bytes for a full JID of {JID} bytes{more}\n"
    )
}

fn healthcheck(path: Option<&Path>) -> Result<bool, Stop> {
    let config = load(path)?;
    let listen = &config.admin.listen;
    let (ready, body) = healthcheck::run(listen).map_err(|error| {
        Stop::Failed(format!(
            "no answer at admin.listen = {listen}: {error}. Does the daemon run?"
        ))
    })?;
    println!("{body}");
    Ok(ready)
}

fn load(path: Option<&Path>) -> Result<Config, Stop> {
    read_config(path).map(|loaded| loaded.config)
}

fn read_config(path: Option<&Path>) -> Result<Loaded, Stop> {
    config::load(path, env::vars_os()).map_err(|report| Stop::Config(report.to_string()))
}

/// On this thread alone: to wake another one for a push takes longer than the push. The store writes
/// in a thread of its own.
fn block_on<F: Future>(work: F) -> Result<F::Output, Stop> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    Ok(runtime.block_on(work))
}

fn failed(error: impl std::fmt::Display) -> Stop {
    Stop::Failed(error.to_string())
}
