//! The clock of a process: `clock.c` in it does what is said here.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::Missing;

const COMPILER: &str = "/usr/bin/cc";
const PRELOAD: &str = "LD_PRELOAD";

/// What is added to the clocks of the processes that it is attached to, also while they run. Their
/// timers go on as they are: a time-out of five seconds takes five seconds.
pub struct MovedClock {
    path: PathBuf,
    control: File,
}

impl MovedClock {
    /// Right at first. It is controlled by a file in `dir`.
    pub fn new(dir: &Path) -> Self {
        let path = dir.join("clock");
        let mut options = File::options();
        let control = options.read(true).write(true).create(true).truncate(true);
        let control = control.open(&path).unwrap();
        control.set_len(4096).unwrap();
        Self { path, control }
    }

    /// Sets the wall clock so many seconds ahead of the right time, or behind it: no time passes. A clock
    /// that is far behind says 1970.
    pub fn set_offset(&self, seconds: i64) {
        self.write(0, seconds);
    }

    /// So many seconds pass, as on a machine that sleeps.
    pub fn pass(&self, seconds: i64) {
        let mut word = [0; 8];
        self.control.read_exact_at(&mut word, 8).unwrap();
        self.write(1, i64::from_ne_bytes(word) + seconds);
    }

    /// What a process needs in its environment to have this clock. Another library of the same kind
    /// is to be joined to this `LD_PRELOAD` with a colon, as [`attach`](Self::attach) does.
    pub fn environment(&self) -> Vec<(String, String)> {
        let [library, control] = [library(), &self.path].map(|path| path.to_str().unwrap());
        [(PRELOAD, library), ("CLOCK_CONTROL", control)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    /// The command's process has this clock, beside what it loads already.
    pub fn attach(&self, command: &mut Command) {
        let present = command.get_envs().find(|(name, _)| *name == PRELOAD);
        let present = present.and_then(|(_, value)| value?.to_str().map(str::to_owned));
        command.envs(self.environment());
        if let Some(present) = present {
            command.env(PRELOAD, format!("{present}:{}", library().display()));
        }
    }

    fn write(&self, index: u64, word: i64) {
        let word = word.to_ne_bytes();
        self.control.write_all_at(&word, index * 8).unwrap();
    }
}

/// What it takes to move a clock.
pub fn missing() -> Option<Missing> {
    Missing::of(&[COMPILER])
}

/// `clock.c`, compiled once per run.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/clock.c");
        let dir = crate::directory("clock-");
        let fresh = dir.path().join("clock.so");
        let mut compiler = Command::new(COMPILER);
        compiler.args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"]);
        let status = compiler.arg(&fresh).arg(source).status().unwrap();
        assert!(status.success(), "{COMPILER} fails: {status}");
        // Another run may have it loaded.
        let library = dir.path().with_file_name("clock.so");
        std::fs::rename(fresh, &library).unwrap();
        library
    })
}
