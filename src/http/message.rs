//! The message resource (RFC 8030 §5): `GET /message/{id}` tells whether a message waits still,
//! `DELETE` takes it back. Neither tells whether there ever was one.

use std::sync::Arc;

use axum::{extract::State, http::Uri, response::Response};

use crate::{
    delivery::StoreFailed,
    http::{Deliver, Public, answer, last_segment},
    model::message::MessageId,
};

pub async fn get<D: Deliver>(State(public): State<Arc<Public<D>>>, uri: Uri) -> Response {
    let Some(id) = MessageId::parse(last_segment(&uri)) else {
        return answer::not_pending();
    };
    match public.delivery.is_pending(id).await {
        Ok(true) => answer::pending(),
        Ok(false) => answer::not_pending(),
        Err(StoreFailed) => answer::store_failed(),
    }
}

pub async fn delete<D: Deliver>(State(public): State<Arc<Public<D>>>, uri: Uri) -> Response {
    let Some(id) = MessageId::parse(last_segment(&uri)) else {
        return answer::taken_back();
    };
    match public.delivery.cancel(id).await {
        Ok(()) => answer::taken_back(),
        Err(StoreFailed) => answer::store_failed(),
    }
}
