//! From the link to the use cases: answers and presence to delivery, registrations to the
//! registrar.

use std::sync::Arc;

use jid::Jid;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    delivery::Delivery,
    link::{Answer, Inbound, RegisterReply, RegisterRequest},
    metrics::{Metrics, OddStanza, RegistrationResult},
    registrar::Registrar,
};

/// Registrations that wait for the registrar; more are refused.
pub const REGISTRATION_QUEUE: usize = 256;
/// Registrations worked on at a time: they share commits.
const AT_ONCE: usize = 64;

pub struct Gateway {
    pub delivery: Arc<Delivery>,
    pub registrations: mpsc::Sender<RegisterRequest>,
    pub metrics: Arc<Metrics>,
}

impl Inbound for Gateway {
    fn link_up(&self) {}

    fn link_down(&self) {
        self.delivery.link_down();
    }

    fn answer(&self, from: &Jid, id: &str, answer: Answer) -> bool {
        self.delivery.answer(from, id, answer)
    }

    fn presence(&self, from: &Jid, available: bool) {
        self.delivery.presence(from, available);
    }

    fn register(&self, request: RegisterRequest) -> Result<(), RegisterRequest> {
        self.registrations.try_send(request).map_err(|error| {
            self.metrics.registrations.inc(RegistrationResult::Busy);
            error.into_inner()
        })
    }
}

/// Answers registrations until the link is gone for good.
pub async fn serve_registrations(
    registrar: Arc<Registrar>,
    mut requests: mpsc::Receiver<RegisterRequest>,
    replies: mpsc::Sender<RegisterReply>,
    metrics: Arc<Metrics>,
) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(request) = requests.recv().await {
        let slot = slots
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let (registrar, replies, metrics) = (registrar.clone(), replies.clone(), metrics.clone());
        tokio::spawn(async move {
            let reply = registrar.register(request).await;
            // A phone whose answer is lost asks again.
            if replies.try_send(reply).is_err() {
                metrics.odd_stanzas.inc(OddStanza::ReplyDropped);
            }
            drop(slot);
        });
    }
}
