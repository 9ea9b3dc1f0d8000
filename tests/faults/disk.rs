//! The disk under the daemon's state directory: `disk.c` in the daemon does what is said here.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use testbed::{Missing, eventually};

/// As in `disk.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Ok = 0,
    Full = 1,
    ReadOnly = 2,
    SyncFails = 3,
    /// Every fdatasync waits.
    Hold = 4,
}

/// Calls to files under the directory, since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    pub writes: u64,
    pub syncs: u64,
}

pub struct Disk {
    dir: PathBuf,
    path: PathBuf,
    control: File,
}

impl Disk {
    /// For the files of `dir`, controlled by a file beside it.
    pub fn new(dir: &Path) -> Self {
        let path = dir.with_extension("control");
        let mut options = File::options();
        let control = options.read(true).write(true).create(true).truncate(true);
        let control = control.open(&path).unwrap();
        control.set_len(4096).unwrap();
        Self {
            dir: dir.to_owned(),
            path,
            control,
        }
    }

    /// For all files of a database's server, which runs as another user.
    pub fn of_a_server(dir: &Path) -> Self {
        let disk = Self::new(dir);
        fs::set_permissions(&disk.path, Permissions::from_mode(0o666)).unwrap();
        Self {
            dir: PathBuf::new(),
            ..disk
        }
    }

    /// The command's process has this disk.
    pub fn attach(&self, command: &mut Command) {
        command.envs(self.environment());
    }

    /// What a process with this disk has in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let [library, dir, path] =
            [library(), &self.dir, &self.path].map(|path| path.display().to_string());
        [
            ("LD_PRELOAD", library),
            ("DISK_DIR", dir),
            ("DISK_CONTROL", path),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    pub fn set(&self, mode: Mode) {
        let word = (mode as u64).to_ne_bytes();
        self.control.write_all_at(&word, 0).unwrap();
    }

    pub fn calls(&self) -> Calls {
        Calls {
            writes: self.word(1),
            syncs: self.word(2),
        }
    }

    /// Awaits that a fdatasync is held.
    pub async fn holds(&self, within: Duration) {
        eventually("a fdatasync is held", within, async || {
            (self.word(4) > 0).then_some(())
        })
        .await;
    }

    fn word(&self, index: u64) -> u64 {
        let mut word = [0; 8];
        self.control.read_exact_at(&mut word, index * 8).unwrap();
        u64::from_ne_bytes(word)
    }
}

const COMPILER: &str = "/usr/bin/cc";

pub fn missing() -> Option<Missing> {
    Missing::of(&[COMPILER])
}

/// Built once per run.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = dir.join("disk.so");
        let fresh = dir.join(format!("disk-{}.so", std::process::id()));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/disk.c");
        let mut compiler = Command::new(COMPILER);
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]);
        let status = compiler.arg(&fresh).arg(source).status().unwrap();
        assert!(status.success(), "{COMPILER} fails: {status}");
        // Another run may have it loaded.
        std::fs::rename(fresh, &library).unwrap();
        library
    })
}
