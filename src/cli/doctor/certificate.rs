//! Looks at the certificate that a server shows, without sending anything.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{
    model::time::Timestamp,
    tls::{self, AuthoritiesError},
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Nobody renews a certificate so late that has more than this left.
const SOON: Duration = Duration::from_secs(14 * 86400);

#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("{0}")]
    Authorities(#[from] AuthoritiesError),
    #[error("{0}")]
    Connect(#[source] io::Error),
    /// It closed the connection, or speaks another protocol.
    #[error("{0}")]
    NoTls(#[source] io::Error),
    #[error("{0}")]
    Invalid(#[source] TlsError),
}

/// A certificate that is believed.
#[derive(Debug)]
pub struct Believed {
    pub ends: Timestamp,
    /// It should have been renewed by now.
    pub soon: bool,
}

/// Whether a server's certificate is believed, for how long.
pub fn look(host: &str, addresses: &[SocketAddr], now: Timestamp) -> Result<Believed, LookError> {
    let name = ServerName::try_from(without_brackets(host).to_owned())
        .map_err(|error| LookError::Connect(io::Error::other(error)))?;
    let roots = Arc::new(tls::roots(tls::system()?));
    let judge = WebPkiServerVerifier::builder_with_provider(roots, tls::provider())
        .build()
        .map_err(|error| LookError::Connect(io::Error::other(error)))?;
    let shown = Arc::new(Shown {
        judge: judge.clone(),
        chain: Mutex::default(),
    });
    shake_hands(shown.clone(), name.clone(), connect(addresses)?)?;
    let chain = shown.chain.lock().map(|chain| chain.clone());
    let chain = chain.unwrap_or_default();
    let Some((leaf, others)) = chain.split_first() else {
        let none = io::Error::other("it showed no certificate");
        return Err(LookError::NoTls(none));
    };
    let at = |time: Timestamp| {
        let since = UnixTime::since_unix_epoch(Duration::from_secs(time.as_secs()));
        judge.verify_server_cert(leaf, others, &name, &[], since)
    };
    at(now).map_err(LookError::Invalid)?;
    // Asked about the beginning and the end of time, the judge tells those of the certificate.
    let ends = match at(Timestamp::from_secs(u64::from(u32::MAX) * 50)) {
        Err(TlsError::InvalidCertificate(CertificateError::ExpiredContext {
            not_after, ..
        })) => Timestamp::from_secs(not_after.as_secs()),
        _ => now.saturating_add(SOON * 2),
    };
    let begins = match at(Timestamp::from_secs(0)) {
        Err(TlsError::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before,
            ..
        })) => Timestamp::from_secs(not_before.as_secs()),
        _ => now,
    };
    let late = (begins.until(ends) / 6).min(SOON);
    Ok(Believed {
        ends,
        soon: now.until(ends) < late,
    })
}

/// A URL has an IPv6 address in brackets.
pub fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// In words, with the remedy.
pub fn explain(error: &TlsError) -> String {
    let remedy = tls::remedy(error).unwrap_or("Correct the server's TLS");
    match error {
        TlsError::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            let ended = Timestamp::from_secs(not_after.as_secs());
            format!("the certificate ended on {ended}. {remedy}")
        }
        TlsError::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before, ..
        }) => {
            let begins = Timestamp::from_secs(not_before.as_secs());
            format!("the certificate begins on {begins} only. {remedy}")
        }
        error => format!("{error}. {remedy}"),
    }
}

/// The first address that takes the connection.
fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, LookError> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect_timeout(address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(LookError::Connect(failed))
}

fn shake_hands(
    shown: Arc<Shown>,
    name: ServerName<'static>,
    mut stream: TcpStream,
) -> Result<(), LookError> {
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(LookError::Invalid)?
        .dangerous()
        .with_custom_certificate_verifier(shown)
        .with_no_client_auth();
    let mut connection =
        ClientConnection::new(Arc::new(config), name).map_err(LookError::Invalid)?;
    let set = stream.set_read_timeout(Some(TIMEOUT));
    set.and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
        .map_err(LookError::Connect)?;
    while connection.is_handshaking() {
        connection
            .complete_io(&mut stream)
            .map_err(LookError::NoTls)?;
    }
    Ok(())
}

/// Notes what the server shows. Nothing is sent to whom it lets pass: the judgement comes after.
#[derive(Debug)]
struct Shown {
    judge: Arc<WebPkiServerVerifier>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if let Ok(mut chain) = self.chain.lock() {
            let all = std::iter::once(leaf).chain(others);
            *chain = all.map(|it| it.clone().into_owned()).collect();
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.judge
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.judge
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}
