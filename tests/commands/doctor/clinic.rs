//! An installation as an administrator has it, and the doctor who looks at it.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use rustix::process::geteuid;
use serde_json::Value;
use testbed::{
    Authority, Bed, Daemon, Missing, PATIENCE, Process, authority::Certificate, bed::DOMAIN,
    bed::secret_of, eventually, free_port, program,
};
use tokio::net::TcpStream;

const NGINX: &str = "/usr/sbin/nginx";
const UNSHARE: &str = "/usr/bin/unshare";

/// As nginx is to pass requests on.
pub const PASS: &str = "location / { proxy_pass http://127.0.0.1:DAEMON; }";

pub struct Clinic {
    pub bed: Bed,
    pub authority: Authority,
    /// The names that resolve, to 127.0.0.1.
    pub names: Vec<String>,
    /// Where the world finds the proxy.
    pub port: u16,
    /// What the shell does before it becomes the doctor.
    pub before: String,
    proxy: Option<Process>,
}

/// What the doctor found: subject, verdict and text.
#[derive(Debug)]
pub struct Diagnosis {
    pub code: Option<i32>,
    pub findings: Vec<[String; 3]>,
}

/// None where the tests cannot be run.
pub async fn clinic() -> Option<Clinic> {
    if let Some(missing) = missing() {
        missing.leave_out();
        return None;
    }
    let mut bed = Bed::new().await;
    let port = free_port();
    bed.text("http.public_url", &format!("https://{DOMAIN}:{port}"));
    // As they are to be kept.
    for (key, file_key) in [
        ("component.secret", "component.secret_file"),
        ("secret", "secret_file"),
    ] {
        let file = bed.path(key);
        fs::write(&file, bed.config.get(key)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        bed.config.unset(key);
        bed.text(file_key, file.to_str().unwrap());
    }
    Some(Clinic {
        bed,
        authority: Authority::new("ours"),
        names: vec![DOMAIN.to_owned()],
        port,
        before: String::new(),
        proxy: None,
    })
}

fn missing() -> Option<Missing> {
    let missing = Missing::of(&[UNSHARE, NGINX, "/usr/bin/openssl", "/usr/bin/cc"]);
    missing.or_else(|| {
        let unshared = unshare().arg("true").output().unwrap();
        let may = unshared.status.success();
        (!may).then(|| {
            Missing::package("unshare").instead("these tests where namespaces can be made", false)
        })
    })
}

/// A shell with mounts of its own.
fn unshare() -> Command {
    let mut command = Command::new(UNSHARE);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    command.arg("--mount");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

impl Clinic {
    pub fn certificate(&self) -> Certificate {
        self.authority.issue("right", &format!("DNS:{DOMAIN}"))
    }

    /// nginx with this certificate, at the port of the public URL.
    pub async fn encrypted(&mut self, certificate: &Certificate, locations: &str) {
        let [chain, key] = [&certificate.certificate, &certificate.key].map(|path| path.display());
        let site = format!("ssl_certificate {chain}; ssl_certificate_key {key}; {locations}");
        self.nginx(" ssl", &site).await;
    }

    /// As it should be but for what the locations say.
    pub async fn proxy(&mut self, locations: &str) {
        let certificate = self.certificate();
        self.encrypted(&certificate, locations).await;
    }

    pub async fn nginx(&mut self, listen: &str, site: &str) {
        self.proxy = None;
        let dir = self.bed.path("nginx");
        fs::create_dir_all(&dir).unwrap();
        let user = if geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let daemon = self
            .bed
            .config
            .get("http.listen")
            .rsplit(':')
            .next()
            .unwrap();
        let (port, site) = (self.port, site.replace("DAEMON", daemon));
        let path = dir.display();
        let text = format!(
            "daemon off; pid {path}/pid; {user} worker_processes 1; master_process off; events {{}}\n\
             http {{ access_log off; error_log {path}/error.log; client_body_temp_path {path}/a; \
             proxy_temp_path {path}/b; fastcgi_temp_path {path}/c; uwsgi_temp_path {path}/d; \
             scgi_temp_path {path}/e;\n\
             server {{ listen 127.0.0.1:{port}{listen}; {site} }} }}\n"
        );
        fs::write(dir.join("nginx.conf"), text).unwrap();
        let mut command = Command::new(NGINX);
        command.env_clear().arg("-e").arg(dir.join("start.log"));
        command
            .arg("-p")
            .arg(&dir)
            .arg("-c")
            .arg(dir.join("nginx.conf"));
        let log = dir.join("output.log");
        self.proxy = Some(Process::start(&mut command, &log).unwrap());
        eventually("nginx listens", PATIENCE, async || {
            let ended = self.proxy.as_mut().unwrap().ended();
            assert!(ended.is_none(), "{}", self.proxy.as_ref().unwrap().log());
            TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
        })
        .await;
    }

    /// Asks the doctor, with what is broken in the environment.
    pub async fn ask_with(&self, environment: &[(String, String)]) -> Diagnosis {
        let [hosts, resolver] = ["hosts", "resolv.conf"].map(|name| self.bed.path(name));
        let names = self.names.join(" ");
        fs::write(&hosts, format!("127.0.0.1 localhost {names}\n")).unwrap();
        // Nobody answers there, and so at once.
        fs::write(&resolver, "nameserver 127.0.0.1\n").unwrap();
        let script = format!(
            "set -e\nmount --bind \"$HOSTS\" /etc/hosts\n\
             [ ! -e /etc/resolv.conf ] || mount --bind \"$RESOLVER\" /etc/resolv.conf\n{}\n\
             export $BROKEN\nexec \"$@\"",
            self.before
        );
        let mut command = unshare();
        command.args(["sh", "-c", &script, "sh"]).arg(program());
        command.args(["doctor", "--print", "json", "--config"]);
        command.arg(self.bed.config.file());
        command.env("HOSTS", hosts).env("RESOLVER", resolver);
        command.env("SSL_CERT_FILE", self.authority.path());
        command.env("STATE", self.bed.state_dir());
        // Not for the shell, whose clock is right.
        let broken = environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        command.env(
            "BROKEN",
            broken
                .chain(["LANG=C".to_owned()])
                .collect::<Vec<_>>()
                .join(" "),
        );
        let ended = self.bed.run_with(command, b"").await;
        assert!(!ended.stdout.contains(&secret_of('a')), "{ended:?}");
        let Ok(found) = serde_json::from_str::<Value>(&ended.stdout) else {
            panic!("{ended:?}");
        };
        let text = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
        let findings = found.as_array().unwrap().iter();
        Diagnosis {
            code: ended.code,
            findings: findings
                .map(|it| ["subject", "verdict", "text"].map(|name| text(it, name)))
                .collect(),
        }
    }

    pub async fn ask(&self) -> Diagnosis {
        self.ask_with(&[]).await
    }

    /// Fails the test unless this, and nothing else, is wrong.
    pub async fn is_wrong(&self, subject: &str, words: &str) {
        self.ask().await.is_only("wrong", subject, words);
    }

    /// The same of what may be right.
    pub async fn is_doubtful(&self, subject: &str, words: &str) {
        self.ask().await.is_only("warning", subject, words);
    }

    /// The daemon with its link.
    pub async fn daemon(&self) -> Daemon {
        self.bed.start().await
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.bed.path(name)
    }
}

impl Diagnosis {
    pub fn of(&self, verdict: &str) -> Vec<&[String; 3]> {
        let found = self.findings.iter();
        found.filter(|[_, found, _]| found == verdict).collect()
    }

    /// Fails the test unless exactly one finding has this verdict, of those that matter.
    pub fn is_only(&self, verdict: &str, subject: &str, words: &str) {
        let mut found = self.of(verdict);
        // A daemon that does not run is the case in many a test, and is looked at by one.
        found.retain(|[found, _, text]| found == subject || !text.contains("it does not run"));
        let [[found_subject, _, text]] = found[..] else {
            panic!("{verdict}: {found:#?}\nall: {self:#?}");
        };
        assert!(
            found_subject == subject && text.contains(words),
            "{self:#?}"
        );
        match verdict {
            "wrong" => assert_eq!(self.code, Some(1)),
            _ => assert_eq!(
                (self.code, self.of("wrong").len()),
                (Some(0), 0),
                "{self:#?}"
            ),
        }
    }
}
