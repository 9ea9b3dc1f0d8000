//! What a test works with: the daemon and its loopback XMPP server, a proxy in front of it, and curl
//! as the application server.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::{net::UnixDatagram, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};
use testbed::{Bed, PATIENCE, Process, bed::DOMAIN, eventually, free_port};

use crate::program::{CERTIFICATE, KEY, Program, SYSLOG, Site, Upstream};

pub struct Front {
    pub bed: Bed,
    pub program: Program,
    pub site: Site,
    syslog: UnixDatagram,
    proxy: Option<Child>,
}

/// As curl shows it.
#[derive(Debug)]
pub struct Answer {
    pub version: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Front {
    /// With a sample file that is ready; nothing runs yet but the XMPP server.
    pub async fn new(program: Program) -> Self {
        let mut bed = Bed::new().await;
        let [port, other_port, upstream, admin_port] = [(); 4].map(|()| free_port());
        bed.text("http.public_url", &format!("https://{DOMAIN}"));
        bed.text("http.listen", &format!("127.0.0.1:{upstream}"));
        bed.text("admin.listen", &format!("127.0.0.1:{admin_port}"));
        // Clients have other addresses of the loopback network.
        bed.value("http.trusted_proxies", r#"["127.0.0.1"]"#);
        let dir = bed.path("proxy");
        fs::create_dir(&dir).unwrap();
        make_certificate(&dir);
        Self {
            program,
            syslog: syslog(&dir),
            site: Site {
                dir,
                port,
                other_port,
                upstream: Upstream::Port(upstream),
                admin_port,
                more: Vec::new(),
            },
            proxy: None,
            bed,
        }
    }

    /// Starts the proxy alone.
    pub fn launch(&mut self) {
        self.program.configure(&self.site);
        let mut command = self.program.runner(&self.site);
        let log = File::create(self.site.dir.join("output.log")).unwrap();
        command.stdin(Stdio::null()).process_group(0);
        command.stderr(log.try_clone().unwrap()).stdout(log);
        let proxy = command.spawn();
        self.proxy = Some(proxy.unwrap());
    }

    /// Starts the proxy and awaits that a daemon answers through it. Nothing that it says meanwhile
    /// ends a subscription.
    pub async fn open(&mut self) {
        self.launch();
        eventually(
            "the daemon answers through the proxy",
            PATIENCE,
            async || {
                let proxy = self.proxy.as_mut().unwrap();
                let ended = proxy.try_wait().unwrap();
                assert!(ended.is_none(), "{ended:?}: {}", self.written());
                let answer = self.curl(&[&self.bed.url("/")], b"").await?;
                assert!(answer.status == 200 || answer.is_passing(), "{answer:?}");
                (answer.status == 200).then_some(())
            },
        )
        .await;
    }

    /// Sends a request through the proxy with curl; None when no answer comes.
    pub async fn curl(&self, arguments: &[&str], body: &[u8]) -> Option<Answer> {
        let command = self.command(arguments);
        Answer::parse(&self.bed.run_with(command, body).await.stdout)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let connect = format!("::127.0.0.1:{}", self.site.port);
        let mut command = curl();
        command.arg("--cacert").arg(self.site.dir.join(CERTIFICATE));
        command.args(["--connect-to", &connect]).args(arguments);
        command
    }

    /// The same request to the daemon itself.
    pub async fn directly(&self, arguments: &[&str], body: &[u8]) -> Option<Answer> {
        let Upstream::Port(port) = self.site.upstream else {
            panic!("over TCP only")
        };
        let mut command = curl();
        let connect = format!("::127.0.0.1:{port}");
        command.args(["--connect-to", &connect]);
        command.args(arguments.iter().map(|argument| {
            let path = argument.strip_prefix("https://");
            path.map_or(argument.to_string(), |path| format!("http://{path}"))
        }));
        Answer::parse(&self.bed.run_with(command, body).await.stdout)
    }

    /// A request to somewhere that the arguments say.
    pub async fn elsewhere(&self, arguments: &[&str]) -> Option<Answer> {
        let mut command = curl();
        command.args(arguments);
        Answer::parse(&self.bed.run_with(command, b"").await.stdout)
    }

    /// Where the proxy listens, by TCP over IPv4.
    pub fn ports(&self) -> Vec<u16> {
        let proxy = self.proxy.as_ref().expect("the proxy runs").id();
        let group = |process: &str| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
            stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
        };
        let processes = fs::read_dir("/proc").unwrap();
        let processes = processes.filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        let processes = processes.filter(|process| group(process) == Some(proxy));
        let files =
            processes.filter_map(|process| fs::read_dir(format!("/proc/{process}/fd")).ok());
        let open = files
            .flatten()
            .filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        let open: Vec<_> = open.map(|link| link.display().to_string()).collect();
        let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
        let ports = sockets.lines().filter_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let [_, local, _, "0A", .., inode] = fields[..10] else {
                return None;
            };
            let port = local.rsplit(':').next()?;
            let ours = open.contains(&format!("socket:[{inode}]"));
            ours.then(|| u16::from_str_radix(port, 16).unwrap())
        });
        ports.collect()
    }

    pub async fn post(&self, endpoint: &str, body: &[u8]) -> Option<Answer> {
        self.post_with(&[], endpoint, body).await
    }

    pub async fn post_with(&self, more: &[&str], endpoint: &str, body: &[u8]) -> Option<Answer> {
        let arguments = ["--data-binary", "@-", "--header", "TTL: 60", endpoint];
        self.curl(&[more, &arguments].concat(), body).await
    }

    /// Sends a push and awaits nothing; the answer is in the file when curl has ended.
    pub fn start_post(&self, more: &[&str], endpoint: &str, body: &str) -> (Process, PathBuf) {
        let arguments = ["--data", body, "--header", "TTL: 60", endpoint];
        let mut command = self.command(&[more, &arguments].concat());
        let [output, log] = ["answer", "curl.log"].map(|name| self.bed.path(name));
        command.stdin(Stdio::null());
        command.stdout(File::create(&output).unwrap());
        (Process::start_with(&mut command, &log).unwrap(), output)
    }

    /// All that the proxy has written to files, to its output and to syslog.
    pub fn written(&self) -> String {
        let log = self.site.dir.join("syslog.log");
        let mut log = File::options().create(true).append(true).open(log).unwrap();
        let mut message = [0; 4096];
        while let Ok(length) = self.syslog.recv(&mut message) {
            log.write_all(&message[..length]).unwrap();
            log.write_all(b"\n").unwrap();
        }
        let mut all = String::new();
        read_all(&self.site.dir, &mut all);
        all
    }

    /// Fails the test when the proxy wrote a secret down.
    pub fn keeps_secret(&self, secrets: &[&str]) {
        let written = self.written();
        for secret in secrets {
            let found = written.lines().find(|line| line.contains(secret));
            assert!(found.is_none(), "{found:?}");
        }
    }
}

