//! Pushes with a topic that go to their phone past the store, where replicas share one.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{delivery::Delivery, model::registration::Registration};

/// While it lasts, what waits for this phone is not sent: it may be an earlier push of the same topic, of
/// which this replica has not heard, and would arrive after the later one.
pub struct Passing {
    delivery: Arc<Delivery>,
    registration: Arc<Registration>,
}

impl Passing {
    /// None when the push is to be stored.
    pub fn begin(delivery: &Arc<Delivery>, registration: &Arc<Registration>) -> Option<Self> {
        delivery.phones.pass(&registration.owner).then(|| Self {
            delivery: delivery.clone(),
            registration: registration.clone(),
        })
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let owner = &self.registration.owner;
        self.delivery.phones.passed(owner, Instant::now());
    }
}
