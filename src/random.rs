//! Randomness as a parameter, so that tests are repeatable.

use rand::Rng;

/// A source of random bytes, fit for secrets unless it is a test's.
pub trait Random: Send + Sync {
    /// Overwrites all the bytes. It cannot fail.
    fn fill(&self, bytes: &mut [u8]);
}

/// Draws an array, such as `random_array::<16>(&random)`.
pub fn random_array<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

/// Seeded by the operating system, again and again: to ask that for each push cost 3 % of its CPU
/// time.
#[derive(Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}
