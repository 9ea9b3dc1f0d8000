//! Claims of this daemon that were not answered: they may have been made all the same, as when the
//! connection was lost over the commit. The next one for the same phone ends them.

use std::collections::HashSet;

use jid::Jid;

use crate::model::sync::Mutex;

/// How many phones are noted. For others, the lease has to end.
const MOST: usize = 10_000;

#[derive(Default)]
pub struct Unsure(Mutex<HashSet<Jid>>);

impl Unsure {
    /// Before a claim; true if an earlier one was not answered.
    pub fn ask<'a>(&'a self, phone: &'a Jid) -> (Asking<'a>, bool) {
        let unsure = self.0.lock().remove(phone);
        let asking = Asking {
            all: self,
            phone,
            answered: false,
        };
        (asking, unsure)
    }
}

/// A claim that is asked for. Unless it is [`answered`](Self::answered), it is noted in the end.
pub struct Asking<'a> {
    all: &'a Unsure,
    phone: &'a Jid,
    answered: bool,
}

impl Asking<'_> {
    pub fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let mut unsure = self.all.0.lock();
        if unsure.len() < MOST {
            unsure.insert(self.phone.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_answered_is_known_once() {
        let (unsure, phone) = (Unsure::default(), Jid::new("a@b/c").unwrap());
        let (asking, retakes) = unsure.ask(&phone);
        assert!(!retakes);
        drop(asking);
        let (asking, retakes) = unsure.ask(&phone);
        assert!(retakes);
        asking.answered();
        assert!(!unsure.ask(&phone).1);
    }
}
