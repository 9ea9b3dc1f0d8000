//! How fast the daemon is and what it takes. `docs/performance.md` says how to run each part,
//! and `docs/performance/` holds the tables.
//!
//! One program, so that it is linked once. What is measured runs in processes of its own.

#![expect(clippy::unwrap_used, reason = "a measurement that fails ends the run")]

mod attackers;
mod bare;
mod bare_postgres;
mod bare_sqlite;
mod ceiling;
mod compare;
mod daemon;
mod endpoints;
mod floods;
mod footprint;
mod host;
mod hot_path;
mod in_flight;
mod load;
mod measured;
mod phones;
mod queue;
mod queue_table;
mod registration;
mod report;
mod round_trip;
mod rows;
mod side_by_side;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use tokio::runtime;

/// The daemon's: for the bare handler, and for the pushes that are made in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    part: Part,
    #[command(flatten)]
    options: Options,
    /// Cargo says so.
    #[arg(long = "bench", hide = true, global = true)]
    _bench: bool,
}

#[derive(clap::Args)]
pub struct Options {
    /// Under a minute, and coarse
    #[arg(long, global = true)]
    quick: bool,
    /// Write the tables into docs/performance/
    #[arg(long, global = true)]
    write: bool,
    /// Another daemon than the one just built
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = env!("CARGO_BIN_EXE_unified-push")
    )]
    daemon: PathBuf,
}

#[derive(Subcommand)]
enum Part {
    /// Pushes per second and per CPU second, beside an axum handler that does nothing
    Ceiling,
    /// Through a real Prosody, beside its own module, and through ejabberd
    SideBySide {
        /// The program of a Prosody 13, whose module has paseto: through that one, too
        #[arg(long, value_name = "FILE")]
        prosody_13: Option<PathBuf>,
    },
    /// Messages stored and forwarded per second, beside SQLite and PostgreSQL alone
    Queue {
        /// Only with PostgreSQL, and with nothing else waiting there
        #[arg(long)]
        postgres: bool,
    },
    /// Pushes to 100,000 endpoints in turn, and what it takes to remember them
    Endpoints,
    /// Registrations per second, and pushes with many registrations present
    Registration,
    /// Binary, start, memory
    Footprint,
    /// The latency of a healthy sender beside clients that take all they can
    Floods,
    /// Instructions per push, counted by valgrind
    HotPath {
        /// Fail when a count is more than 5 % above the committed one
        #[arg(long)]
        check: bool,
    },
    /// Pushes per CPU second of two daemons, in turns: did a change help?
    Compare { before: PathBuf },
    #[command(hide = true)]
    Bare { port: u16, late_millis: u64 },
    #[command(hide = true)]
    Repeat { case: hot_path::Case, times: u32 },
}

fn main() {
    let Args { part, options, .. } = Args::parse();
    // One thread drives: the others are for what is measured.
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap();
    match part {
        Part::Ceiling => runtime.block_on(ceiling::run(&options)),
        Part::SideBySide { prosody_13 } => {
            runtime.block_on(side_by_side::run(&options, prosody_13.as_deref()));
        }
        Part::Queue { postgres } => runtime.block_on(queue::run(&options, postgres)),
        Part::Endpoints => runtime.block_on(endpoints::run(&options)),
        Part::Registration => runtime.block_on(registration::run(&options)),
        Part::Footprint => runtime.block_on(footprint::run(&options)),
        Part::Floods => runtime.block_on(floods::run(&options)),
        Part::HotPath { check } => runtime.block_on(hot_path::run(&options, check)),
        Part::Compare { before } => runtime.block_on(compare::run(&options, &before)),
        Part::Bare { port, late_millis } => {
            bare::serve(port, Duration::from_millis(late_millis));
        }
        Part::Repeat { case, times } => runtime.block_on(hot_path::repeat(case, times)),
    }
}
