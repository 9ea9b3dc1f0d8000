//! `unified-push send`: sends a test push and explains the answer.

use std::io::{self, Read};

use ureq::{
    Body,
    http::{HeaderValue, Response, Uri},
};

use super::{
    agent::agent,
    error::{CliError, Exit},
};
use crate::model::payload::MAX_PAYLOAD;

#[derive(clap::Args)]
pub struct Args {
    /// The endpoint URL that the app received
    endpoint: String,
    /// How many seconds the message stays useful (header TTL)
    #[arg(long, value_name = "SECONDS", default_value_t = 86400)]
    ttl: u32,
    /// Replace a waiting message that has the same topic (header Topic)
    #[arg(long)]
    topic: Option<HeaderValue>,
    /// very-low, low, normal or high (header Urgency)
    #[arg(long)]
    urgency: Option<HeaderValue>,
    /// The message; read from standard input if omitted
    text: Option<String>,
}

/// Prints the meaning of the answer; no when the push was not accepted.
pub fn run(args: Args) -> Result<Exit, CliError> {
    let body = match &args.text {
        Some(text) => text.clone().into_bytes(),
        None => stdin()?,
    };
    let mut headers = vec![("TTL", HeaderValue::from(args.ttl))];
    headers.extend(args.topic.map(|topic| ("Topic", topic)));
    headers.extend(args.urgency.map(|urgency| ("Urgency", urgency)));
    let mut response = post(&args.endpoint, &headers, &body)?;

    let status = response.status().as_u16();
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    match status {
        201 => println!("201: {}", accepted(header("TTL"), header("Location"))),
        _ => println!("{status}: {}", meaning(status)),
    }
    if let Some(seconds) = header("Retry-After") {
        println!("try again after {seconds} s");
    }
    if status == 400
        && let Ok(detail) = response.body_mut().read_to_string()
    {
        println!("the server says: {}", detail.trim());
    }
    Ok(match status {
        201 => Exit::Done,
        _ => Exit::No,
    })
}

/// Pushes as an application server does: redirects are not followed, every status is an answer.
pub fn post(
    endpoint: &str,
    headers: &[(&str, HeaderValue)],
    body: &[u8],
) -> Result<Response<Body>, CliError> {
    let endpoint: Uri = endpoint.parse().map_err(CliError::NoUrl)?;
    if !matches!(endpoint.scheme_str(), Some("http" | "https")) {
        return Err(CliError::NoHttp);
    }
    let mut request = agent(&endpoint)?.post(endpoint);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let sent = request.send(body);
    sent.map_err(CliError::from)
}

fn stdin() -> Result<Vec<u8>, CliError> {
    // One byte too many shows the server's own answer to a message that is too large.
    let limit = MAX_PAYLOAD as u64 + 1;
    let mut body = Vec::new();
    io::stdin()
        .take(limit)
        .read_to_end(&mut body)
        .map_err(CliError::Input)?;
    Ok(body)
}

/// What a 201 means: the phone has the message, unless it is still waiting at its resource.
fn accepted(ttl: Option<&str>, location: Option<&str>) -> String {
    if ttl == Some("0") {
        return "sent to the phone, which has not confirmed it; the message is not kept".to_owned();
    }
    match (location.and_then(status_of), ttl) {
        (Some(200), Some(ttl)) => {
            format!("kept for up to {ttl} s; the phone gets it when it is back")
        }
        (Some(404), _) => "accepted: the phone has it".to_owned(),
        _ => "accepted: the phone has it, or gets it when it is back".to_owned(),
    }
}

/// None when nobody answers there.
fn status_of(resource: &str) -> Option<u16> {
    let resource: Uri = resource.parse().ok()?;
    let response = agent(&resource).ok()?.get(resource).call().ok()?;
    Some(response.status().as_u16())
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "the request is malformed; another try would be refused too",
        404 => "this endpoint is unknown, expired or revoked: let the app register again",
        405 => "this URL is not an endpoint; copy it exactly as the app received it",
        413 => "the message is larger than 4096 bytes",
        429 => "too many unknown endpoints have been tried from this address",
        503 => {
            "not accepted at the moment: a limit is reached, the storage fails or, with a TTL of 0, the \
             phone or the XMPP server is away"
        }
        502 | 504 => "the reverse proxy cannot reach the daemon",
        500..=599 => "the server failed; its log says why",
        300..=399 => "a redirect, which push senders do not follow: fix the reverse proxy",
        _ => "this is not an answer of a push server; is this URL an endpoint?",
    }
}
