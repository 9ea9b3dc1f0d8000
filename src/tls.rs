//! Whom we believe when we connect to a server by TLS: the certificate authorities of the system,
//! or those of a file.

use std::{error::Error, io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, Error as TlsError, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, ServerName,
        pem::{self, PemObject},
    },
};

/// Why no authority can be believed, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    #[error(
        "this system has no certificate authorities{}. Install the package ca-certificates, or set \
         the environment variable SSL_CERT_FILE to a file with their certificates (PEM)",
        .why.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
    )]
    System {
        why: Option<rustls_native_certs::Error>,
    },
    #[error("it holds no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    #[error(transparent)]
    File(#[from] pem::Error),
}

/// The cryptography of every connection.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Those of the system, or in their place those of the file and the directories that the
/// environment's SSL_CERT_FILE and SSL_CERT_DIR name, as with OpenSSL. Never empty.
pub fn system() -> Result<Vec<CertificateDer<'static>>, AuthoritiesError> {
    let found = rustls_native_certs::load_native_certs();
    // What can be read serves, as it does with OpenSSL.
    match found.certs.is_empty() {
        false => Ok(found.certs),
        true => Err(AuthoritiesError::System {
            why: found.errors.into_iter().next(),
        }),
    }
}

/// The certificates of a file in PEM. Never empty.
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, AuthoritiesError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)?.collect::<Result<_, _>>()?;
    match certificates.is_empty() {
        false => Ok(certificates),
        true => Err(AuthoritiesError::NoCertificate),
    }
}

/// What connections are verified with. A certificate that nobody can read is left out, as there is
/// one in many a system's store.
pub fn roots(authorities: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities);
    roots
}

/// How the certificate of one server is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// What the certificate has to be made out to.
    pub name: ServerName<'static>,
    /// Who may have signed it. None: the system's authorities.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

impl Trust {
    /// Reads the system's authorities, if these are believed.
    pub fn client(&self) -> Result<ClientConfig, AuthoritiesError> {
        let authorities = match &self.authorities {
            Some(authorities) => authorities.clone(),
            None => system()?,
        };
        Ok(client(roots(authorities)))
    }
}

/// A client that shows no certificate of its own.
pub fn client(roots: RootCertStore) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring knows the versions that rustls does")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// What TLS says went wrong, if it is among the causes of an error.
pub fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    let mut error = Some(error);
    while let Some(present) = error {
        if let Some(found) = present.downcast_ref() {
            return Some(found);
        }
        // An io::Error that holds another one names the other's cause as its own.
        error = match present
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(held) => Some(held),
            None => present.source(),
        };
    }
    None
}

/// What to do when a server's certificate is not believed.
pub fn remedy(error: &TlsError) -> Option<&'static str> {
    let TlsError::InvalidCertificate(error) = error else {
        return None;
    };
    Some(match error {
        CertificateError::UnknownIssuer => {
            "If an authority of your own has signed the server's certificate, set the environment \
             variable SSL_CERT_FILE to a file with the authority's certificate; if not, let the \
             server send its whole chain"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "Use a name that the server's certificate is made out to, or have one made out to this \
             name (subjectAltName)"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "Renew the server's certificate, and check this machine's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "Check this machine's clock"
        }
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "The server shows the certificate of an authority (CA:TRUE) as its own: make one with \
             `basicConstraints=critical,CA:FALSE`"
        }
        _ => "Replace the server's certificate",
    })
}