impl Drop for Front {
    /// With its workers, which it would leave behind.
    fn drop(&mut self) {
        if let Some(proxy) = &mut self.proxy {
            let group = Pid::from_child(proxy);
            let _ = kill_process_group(group, Signal::KILL);
            let _ = proxy.wait();
        }
    }
}

impl Answer {
    pub fn parse(output: &str) -> Option<Self> {
        let mut rest = output;
        loop {
            let (head, body) = rest.split_once("\r\n\r\n")?;
            let (line, lines) = head.split_once("\r\n").unwrap_or((head, ""));
            let mut words = line.split(' ');
            let version = words.next()?.to_owned();
            let status = words.next()?.parse().unwrap();
            if status < 200 {
                rest = body;
                continue;
            }
            let header = |line: &str| {
                let (name, value) = line.split_once(':').unwrap();
                (name.to_ascii_lowercase(), value.trim().to_owned())
            };
            return Some(Self {
                version,
                status,
                headers: lines.lines().map(header).collect(),
                body: body.to_owned(),
            });
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether every sender tries again.
    pub fn is_passing(&self) -> bool {
        (502..=504).contains(&self.status)
    }
}

fn curl() -> Command {
    let mut command = Command::new("/usr/bin/curl");
    command.env_clear();
    command.args(["--silent", "--show-error", "--include", "--max-time", "20"]);
    command
}

fn syslog(dir: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(dir.join(SYSLOG)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// One that has signed itself, in the files that the samples name.
fn make_certificate(dir: &Path) {
    let mut openssl = Command::new("/usr/bin/openssl");
    openssl.args(["req", "-x509", "-nodes", "-days", "2", "-subj"]);
    openssl.arg(format!("/CN={DOMAIN}"));
    openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-addext", &format!("subjectAltName=DNS:{DOMAIN}")]);
    openssl.arg("-keyout").arg(dir.join(KEY));
    openssl.arg("-out").arg(dir.join(CERTIFICATE));
    let made = openssl.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let both = [CERTIFICATE, KEY].map(|name| fs::read_to_string(dir.join(name)).unwrap());
    fs::write(dir.join("both.pem"), both.concat()).unwrap();
}

fn read_all(dir: &Path, all: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            read_all(&entry.path(), all);
        } else if kind.is_file() {
            // Some come and go.
            let bytes = fs::read(entry.path()).unwrap_or_default();
            *all += &String::from_utf8_lossy(&bytes);
        }
    }
}
