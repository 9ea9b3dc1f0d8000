//! How the command line makes requests over HTTP.

use std::time::Duration;

use ureq::{
    Agent,
    http::Uri,
    tls::{Certificate, RootCerts, TlsConfig},
};

use crate::tls::{self, AuthoritiesError};

const TIMEOUT: Duration = Duration::from_secs(15);

/// For requests to this URL: redirects are not followed, every status is an answer, and a server
/// is believed that the system's certificate authorities, or those of SSL_CERT_FILE, vouch for.
pub fn agent(url: &Uri) -> Result<Agent, AuthoritiesError> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(TIMEOUT));
    if url.scheme_str() == Some("https") {
        config = config.tls_config(verifying()?);
    }
    if matches!(url.host(), Some("localhost" | "127.0.0.1" | "[::1]")) {
        // No proxy of the environment leads back to this machine.
        config = config.proxy(None);
    }
    Ok(Agent::from(config.build()))
}

fn verifying() -> Result<TlsConfig, AuthoritiesError> {
    let system = tls::system()?;
    let roots: RootCerts = system
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .into();
    Ok(TlsConfig::builder()
        .unversioned_rustls_crypto_provider(tls::provider())
        .root_certs(roots)
        .build())
}
