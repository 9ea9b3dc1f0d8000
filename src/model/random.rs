//! Randomness as a parameter, so that tests are repeatable.

use rand::Rng;
use ring::rand::SecureRandom;

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

/// The operating system's generator.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        ring::rand::SystemRandom::new()
            .fill(bytes)
            .expect("the kernel's random generator cannot fail once the system has booted");
    }
}

/// Seeded by the operating system, again and again; for what a push needs, of whose CPU time calls to
/// the kernel took 3 %.
pub struct SeededRandom;

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}
