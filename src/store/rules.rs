//! What every engine keeps to.

use std::time::Duration;

/// How many rows one transaction deletes at most, so that nobody waits long for it.
pub const STEP: u32 = 500;

/// A registration that ends so soon gets a new URL when it is renewed: it may end while the renewal
/// waits for the disk, and a URL that has answered 404 never comes back.
pub const NO_TIME_LEFT: Duration = Duration::from_secs(60);

/// How many revocations of one account are kept apart. Nobody parts with so many apps within a
/// registration's life; beyond it the whole account is revoked, so that no account can fill the
/// memory, which mirrors the table.
pub const REVOCATIONS_PER_OWNER: u32 = 1000;
