//! What the world sees: names in DNS, the certificate, and the reverse proxy.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use ureq::http::{Uri, header};

use super::{
    certificate::{self, LookError, without_brackets},
    challenge::{Answer, Challenge},
    finding::Findings,
};
use crate::{
    cli::agent::agent,
    config::Config,
    http::NO_ENDPOINT,
    model::{
        acl::Acl,
        payload::MAX_PAYLOAD,
        secret::Secret,
        time::{Clock, SystemClock},
    },
};

const DOMAIN: &str = "component.domain";
const PUBLIC: &str = "http.public_url";
const CERTIFICATE: &str = "certificate";
const PROXY: &str = "proxy";

/// Where XMPP servers look for one another.
const SERVERS: u16 = 5269;

/// Bytes of an answer that are read.
const MAX_ANSWER: u64 = 64 * 1024;

pub fn look(config: &Config, runs: bool, secret: Option<&Secret>, findings: &mut Findings) {
    domain(config, findings);
    let url = config.http.public_url.to_string();
    // It was one when the configuration was read.
    let Ok(uri) = url.parse::<Uri>() else { return };
    let Some(addresses) = addresses(&uri, findings) else {
        return;
    };
    let is_encrypted = config.http.public_url.is_encrypted();
    if is_encrypted && !encryption(&uri, &addresses, findings) {
        return;
    }
    if runs {
        proxy(config, &uri, secret, findings);
    } else {
        let text = "it can be asked only while the daemon runs: start the daemon, and ask again";
        findings.unknown(PROXY, text);
    }
}

/// Only accounts on other servers need it.
fn domain(config: &Config, findings: &mut Findings) {
    let domain = &config.component.domain;
    let name = idna::domain_to_ascii(domain.as_str()).unwrap_or_else(|_| domain.to_string());
    match resolve(&name, SERVERS) {
        Ok(addresses) => {
            findings.ok(DOMAIN, format!("{name} resolves to {}", list(&addresses)));
        }
        Err(_) if config.acl == Acl::default_for(domain) => {
            let text = format!(
                "{name} does not resolve, which only accounts on other XMPP servers would need, and \
                 `acl` lets in none"
            );
            findings.ok(DOMAIN, text);
        }
        Err(error) => {
            let text = format!(
                "{name} does not resolve ({error}), so accounts on other XMPP servers that `acl` lets in \
                 cannot reach it. Give it an A or AAAA record with the XMPP server's address. If it has \
                 an SRV record (_xmpp-server._tcp.{name}), all is well"
            );
            findings.warning(DOMAIN, text);
        }
    }
}

fn addresses(uri: &Uri, findings: &mut Findings) -> Option<Vec<SocketAddr>> {
    let host = uri.host().unwrap_or_default();
    let port = match uri.scheme_str() {
        Some("http") => 80,
        _ => 443,
    };
    match resolve(host, uri.port_u16().unwrap_or(port)) {
        Ok(addresses) => {
            findings.ok(PUBLIC, format!("{host} resolves to {}", list(&addresses)));
            Some(addresses)
        }
        Err(error) => {
            let text = format!(
                "{host} does not resolve ({error}), so no application server finds it. Give it an A or \
                 AAAA record with the address of the reverse proxy, or correct `http.public_url`"
            );
            findings.wrong(PUBLIC, text);
            None
        }
    }
}

fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = (without_brackets(host), port).to_socket_addrs()?.collect();
    match addresses.is_empty() {
        true => Err(io::ErrorKind::NotFound.into()),
        false => Ok(addresses),
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let mut ips: Vec<_> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    ips.dedup();
    ips.join(", ")
}

/// Whether senders would get as far as to ask.
fn encryption(uri: &Uri, addresses: &[SocketAddr], findings: &mut Findings) -> bool {
    let (host, now) = (uri.host().unwrap_or_default(), SystemClock.now());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    match certificate::look(host, addresses, now) {
        Ok(believed) if believed.soon => {
            let text = format!(
                "{host}'s certificate ends on {} already. See why it was not renewed: the log of certbot, \
                 or of the proxy if that renews it",
                believed.ends
            );
            findings.warning(CERTIFICATE, text);
            true
        }
        Ok(believed) => {
            let text = format!("{host}'s certificate is good until {}", believed.ends);
            findings.ok(CERTIFICATE, text);
            true
        }
        Err(LookError::Authorities(error)) => {
            findings.unknown(CERTIFICATE, error.to_string());
            false
        }
        Err(LookError::Connect(error)) => {
            unreachable(authority, &error, findings);
            false
        }
        Err(LookError::NoTls(error)) => {
            let cause = crate::tls::cause(&error);
            let text = match cause {
                Some(rustls::Error::AlertReceived(_)) => format!(
                    "{authority} refuses to speak TLS for the name {host} ({error}). Give the proxy a \
                     site with this name and a certificate"
                ),
                _ => format!(
                    "what answers at {authority} does not speak TLS ({error}). Let the proxy speak HTTPS \
                     there, or correct `http.public_url`"
                ),
            };
            findings.wrong(CERTIFICATE, text);
            false
        }
        Err(LookError::Invalid(error)) => {
            let text = format!("{host}: {}", certificate::explain(&error));
            findings.wrong(CERTIFICATE, text);
            false
        }
    }
}

fn unreachable(authority: &str, error: &io::Error, findings: &mut Findings) {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        let text = format!(
            "nothing listens at {authority}. Start the reverse proxy, or correct `http.public_url`"
        );
        findings.wrong(PROXY, text);
        return;
    }
    // Some routers do not lead from the inside to their own outside.
    let text = format!(
        "{authority} cannot be reached from here ({error}). Check the firewall and the address in DNS. If \
         it can be reached from elsewhere (try a phone without Wi-Fi), all is well"
    );
    findings.warning(PROXY, text);
}

