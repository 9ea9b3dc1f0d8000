//! The message resource (RFC 8030 §5): `GET /message/{id}` tells whether a message waits still,
//! `DELETE` takes it back. Neither tells whether there ever was one.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::Uri,
    response::Response,
};

use crate::{
    delivery::StoreFailed,
    http::{Deliver, Public, answer, locate, push},
    model::message::MessageId,
};

pub async fn get<D: Deliver>(State(public): State<Arc<Public<D>>>, uri: Uri) -> Response {
    let Some(id) = id(&uri) else {
        if locate::is_endpoint(uri.path()) {
            return push::discover(State(public), uri).await;
        }
        return answer::not_pending();
    };
    match public.delivery.is_pending(id).await {
        Ok(true) => answer::pending(),
        Ok(false) => answer::not_pending(),
        Err(StoreFailed) => answer::store_failed(),
    }
}

pub async fn delete<D: Deliver>(State(public): State<Arc<Public<D>>>, uri: Uri) -> Response {
    let Some(id) = id(&uri) else {
        return answer::taken_back();
    };
    match public.delivery.cancel(id).await {
        Ok(()) => answer::taken_back(),
        Err(StoreFailed) => answer::store_failed(),
    }
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
