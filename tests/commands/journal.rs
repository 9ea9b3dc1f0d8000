//! Logs to the journal: only when systemd connects stderr to it, and never into nothing.

use std::{
    fs::{self, File},
    io,
    os::unix::{fs::MetadataExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use testbed::{Bed, PATIENCE, Process};

const SOCKET: &str = "/run/systemd/journal/socket";

/// What stands on stderr after a start that fails, when `$JOURNAL_STREAM` names the file that
/// stderr is, or another.
async fn stderr_of_a_start(bed: &mut Bed, named: bool) -> String {
    bed.text("state_dir", "/proc/unified-push");
    let log = bed.path("stderr");
    let file = File::create(&log).unwrap().metadata().unwrap();
    let inode = file.ino() + u64::from(!named);
    let mut command = bed.command(&["serve"]);
    command.env("JOURNAL_STREAM", format!("{}:{inode}", file.dev()));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut process = Process::start_with(&mut command, &log).unwrap();
    assert_eq!(process.exit(PATIENCE).await.code(), Some(1));
    process.log()
}

fn is_whole(log: &str) -> bool {
    log.contains("INFO unified-push starts version=") && log.contains("ERROR not started: ")
}

#[tokio::test]
async fn what_is_not_connected_to_the_journal_gets_text() {
    let mut bed = Bed::new().await;
    let log = stderr_of_a_start(&mut bed, false).await;
    assert!(is_whole(&log), "{log}");
}

#[tokio::test]
async fn a_journal_gets_fields_and_without_one_nothing_is_lost() {
    let mut bed = Bed::new().await;
    if Path::new(SOCKET).exists() {
        eprintln!("left out: this machine has a journal, which tests leave alone");
        return;
    }
    let log = stderr_of_a_start(&mut bed, true).await;
    assert!(is_whole(&log), "{log}");

    let Ok(journal) = Journal::listen() else {
        eprintln!("left out: only root can listen at {SOCKET}");
        return;
    };
    let log = stderr_of_a_start(&mut bed, true).await;
    assert_eq!(log, "", "stderr is the journal's");
    let start = journal.entry("unified-push starts");
    for (name, value) in [
        ("PRIORITY", "5"),
        ("SYSLOG_IDENTIFIER", "unified-push"),
        ("F_VERSION", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(start.contains(&field(name, value)), "{name}: {start:?}");
    }
    let end = journal.entry("not started: ");
    assert!(end.contains(&field("PRIORITY", "3")), "{end:?}");
}

/// In the journal's protocol: a name, how long the value is, the value.
fn field(name: &str, value: &str) -> String {
    let length = (value.len() as u64).to_le_bytes().map(char::from);
    format!("{name}\n{}{value}\n", String::from_iter(length))
}

/// A socket where the journal's would be, and the directories that were made for it.
struct Journal {
    socket: UnixDatagram,
    made: Vec<PathBuf>,
}

impl Journal {
    fn listen() -> io::Result<Self> {
        let dirs = Path::new(SOCKET).ancestors().skip(1);
        let mut missing: Vec<_> = dirs.take_while(|dir| !dir.exists()).collect();
        missing.reverse();
        let mut made = Vec::new();
        for dir in missing {
            fs::create_dir(dir)?;
            made.push(dir.to_owned());
        }
        let socket = UnixDatagram::bind(SOCKET)?;
        socket.set_read_timeout(Some(Duration::from_millis(1)))?;
        Ok(Self { socket, made })
    }

    /// The next entry with this in it, among those that have arrived.
    fn entry(&self, part: &str) -> String {
        let mut buffer = [0; 64 * 1024];
        loop {
            let length = self.socket.recv(&mut buffer);
            let length = length.unwrap_or_else(|error| panic!("{part}: {error}"));
            let entry = String::from_utf8_lossy(&buffer[..length]);
            if entry.contains(part) {
                return entry.into_owned();
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let _ = fs::remove_file(SOCKET);
        for dir in self.made.iter().rev() {
            // Whatever somebody else has put there since stays.
            let _ = fs::remove_dir(dir);
        }
    }
}
