//! The registrations that have passed the first look, and the work on them.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::{Registrar, Screened};
use crate::{link::RegisterReply, model::registration::Registration};

/// Registrations that wait for the registrar; more are refused. All phones of a server come back
/// at once after it has restarted.
pub const QUEUE: usize = 4096;
/// Registrations worked on at a time: they share commits.
const AT_ONCE: usize = 64;

/// Answers registrations until the link is gone for good. `registered` is told of each that
/// succeeded, after its phone was.
pub async fn serve<Told: Future<Output = ()> + Send + 'static>(
    registrar: Arc<Registrar>,
    mut requests: mpsc::Receiver<Screened>,
    replies: mpsc::Sender<RegisterReply>,
    registered: impl Fn(Registration) -> Told + Clone + Send + 'static,
) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(screened) = requests.recv().await {
        // A goodbye comes after what was asked for before it, and before what is asked for next.
        let width = if screened.is_goodbye() { AT_ONCE } else { 1 };
        let slot = slots
            .clone()
            .acquire_many_owned(width as u32)
            .await
            .expect("the semaphore is never closed");
        let (registrar, replies) = (registrar.clone(), replies.clone());
        let registered = registered.clone();
        tokio::spawn(async move {
            let (reply, registration) = registrar.register(screened).await;
            // Waits while the link is slow or down. It fails only when the daemon stops.
            let _ = replies.send(reply).await;
            // Only now, lest the phone be sent what waits before it knows that it has registered.
            if let Some(registration) = registration {
                registered(registration).await;
            }
            drop(slot);
        });
    }
}
