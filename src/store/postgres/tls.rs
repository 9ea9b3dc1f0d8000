//! TLS to PostgreSQL: the options of its URL that tokio-postgres does not know, and what they mean.
//!
//! An encrypted connection is always verified: without that, whoever stands in between reads the
//! password. So `sslmode=require` means what it means for libpq with sslrootcert=system.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls::{self, AuthoritiesError};

/// What a URL says of TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// Whether the certificate has to be made out to the host: not with `verify-ca`.
    pub checks_name: bool,
    /// The file with the authorities; None for the system's.
    pub authorities: Option<PathBuf>,
    /// The files with the client's certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// The options as they are written.
#[derive(Default)]
pub struct TlsOptions {
    pub mode: Option<String>,
    pub authorities: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<String>,
}

/// Why they cannot be meant. Reads on from the name of what holds the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsOptionError {
    #[error(
        "has a sslmode that would verify nothing or is not known: `disable` is for a plain \
         connection, `verify-full` for TLS with the server's certificate verified (`require` is \
         the same here), `verify-ca` for a certificate of any name. `allow` and `prefer` would \
         go on in plain as soon as somebody in between asks for it"
    )]
    Mode,
    #[error(
        "has sslmode=verify-ca without sslrootcert=FILE: with the system's authorities, everybody's \
         certificate would pass; write verify-full, or name your own authority's file"
    )]
    AnybodyPasses,
    #[error("has sslmode=disable beside sslrootcert, sslcert or sslkey, which it would not use")]
    Unused,
    #[error("has one of sslcert and sslkey; they need each other")]
    ClientPair,
    #[error("has for sslrootcert, sslcert or sslkey a path that does not begin with /")]
    RelativePath,
}

/// Why TLS cannot be prepared. But for the system's authorities, reads on from the name of what holds the URL.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    #[error("names by sslrootcert a file that cannot be used: {}: {source}", .path.display())]
    Authorities {
        path: PathBuf,
        source: AuthoritiesError,
    },
    #[error("names by sslcert a file that cannot be used: {}: {source}", .path.display())]
    Certificate {
        path: PathBuf,
        source: AuthoritiesError,
    },
    #[error(
        "names by sslkey a file that holds no private key in PEM without a passphrase: {}: {source}",
        .path.display()
    )]
    Key { path: PathBuf, source: pem::Error },
    #[error("names by sslkey a key that does not belong to the certificate of sslcert: {0}")]
    Pair(#[source] TlsError),
    #[error(transparent)]
    System(AuthoritiesError),
}

impl TlsOptions {
    /// None for a plain connection.
    pub fn meaning(self) -> Result<Option<Tls>, TlsOptionError> {
        let has_files =
            self.authorities.is_some() || self.certificate.is_some() || self.key.is_some();
        let checks_name = match self.mode.as_deref() {
            None if !has_files => return Ok(None),
            Some("disable") if !has_files => return Ok(None),
            Some("disable") => return Err(TlsOptionError::Unused),
            None | Some("verify-full" | "require") => true,
            Some("verify-ca") => false,
            Some(_) => return Err(TlsOptionError::Mode),
        };
        let authorities = match self.authorities.as_deref() {
            None | Some("system") => None,
            Some(_) => self.authorities.map(absolute).transpose()?,
        };
        if !checks_name && authorities.is_none() {
            return Err(TlsOptionError::AnybodyPasses);
        }
        let client = match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => Some((absolute(certificate)?, absolute(key)?)),
            (None, None) => None,
            _ => return Err(TlsOptionError::ClientPair),
        };
        Ok(Some(Tls {
            checks_name,
            authorities,
            client,
        }))
    }
}

/// The daemon's working directory is nobody's business.
fn absolute(path: String) -> Result<PathBuf, TlsOptionError> {
    let path = PathBuf::from(path);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(TlsOptionError::RelativePath),
    }
}

type Client = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What the files hold.
pub struct Files {
    authorities: Option<Vec<CertificateDer<'static>>>,
    client: Option<Client>,
}

impl Tls {
    /// Reads the files, which may have been renewed.
    pub fn read(&self) -> Result<Files, TlsSetupError> {
        let authorities = self.authorities.as_ref().map(|path| {
            tls::certificates(path).map_err(|source| TlsSetupError::Authorities {
                path: path.clone(),
                source,
            })
        });
        let client = self.client.as_ref().map(|(certificate, key)| {
            let chain =
                tls::certificates(certificate).map_err(|source| TlsSetupError::Certificate {
                    path: certificate.clone(),
                    source,
                })?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsSetupError::Key {
                path: key.clone(),
                source,
            })?;
            Ok((chain, key))
        });
        let client = client.transpose()?;
        if let Some((chain, key)) = &client {
            CertifiedKey::from_der(chain.clone(), key.clone_key(), &tls::provider())
                .map_err(TlsSetupError::Pair)?;
        }
        Ok(Files {
            authorities: authorities.transpose()?,
            client,
        })
    }

    pub fn connector(&self, files: Files) -> Result<MakeRustlsConnect, TlsSetupError> {
        let authorities = match files.authorities {
            Some(authorities) => authorities,
            None => tls::system().map_err(TlsSetupError::System)?,
        };
        let roots = tls::roots(authorities);
        let provider = tls::provider();
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring knows the versions that rustls does");
        let builder = match self.checks_name {
            true => builder.with_root_certificates(roots),
            false => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyName { roots, algorithms })),
        };
        let mut config = match files.client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(TlsSetupError::Pair)?,
        };
        // For sslnegotiation=direct, which requires it.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(MakeRustlsConnect::new(config))
    }
}

/// For a connection that is not encrypted.
pub fn plain() -> MakeRustlsConnect {
    MakeRustlsConnect::new(tls::client(RootCertStore::empty()))
}

/// `verify-ca`: an authority has to vouch for the certificate, whatever name it is made out to.
#[derive(Debug)]
struct AnyName {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
