//! A mutex whose lock cannot fail.

use std::sync::{MutexGuard, PoisonError};

/// A mutex for state that is whole after every statement: a thread that panicked while it held the
/// lock has left nothing half done, so the others go on.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Waits until no other thread holds the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