/// Asks the daemon through the proxy, as an application server would.
fn proxy(config: &Config, uri: &Uri, secret: Option<&Secret>, findings: &mut Findings) {
    let challenge = Challenge::new(config, secret);
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let scheme = uri.scheme_str().unwrap_or("https");
    let asked = format!("{scheme}://{authority}{}", challenge.path);
    match ask(&asked, None) {
        Err(error) => {
            unreachable(authority, &error, findings);
            return;
        }
        Ok(seen) => {
            if let Some(wrong) = seen.fault(&challenge, config) {
                findings.wrong(PROXY, format!("{authority} {wrong}"));
                return;
            }
        }
    }
    // As large as a message may be, for an endpoint that there is not.
    match ask(&asked, Some(&[b'x'; MAX_PAYLOAD])) {
        Ok(seen) if seen.status == 404 && seen.body == NO_ENDPOINT => {
            findings.ok(PROXY, "it passes requests to the daemon, and answers back");
        }
        // Whoever asks too often is told so by the daemon.
        Ok(seen) if seen.status == 429 => {
            findings.ok(PROXY, "it passes requests to the daemon, and answers back");
        }
        Ok(seen) if seen.status == 404 => {
            let text = format!(
                "{authority} answers a POST for an unknown endpoint with a page of its own instead of the \
                 daemon's 404. Do not replace error pages there (nginx: proxy_intercept_errors off)"
            );
            findings.wrong(PROXY, text);
        }
        Ok(seen) if seen.status == 413 => {
            let text = format!(
                "{authority} refuses a message of {MAX_PAYLOAD} bytes (413). Let requests be that large \
                 there (nginx: client_max_body_size)"
            );
            findings.wrong(PROXY, text);
        }
        Ok(seen) => {
            let text = format!(
                "{authority} passes a GET to the daemon, but answers a POST with {}. Let every method pass \
                 there",
                seen.status
            );
            findings.wrong(PROXY, text);
        }
        Err(error) => unreachable(authority, &error, findings),
    }
}

/// What a sender would see.
struct Seen {
    status: u16,
    location: String,
    body: String,
}

fn ask(url: &str, body: Option<&[u8]>) -> io::Result<Seen> {
    let uri: Uri = url.parse().map_err(io::Error::other)?;
    let agent = agent(&uri).map_err(io::Error::other)?;
    let answered = match body {
        None => agent.get(uri).call(),
        Some(body) => agent.post(uri).header("TTL", "0").send(body),
    };
    // ureq's errors never name the path.
    let mut answer = answered.map_err(|error| match error {
        ureq::Error::Io(error) => error,
        error => io::Error::other(error),
    })?;
    let location = answer.headers().get(header::LOCATION);
    let location = location.and_then(|value| value.to_str().ok());
    Ok(Seen {
        status: answer.status().as_u16(),
        location: location.unwrap_or_default().to_owned(),
        body: {
            let body = answer.body_mut().with_config().limit(MAX_ANSWER);
            body.read_to_string().unwrap_or_default()
        },
    })
}

impl Seen {
    /// What the answer to a challenge shows to be wrong; reads on from the proxy's name.
    fn fault(&self, challenge: &Challenge, config: &Config) -> Option<String> {
        let Self {
            status,
            location,
            body,
        } = self;
        Some(match (status, challenge.judge(body)) {
            (200, Answer::Ours | Answer::Unproven) => return None,
            (200, Answer::Another) => "leads to another push server, or to a daemon with another \
                 secret, or with another path. Correct the address in the proxy, the one in DNS, or \
                 `http.public_url`, and let the proxy pass the path as it is"
                .to_owned(),
            (301..=308, _) => {
                let to = origin(location);
                format!(
                    "redirects to {to} ({status}), which senders do not follow. Set `http.public_url` to \
                     where it leads, or do not redirect there"
                )
            }
            (502..=504, _) => format!(
                "does not reach the daemon ({status}). Let it pass requests to http.listen = {}",
                config.http.listen
            ),
            (401 | 403, _) => format!(
                "asks for permission ({status}), which senders do not have. Let everybody in under \
                 {}/push/",
                config.http.public_url
            ),
            (400, _) if body.contains("HTTPS") => "speaks HTTPS. Let `http.public_url` begin with \
                 https://"
                .to_owned(),
            (404, _) if body == NO_ENDPOINT => {
                "passes another path to the daemon than the one that was \
                 asked for. Let it pass the path as it is"
                    .to_owned()
            }
            (200, _) if body.contains("<code id=\"domain\">") => {
                "passes another path to the daemon than \
                 the one that was asked for. Let it pass the path as it is"
                    .to_owned()
            }
            (404, _) => format!(
                "answers with a 404 of its own instead of passing the request on, and senders forget \
                 their subscriptions. Let it pass everything under {}/ to http.listen = {}",
                config.http.public_url, config.http.listen
            ),
            (status, _) => format!(
                "is another web server: it answers {status}, with something that is not the daemon's. \
                 Let it pass everything under {}/ to http.listen = {}, or correct the address in DNS",
                config.http.public_url, config.http.listen
            ),
        })
    }
}

/// Of a redirection's target only the beginning is shown.
fn origin(location: &str) -> String {
    let uri: Option<Uri> = location.parse().ok();
    let parts = uri.and_then(|uri| {
        let scheme = uri.scheme_str()?.to_owned();
        Some(format!("{scheme}://{}", uri.authority()?))
    });
    parts.unwrap_or_else(|| "another path".to_owned())
}
