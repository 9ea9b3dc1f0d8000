//! `unified-push store`: copies all that a store holds into another one.

pub mod error;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::Instant;

use self::error::PlaceError;
use super::{
    error::{CliError, Exit},
    examples, still,
};
use crate::{
    model::{secret::Secret, time::SystemClock},
    store::{self, Place, PostgresUrl, PostgresUrlError, Progress},
};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Copy a store with all it holds, such as from SQLite to PostgreSQL; the daemons have to be stopped
    ///
    /// A store is sqlite:DIRECTORY (the daemon's `state_dir`), postgres://... (as in `store.url`) or
    /// file:FILE (a file that holds such a URL, as in `store.url_file`). A command that was interrupted
    /// goes on where it ended when it is repeated.
    #[command(after_help = examples::STORE)]
    Copy {
        /// The store that is copied, and stays as it is
        #[arg(long, value_name = "STORE")]
        from: String,
        /// A store that is empty, or does not exist yet
        #[arg(long, value_name = "STORE")]
        to: String,
    },
}

pub async fn run(command: Command) -> Result<Exit, CliError> {
    let Command::Copy { from, to } = command;
    let (from, to) = (place("--from", &from)?, place("--to", &to)?);
    let mut shown = Shown::default();
    let mut opening = Some(still("opening the stores"));
    let copied = store::copy(&from, &to, Arc::new(SystemClock), |progress| {
        drop(opening.take());
        shown.next(progress)
    });
    let copied = copied.await?;
    let copied = copied
        .into_iter()
        .map(|(rows, what)| format!("{rows} {what}"));
    let copied = copied.collect::<Vec<_>>().join(", ");
    println!("copied: {copied}. Counts and digests are the same in both stores");
    println!("Do not start a daemon on the former store again: phones would get messages twice.");
    if let Place::Sqlite(state_dir) = &from
        && state_dir.join("secret").exists()
    {
        let secret = state_dir.join("secret");
        println!(
            "The secret that endpoints rest on is not in the store: it is still {}. Set `secret_file` to a \
             copy of it wherever `state_dir` is another one.",
            secret.display()
        );
    }
    Ok(Exit::Done)
}

fn place(option: &'static str, text: &str) -> Result<Place, PlaceError> {
    if let Some(state_dir) = text.strip_prefix("sqlite:") {
        return Ok(Place::Sqlite(state_dir.into()));
    }
    if let Some(file) = text.strip_prefix("file:") {
        let file = PathBuf::from(file);
        let content = match fs::read(&file) {
            Ok(content) => Secret::from_file_content(content),
            Err(source) => {
                return Err(PlaceError::File {
                    option,
                    file,
                    source,
                });
            }
        };
        let url = str::from_utf8(content.as_bytes())
            .unwrap_or_default()
            .parse();
        return match url {
            Ok(url) => Ok(Place::Postgres(PostgresUrl::kept_in(url, &file))),
            Err(source) => Err(PlaceError::InFile {
                option,
                file,
                source,
            }),
        };
    }
    match text.parse() {
        Ok(url) => Ok(Place::Postgres(url)),
        Err(PostgresUrlError::Scheme) => Err(PlaceError::Scheme { option }),
        Err(source) => Err(PlaceError::Url { option, source }),
    }
}

/// A line now and then.
#[derive(Default)]
struct Shown {
    what: String,
    done: u64,
    of: u64,
    said: Option<Instant>,
}

/// Between two lines about the same rows.
const LINES: Duration = Duration::from_secs(5);

impl Shown {
    fn next(&mut self, progress: Progress) {
        match progress {
            Progress::Begins {
                doing,
                rows,
                of,
                done,
            } => {
                (self.what, self.of, self.done) = (format!("{doing} {rows}"), of, done);
                self.say();
            }
            Progress::Rows(rows) => {
                self.done += rows;
                if self.said.is_none_or(|said| said.elapsed() >= LINES) {
                    self.say();
                }
            }
            Progress::StartsOver => {
                eprintln!(
                    "the source has changed since the command was interrupted: starting over"
                );
            }
        }
    }

    fn say(&mut self) {
        eprintln!("{}: {} of {}", self.what, self.done, self.of);
        self.said = Some(Instant::now());
    }
}
