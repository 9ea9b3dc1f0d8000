//! The message resource (RFC 8030 §5): `GET /message/{id}` tells whether a message waits still,
//! `DELETE` takes it back. Neither tells whether there ever was one.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{Uri, request::Parts},
    response::Response,
};
use tokio::sync::Semaphore;

use crate::{
    delivery::StoreFailed,
    http::{Deliver, Public, answer, client::Peer, locate, push},
    model::message::MessageId,
};

/// How many questions the store is asked at a time. It has other work, and a queue with an end.
const AT_ONCE: usize = 64;

pub fn questions() -> Semaphore {
    Semaphore::new(AT_ONCE)
}

pub async fn get<D: Deliver>(State(public): State<Arc<Public<D>>>, request: Request) -> Response {
    let uri = request.uri();
    if id(uri).is_none() && locate::is_endpoint(uri.path()) {
        let uri = uri.clone();
        return push::discover(State(public), uri).await;
    }
    let parts = request.into_parts().0;
    match ask(&public, &parts, |id| public.delivery.is_pending(id)).await {
        Ok(true) => answer::pending(),
        Ok(false) => answer::not_pending(),
        Err(refused) => refused,
    }
}

pub async fn delete<D: Deliver>(
    State(public): State<Arc<Public<D>>>,
    request: Request,
) -> Response {
    let parts = request.into_parts().0;
    match ask(&public, &parts, |id| public.delivery.cancel(id)).await {
        Ok(_) => answer::taken_back(),
        Err(refused) => refused,
    }
}

/// Asks about the message that a request names. Whoever asks for many that are not there is refused, as
/// with made-up endpoints.
async fn ask<D, F>(
    public: &Public<D>,
    request: &Parts,
    about: impl FnOnce(MessageId) -> F,
) -> Result<bool, Response>
where
    F: Future<Output = Result<bool, StoreFailed>>,
{
    let waits = match id(&request.uri) {
        Some(id) => {
            // The store has other work.
            let Ok(_asks) = public.questions.try_acquire() else {
                return Err(answer::busy());
            };
            about(id)
                .await
                .map_err(|StoreFailed| answer::store_failed())?
        }
        None => false,
    };
    if !waits
        && let Some((_, refused)) = public
            .guesses
            .refuse(&public.client(Peer::of(&request.extensions), &request.headers))
    {
        public.guesses.wait().await;
        return Err(refused);
    }
    Ok(waits)
}

/// A message resource takes no messages. A token may stand here all the same: see [`locate`].
pub async fn post<D: Deliver>(state: State<Arc<Public<D>>>, request: Request) -> Response {
    if locate::is_endpoint(request.uri().path()) {
        push::post(state, request).await
    } else {
        not_allowed()
    }
}

pub fn not_allowed() -> Response {
    answer::method_not_allowed("DELETE, GET, HEAD, OPTIONS")
}

/// Not decoded: it consists of unreserved characters.
fn id(uri: &Uri) -> Option<MessageId> {
    MessageId::parse(uri.path().rsplit('/').next()?)
}
