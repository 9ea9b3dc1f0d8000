//! Randomness as a parameter, so that tests are repeatable.

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
pub struct SystemRandom(ring::rand::SystemRandom);

impl SystemRandom {
    pub fn new() -> Self {
        Self(ring::rand::SystemRandom::new())
    }
}

impl Default for SystemRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0
            .fill(bytes)
            .expect("the kernel's random generator cannot fail once the system has booted");
    }
}
