//! What stands between a library and the daemon: nginx with TLS, on the host name `localhost`, whose
//! certificate the libraries are told to trust. It answers `/status/N` with N by itself.

use std::{fs, path::Path, process::Command};

use testbed::{PATIENCE, Process, eventually};

/// The port that an https URL need not name.
pub const DEFAULT: u16 = 443;

pub struct Front {
    _nginx: Process,
}

impl Front {
    /// Listens on these ports and passes everything on to the daemon at `upstream`.
    pub async fn new(dir: &Path, ports: [u16; 2], upstream: u16) -> Self {
        make_certificate(dir);
        let listen = ports.map(|port| format!("listen 127.0.0.1:{port} ssl;"));
        let configuration = format!(
            r#"
daemon off;
master_process off;
pid nginx.pid;
error_log nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        {}
        ssl_certificate fullchain.pem;
        ssl_certificate_key privkey.pem;
        location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
        location ~ ^/status/(?<code>\d+)/ {{
            add_header Retry-After 1 always;
            {}
        }}
    }}
}}
"#,
            listen.join(" "),
            crate::statuses::ALL
                .map(|status| format!("if ($code = {status}) {{ return {status}; }}"))
                .join(" "),
        );
        fs::write(dir.join("nginx.conf"), configuration).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command
            .arg("-p")
            .arg(dir)
            .args(["-c", "nginx.conf", "-e", "nginx.log"]);
        let nginx = Process::start(&mut command, &dir.join("output.log")).unwrap();
        eventually("nginx listens", PATIENCE, async || {
            let address = ("127.0.0.1", ports[0]);
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
        Self { _nginx: nginx }
    }
}

/// One that signs itself, as PEM and as the store that Java reads.
fn make_certificate(dir: &Path) {
    let mut openssl = Command::new("/usr/bin/openssl");
    openssl.args("req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256".split(' '));
    openssl.args("-days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost".split(' '));
    openssl.args(["-keyout", "privkey.pem", "-out", "fullchain.pem"]);
    let mut keytool = Command::new("keytool");
    keytool.args("-importcert -noprompt -alias front -storetype PKCS12".split(' '));
    keytool.args("-storepass changeit -file fullchain.pem -keystore trusted.p12".split(' '));
    for mut command in [openssl, keytool] {
        let output = command.current_dir(dir).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}
