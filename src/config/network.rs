//! Whether a directory is on another machine, where SQLite cannot keep its promises.

use std::path::{Path, PathBuf};

/// Where the kernel tells a process what is mounted (proc(5)).
pub const MOUNTS: &str = "/proc/self/mountinfo";

/// As the kernel names them. `fuse` stands for what its second part names.
const NETWORK: &[&str] = &[
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "fuse.ceph",
    "fuse.ceph-fuse",
    "fuse.davfs",
    "fuse.gcsfuse",
    "fuse.glusterfs",
    "fuse.juicefs",
    "fuse.mfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "glusterfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "orangefs",
    "smb3",
    "smbfs",
];

/// The kind of network file system that holds a directory, or will hold it. None for a local disk,
/// and for a kind that is not known. `mounts` is the text of [`MOUNTS`].
pub fn file_system<'a>(mounts: &'a str, directory: &Path) -> Option<&'a str> {
    let directory = existing(directory);
    let holding = mounts.lines().filter_map(|line| {
        let (mount, kind) = read(line)?;
        directory
            .starts_with(&mount)
            .then(|| (mount.components().count(), kind))
    });
    // The deepest, and of two at one place the later, which lies on top.
    let (_, kind) = holding.max_by_key(|(depth, _)| *depth)?;
    NETWORK.contains(&kind).then_some(kind)
}

/// The real path of its nearest parent that is there.
fn existing(directory: &Path) -> PathBuf {
    let found = directory
        .ancestors()
        .find_map(|path| path.canonicalize().ok());
    found.unwrap_or_else(|| directory.to_owned())
}

/// Where something is mounted, and of what kind it is.
fn read(line: &str) -> Option<(PathBuf, &str)> {
    let (mount, source) = line.split_once(" - ")?;
    let point = mount.split(' ').nth(4)?;
    let kind = source.split(' ').next()?;
    Some((unescaped(point), kind))
}

/// A space is `\040`, a backslash `\134`.
fn unescaped(point: &str) -> PathBuf {
    let mut parts = point.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) if code.is_ascii() => {
                path.push(char::from(code));
                path.push_str(&part[3..]);
            }
            _ => {
                path.push('\\');
                path.push_str(part);
            }
        }
    }
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux writes it; none of these directories exists.
    const ROOT: &str = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n";

    fn on(lines: &str, directory: &str) -> Option<String> {
        let mounts = format!("{ROOT}{lines}");
        file_system(&mounts, Path::new(directory)).map(str::to_owned)
    }

    #[test]
    fn each_kind_is_known_by_its_name() {
        for kind in [
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "9p",
            "ceph",
            "fuse.sshfs",
            "fuse.glusterfs",
        ] {
            let line =
                format!("90 27 0:50 / / rw,relatime shared:7 master:2 - {kind} host:/export rw");
            assert_eq!(on(&line, "/no-such/state").as_deref(), Some(kind));
        }
        for kind in [
            "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "virtiofs",
        ] {
            let line = format!("90 27 0:50 / / rw - {kind} /dev/vdb rw");
            assert_eq!(on(&line, "/no-such/state"), None, "{kind}");
        }
    }

    #[test]
    fn the_deepest_mount_counts_and_the_last_of_two() {
        let deeper = tempfile::tempdir().unwrap();
        let state = deeper.path().join("my state");
        std::fs::create_dir(&state).unwrap();
        let deeper = deeper.path().canonicalize().unwrap();
        let line = |point: &str, kind: &str| format!("90 27 0:50 / {point} rw - {kind} what rw\n");
        let (outer, inner) = (deeper.to_str().unwrap(), deeper.join("my state"));
        let state = state.to_str().unwrap();
        let inner = inner.to_str().unwrap().replace(' ', "\\040");
        assert_eq!(on(&line(outer, "nfs4"), state).as_deref(), Some("nfs4"));
        let local = line(outer, "nfs4") + &line(&inner, "ext4");
        assert_eq!(on(&local, state), None);
        let reversed = line(&inner, "ext4") + &line(outer, "nfs4");
        assert_eq!(on(&reversed, state), None);
        let above = local + &line(&inner, "cifs");
        assert_eq!(on(&above, state).as_deref(), Some("cifs"));
        // A name that only begins alike is another directory.
        let alike = line(&format!("{outer}/my"), "nfs");
        assert_eq!(on(&alike, state), None);
        // What is yet to be made is made there.
        let missing = format!("{state}/not/yet");
        assert_eq!(on(&line(outer, "nfs"), &missing).as_deref(), Some("nfs"));
    }

    #[test]
    fn what_cannot_be_read_is_no_network() {
        for mounts in [
            "",
            "nonsense",
            "1 2 3 - nfs",
            "1 2 3 4 \\04 rw - nfs x",
            "1 - ",
        ] {
            assert_eq!(file_system(mounts, Path::new("/no-such/state")), None);
        }
    }
}
