//! The admin listener: `/metrics`, `/healthz` and `/readyz`. Not for the public.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tracing::error;

use crate::{
    http::{Site, answer},
    metrics::{Label, Metrics},
    runtime::health::Health,
};

/// What the admin listener serves.
pub fn admin(metrics: Arc<Metrics>, health: Health) -> Site {
    let rendered = metrics.clone();
    let router = Router::new()
        .route("/metrics", get(move || async move { render(&rendered) }))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .fallback(|| async { answer::not_found() })
        .with_state(health);
    Site {
        router,
        pushes: None,
        cors: None,
        metrics,
    }
}

fn render(metrics: &Metrics) -> Response {
    match metrics.render() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            error!(%error, "cannot render the metrics");
            answer::internal_error()
        }
    }
}

async fn ready(State(health): State<Health>) -> Response {
    let ready = health.ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let link = health.link().name();
    let store = if health.store_ok() { "ok" } else { "failing" };
    let clock = if health.clock_ok() { "ok" } else { "wrong" };
    let notifications = match health.store_silence() {
        None => String::new(),
        Some(why) => format!(r#","notifications":"{why}""#),
    };
    let body = format!(
        r#"{{"ready":{ready},"link":"{link}","store":"{store}","clock":"{clock}"{notifications}}}"#
    );
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}
