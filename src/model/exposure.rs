//! Who besides the daemon's user and root can read or change a file, judged much as OpenSSH judges
//! the files of its keys.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

const ROOT: u32 = 0;
/// Stands for every user whom a user namespace does not know (`/proc/sys/kernel/overflowuid`).
const UNKNOWN: u32 = 65534;

/// A file that others can read or change. Shown as a sentence with the remedy.
#[derive(Debug, PartialEq, Eq)]
pub struct Exposed {
    path: PathBuf,
    to: Others,
    owner: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Everybody,
    Group,
    /// The file is theirs.
    Owner,
}

impl Exposed {
    /// None when nobody else can open the file, or there is none. A symbolic link is followed: what
    /// counts is the file that would be read.
    pub fn file(path: &Path) -> Option<Self> {
        Self::to_others(path, 0o6)
    }

    /// None when nobody else can put files into the directory.
    pub fn directory(path: &Path) -> Option<Self> {
        Self::to_others(path, 0o2)
    }

    /// See [`others`].
    fn to_others(path: &Path, bits: u32) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        let access = (file.uid(), file.gid(), file.mode());
        Some(Self {
            path: path.to_owned(),
            to: others(access, geteuid().as_raw(), bits)?,
            owner: file.uid(),
        })
    }

    /// Reads on from the file's path.
    pub fn what(&self) -> String {
        match self.to {
            Others::Everybody => "is open to everybody".to_owned(),
            Others::Group => "is open to its group".to_owned(),
            Others::Owner => format!("belongs to another user (uid {})", self.owner),
        }
    }

    fn remedy(&self) -> &'static str {
        match (self.to, self.owner) {
            (Others::Owner, _) => {
                "run `chown` on it, so that it belongs to the daemon's user or root"
            }
            // Or the daemon, which is not root, might be shut out.
            (_, ROOT) => "run `chmod o=` on it, and `chgrp` with the group of the daemon's user",
            _ => "run `chmod go=` on it",
        }
    }
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, remedy) = (self.what(), self.remedy());
        write!(f, "{} {what}; {remedy}", self.path.display())
    }
}

/// `bits` are those that nobody else should have, as for everybody.
fn others((owner, group, mode): (u32, u32, u32), me: u32, bits: u32) -> Option<Others> {
    if mode & bits != 0 {
        return Some(Others::Everybody);
    }
    // Whom root lets in is root's decision, as in `root:unified-push` with 640 and in the volumes of
    // Kubernetes. A user's own group has the user's number; an `fsGroup` opens files to that.
    if mode & (bits << 3) != 0 && owner != ROOT && owner != group {
        return Some(Others::Group);
    }
    // Root may look at files that are the daemon's.
    let is_trusted = [ROOT, UNKNOWN, me].contains(&owner) || me == ROOT;
    (!is_trusted).then_some(Others::Owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u32 = 1000;

    #[test]
    fn a_file_is_judged_by_its_owner_and_its_mode() {
        use Others::{Everybody, Group, Owner};
        for (owner, group, mode, expected) in [
            (ME, 100, 0o600, None),
            (ME, 100, 0o400, None),
            (ME, 100, 0o711, None),
            (ME, 100, 0o640, Some(Group)),
            (ME, 100, 0o620, Some(Group)),
            (ME, 100, 0o604, Some(Everybody)),
            (ME, 100, 0o602, Some(Everybody)),
            // A user's own group, to which Kubernetes opens what is in a volume.
            (ME, ME, 0o660, None),
            (ME, ME, 0o644, Some(Everybody)),
            // root:unified-push, and a Secret in Kubernetes.
            (ROOT, 100, 0o640, None),
            (ROOT, ME, 0o440, None),
            (ROOT, ROOT, 0o644, Some(Everybody)),
            (1001, ME, 0o640, Some(Group)),
            (1001, 1001, 0o600, Some(Owner)),
            (UNKNOWN, UNKNOWN, 0o600, None),
        ] {
            let access = (owner, group, 0o100_000 | mode);
            assert_eq!(
                others(access, ME, 0o6),
                expected,
                "{owner}:{group} {mode:o}"
            );
        }
        assert_eq!(others((ME, ME, 0o600), ROOT, 0o6), None);
    }

    #[test]
    fn a_directory_is_open_to_those_who_can_write_there() {
        for (mode, expected) in [
            (0o755, None),
            (0o1777, Some(Others::Everybody)),
            (0o770, Some(Others::Group)),
        ] {
            assert_eq!(others((ME, 100, mode), ME, 0o2), expected, "{mode:o}");
        }
    }

    #[test]
    fn the_remedy_does_not_shut_the_daemon_out() {
        let text = |owner, to| {
            let path = PathBuf::from("/etc/unified-push/secret");
            Exposed { path, to, owner }.to_string()
        };
        assert_eq!(
            text(ME, Others::Group),
            "/etc/unified-push/secret is open to its group; run `chmod go=` on it"
        );
        assert!(text(ROOT, Others::Everybody).contains("`chgrp`"));
        assert!(text(1001, Others::Owner).contains("another user (uid 1001); run `chown`"));
    }
}
