//! Web pages may push from any origin: an endpoint is its own permission. The answer is the same for
//! every origin, so it need not vary.

use axum::{
    http::{
        HeaderName, HeaderValue,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
            ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        },
    },
    response::{IntoResponse, Response},
};

/// The answer to what browsers ask beforehand (OPTIONS), whatever the path.
pub fn preflight() -> Response {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET,HEAD,POST,DELETE,OPTIONS"),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "ttl,urgency,topic,encryption,crypto-key,prefer,content-encoding,content-type,authorization",
        ),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    let mut response = headers.into_response();
    insert(&mut response, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    response
}

/// Lets a page of any origin read an answer.
pub fn open(response: &mut Response) {
    insert(response, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    let readable = "location,ttl,retry-after";
    insert(response, ACCESS_CONTROL_EXPOSE_HEADERS, readable);
}

fn insert(response: &mut Response, name: HeaderName, value: &'static str) {
    let value = HeaderValue::from_static(value);
    response.headers_mut().insert(name, value);
}
