//! Locks that cannot fail.

use std::sync::{MutexGuard, PoisonError, RwLockReadGuard};

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

/// A value that is replaced as a whole while others read it, as a reload does with settings. Readers
/// hold it for a moment only: what has to stay as it is for longer is to be cloned.
#[derive(Debug, Default)]
pub struct Current<T>(std::sync::RwLock<T>);

impl<T> Current<T> {
    pub const fn new(value: T) -> Self {
        Self(std::sync::RwLock::new(value))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}
