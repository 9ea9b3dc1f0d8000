//! From the link to the use cases: answers and presence to delivery, registrations to the
//! registrar.

use std::sync::Arc;

use jid::Jid;
use tokio::sync::{Semaphore, mpsc};

use crate::{
    delivery::Delivery,
    link::{Answer, Inbound, RegisterReply, RegisterRequest},
    registrar::{Registrar, Screened},
};

/// Registrations that wait for the registrar; more are refused. All phones of a server come back
/// at once after it has restarted.
pub const REGISTRATION_QUEUE: usize = 4096;
/// Registrations worked on at a time: they share commits.
const AT_ONCE: usize = 64;

pub struct UseCases {
    pub delivery: Arc<Delivery>,
    pub registrar: Arc<Registrar>,
    pub registrations: mpsc::Sender<Screened>,
}

impl Inbound for UseCases {
    fn link_up(&self) {
        self.delivery.link_up();
    }

    fn link_down(&self) {
        self.delivery.link_down();
    }

    fn answer(&self, from: &Jid, id: &str, answer: Answer) -> bool {
        self.delivery.answer(from, id, answer)
    }

    fn presence(&self, from: &Jid, available: bool) {
        self.delivery.presence(from, available);
    }

    fn register(&self, request: RegisterRequest) -> Result<(), RegisterReply> {
        self.delivery.phone_spoke(&request.from);
        let screened = self.registrar.screen(request)?;
        self.registrations
            .try_send(screened)
            .map_err(|full| self.registrar.busy(full.into_inner()))
    }
}

/// Answers registrations until the link is gone for good.
pub async fn serve_registrations(
    registrar: Arc<Registrar>,
    delivery: Arc<Delivery>,
    mut requests: mpsc::Receiver<Screened>,
    replies: mpsc::Sender<RegisterReply>,
) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(screened) = requests.recv().await {
        let slot = slots
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let (registrar, delivery) = (registrar.clone(), delivery.clone());
        let replies = replies.clone();
        tokio::spawn(async move {
            let (reply, registration) = registrar.register(screened).await;
            // Waits while the link is slow or down. It fails only when the daemon stops.
            let _ = replies.send(reply).await;
            // Now, lest the phone be sent what waits before it knows that it has registered.
            if let Some(registration) = registration {
                delivery.registered(&registration).await;
            }
            drop(slot);
        });
    }
}
