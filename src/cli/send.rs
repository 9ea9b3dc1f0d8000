//! `unified-push send`: sends a test push as an application server does, and explains the answer.

mod answer;
mod encrypt;
pub mod error;
mod subscription;
mod text;
mod vapid;

use std::io::{self, Read};

use ureq::{
    Body,
    http::{HeaderMap, HeaderValue, Response, Uri, header::CONTENT_TYPE},
};

use self::{
    answer::{Answer, retry_after},
    encrypt::Keys,
    error::SendError,
    subscription::Subscription,
    text::{origin, shown},
    vapid::SigningKey,
};
use super::{
    WAITING,
    agent::agent,
    error::{CliError, Exit},
    examples, still,
};
use crate::model::{
    payload::MAX_PAYLOAD,
    random::SystemRandom,
    time::{Clock, SystemClock},
};

/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 16 * 1024;

#[derive(clap::Args)]
#[command(after_help = examples::SEND)]
pub struct Args {
    /// How many seconds the message stays useful (header TTL)
    #[arg(long, value_name = "SECONDS", default_value_t = 86400)]
    ttl: u32,
    /// Replace a waiting message that has the same topic (header Topic)
    #[arg(long)]
    topic: Option<HeaderValue>,
    /// very-low, low, normal or high (header Urgency)
    #[arg(long)]
    urgency: Option<HeaderValue>,
    /// Take the endpoint and its keys from a file with JSON; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["p256dh", "auth"])]
    subscription: Option<String>,
    /// Encrypt for the app that has this public key (RFC 8291)
    #[arg(long, value_name = "KEY", requires = "auth")]
    p256dh: Option<String>,
    /// The app's shared secret, which belongs to its public key
    #[arg(long, value_name = "SECRET", requires = "p256dh")]
    auth: Option<String>,
    /// Sign with this private key (RFC 8292): a file with PEM or base64url, or base64url itself
    #[arg(long, value_name = "FILE|KEY", allow_hyphen_values = true)]
    vapid_key: Option<String>,
    /// Whom the push server may ask about the sender, such as mailto:admin@example.org
    #[arg(long, value_name = "URL", requires = "vapid_key")]
    vapid_subject: Option<String>,
    /// The endpoint URL that the app received; leave it out with --subscription
    #[arg(required_unless_present = "subscription")]
    endpoint: Option<String>,
    /// The message; read from standard input if omitted
    text: Option<String>,
}

/// Prints the meaning of the answer; no when the push was not accepted.
pub fn run(mut args: Args) -> Result<Exit, CliError> {
    let to = recipient(&mut args)?;
    let endpoint = parse(&to.endpoint)?;
    let body = match &args.text {
        Some(text) => text.clone().into_bytes(),
        None => stdin()?,
    };
    let mut headers = vec![("TTL", HeaderValue::from(args.ttl))];
    headers.extend(args.topic.map(|topic| ("Topic", topic)));
    headers.extend(args.urgency.map(|urgency| ("Urgency", urgency)));
    let body = match &to.keys {
        Some(keys) => {
            headers.push(("Content-Encoding", HeaderValue::from_static("aes128gcm")));
            keys.encrypt(&body, &SystemRandom)
        }
        None => body,
    };
    if let Some(key) = &args.vapid_key {
        let key = SigningKey::read(key).map_err(SendError::from)?;
        let subject = args.vapid_subject.as_deref();
        let signature = key.authorization(&endpoint, subject, SystemClock.now());
        headers.push(("Authorization", signature));
    }
    let waiting = still(WAITING);
    let mut response = post(&to.endpoint, &headers, &body)?;
    drop(waiting);

    let said = response.body_mut().with_config().limit(MAX_ANSWER);
    // An answer that is no text has its status all the same.
    let said = said.read_to_string().unwrap_or_default();
    let header = |name| header(response.headers(), name);
    let location = header("Location").and_then(|location| resource(&endpoint, location));
    let answer = Answer {
        status: response.status().as_u16(),
        ttl: header("TTL"),
        resource: location.and_then(status_of),
        is_json: header(CONTENT_TYPE.as_str()).is_some_and(|it| it.starts_with("application/json")),
        was_encrypted: to.keys.is_some(),
        was_signed: args.vapid_key.is_some(),
    };
    println!("{}: {}", answer.status, answer.meaning());
    if answer.is_accepted() {
        return Ok(Exit::Done);
    }
    if let Some(when) = header("Retry-After") {
        println!("{}", retry_after(when));
    }
    // Pages are for browsers.
    if !said.trim_start().starts_with('<') && !said.trim().is_empty() {
        println!("the server says: {}", shown(&said, &endpoint));
    }
    Ok(Exit::No)
}

/// To whom the arguments say. With a subscription the first argument is the message.
fn recipient(args: &mut Args) -> Result<Subscription, SendError> {
    if let Some(file) = &args.subscription {
        if args.text.is_some() {
            return Err(SendError::TwoEndpoints);
        }
        args.text = args.endpoint.take();
        if file == "-" && args.text.is_none() {
            return Err(SendError::TwoInputs);
        }
        return Ok(Subscription::read(file)?);
    }
    let keys = match (&args.p256dh, &args.auth) {
        (Some(p256dh), Some(auth)) => Some(Keys::parse(p256dh, auth)?),
        _ => None,
    };
    let endpoint = args.endpoint.clone().unwrap_or_default();
    Ok(Subscription { endpoint, keys })
}

/// A header that is printable ASCII.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn parse(endpoint: &str) -> Result<Uri, CliError> {
    let endpoint: Uri = endpoint.parse().map_err(CliError::NoUrl)?;
    match endpoint.scheme_str() {
        Some("http" | "https") => Ok(endpoint),
        _ => Err(CliError::NoHttp),
    }
}

/// Pushes as an application server does: redirects are not followed, every status is an answer.
pub fn post(
    endpoint: &str,
    headers: &[(&str, HeaderValue)],
    body: &[u8],
) -> Result<Response<Body>, CliError> {
    let endpoint = parse(endpoint)?;
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

/// The resource of the message, unless it is on another server, where nothing of ours is to go.
fn resource(endpoint: &Uri, location: &str) -> Option<Uri> {
    let location = match location.starts_with('/') && !location.starts_with("//") {
        true => format!("{}{location}", origin(endpoint)),
        false => location.to_owned(),
    };
    let location: Uri = location.parse().ok()?;
    (origin(&location) == origin(endpoint)).then_some(location)
}

/// None when nobody answers there.
fn status_of(resource: Uri) -> Option<u16> {
    let response = agent(&resource).ok()?.get(resource).call().ok()?;
    Some(response.status().as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_the_endpoint_s_own_server_is_asked_about_the_message() {
        let endpoint = "https://up.example.org/push/t0ken".parse().unwrap();
        let found = |location| resource(&endpoint, location).map(|uri| uri.to_string());
        let own = "https://up.example.org/message/1";
        for location in [own, "/message/1", "https://UP.example.org:443/message/1"] {
            let found = found(location).map(|uri| uri.to_lowercase().replace(":443", ""));
            assert_eq!(found.as_deref(), Some(own), "{location}");
        }
        for location in [
            "https://other.example.org/message/1",
            "http://up.example.org/message/1",
            "https://up.example.org:8443/message/1",
            "//other.example.org/message/1",
            "message/1",
            "",
        ] {
            assert_eq!(found(location), None, "{location}");
        }
    }
}
