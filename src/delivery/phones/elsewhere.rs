//! What this replica learns of a phone when messages were stored for another resource, or by another
//! replica, which it may not have heard of.

use jid::Jid;
use tokio::time::Instant;

use super::{Phones, phone::Phone};
use crate::store::Overtaken;

/// Phones in the table beyond which none is entered on a mere suspicion.
const MOST_SUSPECTED: usize = 1 << 16;

impl Phones {
    /// Another replica may have sent this phone messages, and hold them. What happens to the phone next
    /// is noted as if messages waited.
    pub fn may_have_messages(&self, phone: &Jid) {
        self.change(|table| {
            if table.phones.len() < MOST_SUSPECTED {
                table.enter(phone);
            }
        });
    }

    /// A push with a topic went to this phone past the store, where an earlier one may be that this
    /// replica has not heard of.
    pub fn overtook(&self, phone: &Jid, overtaken: Overtaken, now: Instant) {
        self.change(|table| {
            if table.phones.len() < MOST_SUSPECTED || table.get(phone.as_str()).is_some() {
                let known = table.enter(phone);
                known.overtake(overtaken);
                known.store_changed(false);
                table.schedule_unless_resting(phone.as_str(), now);
            }
        });
    }

    /// A push with a topic may go to this phone past the store, where another replica may have put an
    /// earlier one: that one is not sent until [`passed`](Self::passed). False when it may be on its way,
    /// or the push is to be stored in any case.
    pub fn pass(&self, phone: &Jid) -> bool {
        let mut table = self.table.lock();
        let waits = |known: &Phone| known.must_wait() || known.is_being_tried();
        let passes = !table.get(phone.as_str()).is_some_and(waits);
        if passes {
            *table.passing.entry(phone.as_str().into()).or_default() += 1;
        }
        passes
    }

    pub fn passed(&self, phone: &Jid, now: Instant) {
        let phone = phone.as_str();
        self.change(|table| {
            if let Some(passing) = table.passing.get_mut(phone) {
                *passing -= 1;
                if *passing > 0 {
                    return;
                }
                table.passing.remove(phone);
            }
            if let Some(known) = table.get_mut(phone) {
                known.store_changed(false);
                table.schedule_unless_resting(phone, now);
            }
        });
    }

    /// Whether what waits for this phone is not to be sent yet, because pushes pass it. No more of them do
    /// from now on.
    pub fn gives_way(&self, phone: &Jid) -> bool {
        let mut table = self.table.lock();
        let is_being_passed = table.passing.contains_key(phone.as_str());
        if is_being_passed && let Some(known) = table.get_mut(phone.as_str()) {
            known.kept = true;
        }
        is_being_passed
    }

    /// The store has messages for this phone: nothing is sent past them.
    pub fn surely_has_messages(&self, phone: &Jid) {
        self.change(|table| {
            if let Some(known) = table.get_mut(phone.as_str()) {
                known.kept = true;
            }
        });
    }

    /// Another replica has emptied this phone's queue, as far as it knows. Who has no link forgets
    /// it: the store is asked when the link is up.
    pub fn drained_elsewhere(&self, phone: &Jid, now: Instant) {
        self.change(|table| {
            let phone = phone.as_str();
            if table.link_up {
                table.schedule(phone, now);
            } else if table.get(phone).is_some_and(|known| known.writing == 0) {
                table.remove(phone);
            }
        });
    }
}
