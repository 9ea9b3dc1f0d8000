//! Whom `send` believes: the system's certificate authorities, or those of the environment.

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    sync::Arc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use testbed::{Authority, Bed, authority::Certificate};

/// Answers each request by TLS with a 201. Returns its port; ends with the test's process.
fn listener(certificate: &Certificate) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(&certificate.certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut tls = StreamOwned::new(connection, stream.unwrap());
            // A client that does not believe it goes away.
            let mut request = [0; 4096];
            if matches!(tls.read(&mut request), Ok(length) if length > 0) {
                let answer = b"HTTP/1.1 201 Created\r\nTTL: 0\r\nContent-Length: 0\r\n\
                               Connection: close\r\n\r\n";
                let _ = tls.write_all(answer);
            }
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    port
}

async fn send(bed: &Bed, url: &str, variable: &str, value: &Path) -> (Option<i32>, String) {
    let mut command = bed.command(&["send", url, "hello"]);
    command
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR");
    command.env(variable, value);
    let ended = bed.run_with(command, b"").await;
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(!said.contains("t0ken"), "{said}");
    (ended.code, said)
}

#[tokio::test]
async fn send_believes_the_authorities_that_the_environment_names() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let port = listener(&ours.issue("server", "IP:127.0.0.1"));
    let bed = Bed::new().await;
    let url = format!("https://127.0.0.1:{port}/push/t0ken");

    let (code, said) = send(&bed, &url, "SSL_CERT_FILE", &ours.path()).await;
    assert!(code == Some(0) && said.starts_with("201: "), "{said}");
    let directory = bed.path("authorities");
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(ours.path(), directory.join("ours.pem")).unwrap();
    let (code, said) = send(&bed, &url, "SSL_CERT_DIR", &directory).await;
    assert_eq!(code, Some(0), "{said}");

    let (code, said) = send(&bed, &url, "SSL_CERT_FILE", &theirs.path()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("UnknownIssuer"), "{said}");
    assert!(said.contains("variable SSL_CERT_FILE to a file"), "{said}");

    let by_name = url.replace("127.0.0.1", "localhost");
    let (code, said) = send(&bed, &by_name, "SSL_CERT_FILE", &ours.path()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not valid for name \"localhost\""), "{said}");

    let missing = bed.path("missing");
    let (code, said) = send(&bed, &url, "SSL_CERT_FILE", &missing).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no certificate authorities"), "{said}");
    assert!(said.contains(missing.to_str().unwrap()), "{said}");
    // Without TLS nobody has to be believed.
    let plain = url.replace("https", "http");
    let (_, said) = send(&bed, &plain, "SSL_CERT_FILE", &missing).await;
    assert!(!said.contains("certificate"), "{said}");
}
