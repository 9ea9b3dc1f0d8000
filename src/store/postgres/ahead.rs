//! What comes next. A claim reads all that waits for a phone, and so knows the next ones as well: while
//! this daemon sends one message after the other, most of its claims read a single row.

use std::collections::{HashMap, VecDeque};

use jid::Jid;

use crate::model::sync::Mutex;

/// How many of a phone's messages are known in advance. Those that were released by another daemon
/// meanwhile come after them, whatever their urgency.
pub const AHEAD: usize = 32;

/// How many phones are kept; beyond it, all are forgotten.
const MOST: usize = 10_000;

#[derive(Default)]
pub struct Ahead {
    phones: Mutex<HashMap<Jid, Known>>,
}

struct Known {
    /// Of messages that were never held, in the order in which they are sent.
    numbers: VecDeque<i64>,
    /// Whatever has come to the account since lies above this place.
    highest: i64,
}

impl Ahead {
    /// The number of a phone's next message, unless something lies above the place.
    pub fn next(&self, phone: &Jid) -> Option<(i64, i64)> {
        let phones = self.phones.lock();
        let known = phones.get(phone)?;
        Some((*known.numbers.front()?, known.highest))
    }

    /// The next message was claimed.
    pub fn taken(&self, phone: &Jid) {
        let mut phones = self.phones.lock();
        if let Some(known) = phones.get_mut(phone) {
            known.numbers.pop_front();
            if known.numbers.is_empty() {
                phones.remove(phone);
            }
        }
    }

    pub fn learn(&self, phone: &Jid, numbers: Vec<i64>, highest: i64) {
        let mut phones = self.phones.lock();
        if numbers.is_empty() {
            phones.remove(phone);
            return;
        }
        if phones.len() >= MOST {
            phones.clear();
        }
        let numbers = numbers.into();
        phones.insert(phone.clone(), Known { numbers, highest });
    }

    pub fn forget(&self, phone: &Jid) {
        self.phones.lock().remove(phone);
    }

    /// The database may be another one: a standby that was behind.
    pub fn forget_all(&self) {
        self.phones.lock().clear();
    }
}
