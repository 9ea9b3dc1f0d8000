//! The programs, and what a test changes in their sample files: ports, paths and the certificate.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::geteuid;
use testbed::Missing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Apache,
    Caddy,
    Haproxy,
    Nginx,
    Traefik,
}

/// What stands behind the proxy.
#[derive(Clone, Debug)]
pub enum Upstream {
    Port(u16),
    Socket(PathBuf),
}

/// Where a proxy runs.
#[derive(Debug)]
pub struct Site {
    /// For everything that the proxy reads and writes.
    pub dir: PathBuf,
    pub port: u16,
    /// What the samples name beside 443: HTTP without TLS, or IPv6, which not every machine has.
    pub other_port: u16,
    pub upstream: Upstream,
    pub admin_port: u16,
    /// What the test changes beside.
    pub more: Vec<(&'static str, String)>,
}

/// What curl believes, and the key.
pub const CERTIFICATE: &str = "fullchain.pem";
pub const KEY: &str = "privkey.pem";
/// Where HAProxy's syslog listens.
pub const SYSLOG: &str = "syslog.sock";

/// The variable with the path of the program that `tests/traefik.sh` builds.
const TRAEFIK: &str = "UNIFIED_PUSH_TEST_TRAEFIK";

/// The directory of certificates in the samples.
const LIVE: &str = "/etc/letsencrypt/live/up.example.org/";
const UPSTREAM: &str = "127.0.0.1:8080";

impl Program {
    pub const ALL: [Self; 5] = [
        Self::Apache,
        Self::Caddy,
        Self::Haproxy,
        Self::Nginx,
        Self::Traefik,
    ];

    /// The first program that is not there.
    pub fn missing(self) -> Option<Missing> {
        let path = self.path();
        let needed = [path.to_str()?, "/usr/bin/curl", "/usr/bin/openssl"];
        let missing = Missing::of(&needed)?;
        Some(match self {
            // Debian has none.
            Self::Traefik => {
                missing.instead("tests/traefik.sh", std::env::var_os(TRAEFIK).is_some())
            }
            _ => missing,
        })
    }

    fn path(self) -> PathBuf {
        match self {
            Self::Apache => "/usr/sbin/apache2".into(),
            Self::Caddy => "/usr/bin/caddy".into(),
            Self::Haproxy => "/usr/sbin/haproxy".into(),
            Self::Nginx => "/usr/sbin/nginx".into(),
            Self::Traefik => std::env::var_os(TRAEFIK).unwrap_or("traefik".into()).into(),
        }
    }

    /// The sample files, the one that the program is given first.
    fn samples(self) -> &'static [&'static str] {
        match self {
            Self::Apache => &["apache.conf"],
            Self::Caddy => &["Caddyfile"],
            Self::Haproxy => &["haproxy.cfg"],
            Self::Nginx => &["nginx.conf"],
            Self::Traefik => &["traefik.yaml", "traefik-unified-push.yaml"],
        }
    }

    /// Writes the sample as it is for this site, and what Debian's configuration has around it.
    pub fn configure(self, site: &Site) {
        let changes = self.changes(site);
        let mut unused: Vec<_> = changes.iter().map(|(from, _)| from.clone()).collect();
        for sample in self.samples() {
            let file = root().join("contrib/proxies").join(sample);
            let mut text = fs::read_to_string(file).unwrap();
            for (from, to) in &changes {
                if text.contains(from) {
                    unused.retain(|unused| unused != from);
                    text = text.replace(from, to);
                }
            }
            fs::write(site.dir.join(sample), text).unwrap();
        }
        assert!(unused.is_empty(), "{self}'s sample has no {unused:?}");
        if let Some(around) = self.around(site) {
            fs::write(site.dir.join("main.conf"), around).unwrap();
        }
    }

