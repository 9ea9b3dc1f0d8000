//! What to do when TLS to PostgreSQL does not come about.

use rustls::{CertificateError, Error as TlsError};

use super::failure::PostgresFailure;
use crate::tls;

/// None if it is not TLS that failed.
pub fn remedy(failure: &PostgresFailure) -> Option<String> {
    let error = match failure {
        PostgresFailure::Database(error) => error,
        PostgresFailure::TlsFiles(_) => return Some("Correct `store.url`, or the file".to_owned()),
        // It names its remedy itself.
        PostgresFailure::Authorities(_) => {
            return Some("Or name your own authority's by sslrootcert in `store.url`".to_owned());
        }
        _ => return None,
    };
    let Some(cause) = tls::cause(error) else {
        // tokio-postgres has no other sign of it.
        return error.to_string().contains("does not support TLS").then(|| {
            "Set `ssl = on` there, with a certificate, or leave sslmode out of `store.url`"
                .to_owned()
        });
    };
    Some(match cause {
        TlsError::AlertReceived(_) => {
            "PostgreSQL refuses this daemon's certificate, or misses one: correct sslcert and sslkey \
             in `store.url`, or ssl_ca_file there"
                .to_owned()
        }
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "Name the certificate of the authority that has signed PostgreSQL's, by \
             sslrootcert=FILE in `store.url` or in the environment variable SSL_CERT_FILE"
                .to_owned()
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. },
        ) => {
            "Use a host in `store.url` that the certificate is made out to, or write \
             sslmode=verify-ca, which takes a certificate of any name, with sslrootcert=FILE"
                .to_owned()
        }
        other => tls::remedy(other)
            .unwrap_or("Correct TLS on one of the two sides")
            .to_owned(),
    })
}
