//! How long a phone is left alone after a temporary error.

use std::time::Duration;

use super::HOLD;
use crate::model::random::{Random, random_array};

/// After the first error; doubled with each one that follows it.
pub const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = HOLD;

/// After so many errors in a row. It is up to a quarter less, so that those who failed together do not
/// come back together.
pub fn after(errors: u32, random: &dyn Random) -> Duration {
    let doublings = errors.saturating_sub(1).min(16);
    let [random] = random_array(random);
    (FIRST_PAUSE * 2u32.saturating_pow(doublings))
        .min(LONGEST_PAUSE)
        .mul_f64(1.0 - f64::from(random) / 1024.0)
}