    fn changes(self, site: &Site) -> Vec<(String, String)> {
        let dir = site.dir.display();
        let (port, other) = (site.port, site.other_port);
        let local = format!("127.0.0.1:{port}");
        let certificates = (LIVE.into(), format!("{dir}/"));
        let upstream = |socket: &str| match &site.upstream {
            Upstream::Port(port) => format!("127.0.0.1:{port}"),
            Upstream::Socket(path) => format!("{socket}{}", path.display()),
        };
        let changed = |from: &str, to: String| (from.to_owned(), to);
        let mut changes: Vec<_> = site
            .more
            .iter()
            .map(|(from, to)| changed(from, to.clone()))
            .collect();
        changes.extend(match self {
            Self::Apache => vec![
                certificates,
                changed("*:443", local),
                match &site.upstream {
                    Upstream::Port(port) => changed(UPSTREAM, format!("127.0.0.1:{port}")),
                    Upstream::Socket(path) => changed(
                        "\"http://127.0.0.1:8080/\"",
                        format!("\"unix:{}|http://localhost/\"", path.display()),
                    ),
                },
            ],
            Self::Caddy => vec![
                certificates,
                changed(":443 {", format!(":{port} {{")),
                changed(UPSTREAM, upstream("unix/")),
                changed(
                    "{\n\t# Who",
                    format!(
                        "{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\thttp_port {other}\n\
                         \thttps_port {port}\n\t# Who"
                    ),
                ),
            ],
            Self::Haproxy => vec![
                changed("/etc/haproxy/up.example.org.pem", format!("{dir}/both.pem")),
                changed("/dev/log", format!("{dir}/{SYSLOG}")),
                changed("    user haproxy\n    group haproxy\n", String::new()),
                changed("bind :443", format!("bind {local}")),
                changed(
                    "server one 127.0.0.1:8080",
                    match &site.upstream {
                        Upstream::Port(port) => format!("server one 127.0.0.1:{port}"),
                        Upstream::Socket(path) => {
                            format!("server one unix@{} addr 127.0.0.1", path.display())
                        }
                    },
                ),
                changed("port 8081", format!("port {}", site.admin_port)),
            ],
            Self::Nginx => vec![
                certificates,
                changed("listen 443", format!("listen {local}")),
                changed("listen [::]:443", format!("listen 127.0.0.1:{other}")),
                changed(UPSTREAM, upstream("unix:")),
                changed("/var/log/nginx/", format!("{dir}/")),
            ],
            Self::Traefik => vec![
                certificates,
                changed("\":443\"", format!("\"{local}\"")),
                changed(UPSTREAM, upstream("")),
                changed(
                    "/etc/traefik/unified-push.yaml",
                    format!("{dir}/traefik-unified-push.yaml"),
                ),
                changed(
                    "entryPoints:\n  websecure:\n    address",
                    "global:\n  checkNewVersion: false\n\nentryPoints:\n  websecure:\n    address"
                        .to_owned(),
                ),
            ],
        });
        changes
    }

    /// What Debian's package has around the sample, with its log of all requests. In one worker, which
    /// all connections to the daemon are of.
    fn around(self, site: &Site) -> Option<String> {
        let dir = site.dir.display();
        let root = geteuid().is_root();
        match self {
            Self::Nginx => Some(format!(
                "daemon off;\npid {dir}/pid;\n{}\nworker_processes 1;\nevents {{}}\nhttp {{\n\
                 access_log {dir}/access.log;\nerror_log {dir}/error.log;\n\
                 client_body_temp_path {dir}/body;\nproxy_temp_path {dir}/proxy;\n\
                 fastcgi_temp_path {dir}/fastcgi;\nuwsgi_temp_path {dir}/uwsgi;\n\
                 scgi_temp_path {dir}/scgi;\ninclude {dir}/nginx.conf;\n}}\n",
                if root { "user root;" } else { "" },
            )),
            Self::Apache => {
                let modules = [
                    "mpm_event",
                    "authz_core",
                    "alias",
                    "ssl",
                    "http2",
                    "proxy",
                    "proxy_http",
                ];
                let load = |name: &str| {
                    format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
                };
                let modules: String = modules.map(load).concat();
                let user = if root {
                    "User www-data\nGroup www-data\n"
                } else {
                    ""
                };
                Some(format!(
                    "ServerName localhost\nServerRoot {dir}\nDefaultRuntimeDir {dir}\n\
                     PidFile {dir}/pid\nMutex file:{dir} default\nServerLimit 1\n\
                     MaxRequestWorkers 25\nListen 127.0.0.1:{}\n{modules}{user}\
                     ErrorLog {dir}/error.log\nCustomLog {dir}/access.log \"%h %r %>s\"\n\
                     Include {dir}/apache.conf\n",
                    site.port,
                ))
            }
            _ => None,
        }
    }

    /// The command that checks the configuration, where the program has one.
    pub fn checker(self, site: &Site) -> Option<Command> {
        let arguments = match self {
            Self::Apache => &["-t"][..],
            Self::Caddy => &["validate"],
            Self::Haproxy => &["-c"],
            Self::Nginx => &["-t"],
            Self::Traefik => return None,
        };
        Some(self.command(site, arguments))
    }

    pub fn runner(self, site: &Site) -> Command {
        let arguments = match self {
            Self::Apache => &["-D", "FOREGROUND"][..],
            Self::Caddy => &["run"],
            Self::Haproxy => &["-db"],
            Self::Nginx | Self::Traefik => &[],
        };
        self.command(site, arguments)
    }

    fn command(self, site: &Site, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path());
        command.env_clear().current_dir(&site.dir).args(arguments);
        command.env("PATH", "/usr/bin:/bin").env("HOME", &site.dir);
        let given = match self {
            Self::Apache | Self::Nginx => "main.conf",
            _ => self.samples()[0],
        };
        let given = site.dir.join(given);
        match self {
            Self::Apache => {
                command.env("APACHE_LOG_DIR", &site.dir);
                command.arg("-f").arg(given)
            }
            Self::Caddy => command
                .args(["--adapter", "caddyfile", "--config"])
                .arg(given),
            Self::Haproxy => command.arg("-f").arg(given),
            Self::Nginx => {
                command.arg("-e").arg(site.dir.join("start.log"));
                command.arg("-p").arg(&site.dir).arg("-c").arg(given)
            }
            Self::Traefik => command.arg("--configFile").arg(given),
        };
        command
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apache => "apache",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
        })
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
