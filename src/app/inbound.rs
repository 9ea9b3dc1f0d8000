//! From the link to the use cases: answers and presence to delivery, registrations to the
//! registrar.

use std::sync::Arc;

use jid::Jid;
use tokio::sync::mpsc;

use crate::{
    delivery::Delivery,
    link::{Answer, Inbound, RegisterReply, RegisterRequest},
    registrar::{Registrar, Screened},
};

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

    fn answer(&self, from: &str, id: &str, answer: Answer) -> bool {
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
