//! A real XMPP server on loopback with a data directory of its own. Accounts need no set-up: any
//! name and password logs in. Components are names of a pool, so that tests can share one server
//! without meeting.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{
    Authority, Missing, PATIENCE, Process, authority::Certificate, dns::Dns, eventually, free_port,
};

mod carrier;
mod ejabberd;
mod prosody;

pub use carrier::Carrier;
pub use prosody::{KEEPER, ORACLE, ORACLE_SECRET};

pub const DOMAIN: &str = "example.test";

/// How long a phone without a connection is kept (XEP-0198).
pub const HIBERNATION: Duration = Duration::from_secs(10);

/// The largest stanza that a client may send.
pub const CLIENT_STANZA_LIMIT: usize = 128 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Prosody,
    Ejabberd,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Prosody, Self::Ejabberd];

    pub fn missing(self) -> Option<Missing> {
        let missing = || Missing::package(&self.to_string());
        (!self.program().exists()).then(missing)
    }

    /// Debian's.
    fn program(self) -> &'static Path {
        Path::new(match self {
            Self::Prosody => prosody::PROGRAM,
            Self::Ejabberd => ejabberd::PROGRAM,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prosody => "prosody",
            Self::Ejabberd => "ejabberd",
        })
    }
}

/// Of every component.
pub const COMPONENT_SECRET: &str = "component-secret-Zk3vQ";

/// A component's name and secret.
#[derive(Clone, Debug)]
pub struct Account {
    pub domain: String,
    pub secret: String,
}

impl Account {
    pub fn numbered(number: usize) -> Self {
        Self {
            domain: format!("up{number}.{DOMAIN}"),
            secret: COMPONENT_SECRET.to_owned(),
        }
    }

    /// The one whose name is not ASCII.
    pub fn unicode() -> Self {
        Self {
            domain: format!("push.bücher.{DOMAIN}"),
            secret: COMPONENT_SECRET.to_owned(),
        }
    }

    pub fn all(layout: &Layout) -> impl Iterator<Item = Self> {
        let numbered = (0..layout.names).map(Self::numbered);
        numbered.chain([Self::unicode()])
    }
}

/// What a server is, where it listens and keeps its files.
pub struct Layout {
    pub program: PathBuf,
    pub dir: PathBuf,
    /// How many components it knows.
    pub names: usize,
    pub clients: u16,
    pub components: u16,
    /// Where components connect whose names the server must know.
    pub known_components: u16,
    /// HTTP, of Prosody's own mod_unified_push.
    pub http: u16,
    /// What ejabberd shows to components that connect by TLS.
    pub secure: Option<Secure>,
    /// Whether it meets other servers.
    pub federated: Option<Member>,
}

/// For components by TLS.
pub struct Secure {
    /// Of [`DOMAIN`].
    certificate: Certificate,
    pub components: u16,
}

/// Servers that find each other by a DNS of the test's own and believe each other's certificates.
pub struct Federation {
    authority: Authority,
    /// One that no server believes.
    stranger: Authority,
    dns: Dns,
}

/// What a server of a federation needs.
pub struct Member {
    authority: PathBuf,
    certificate: Certificate,
    domain: String,
    /// Where other servers connect.
    servers: u16,
    dns: u16,
}

impl Federation {
    pub async fn start() -> Self {
        Self {
            authority: Authority::new("authority"),
            stranger: Authority::new("stranger"),
            dns: Dns::start().await,
        }
    }

    /// Makes a domain known, with a certificate.
    pub fn join(&self, domain: &str) -> Member {
        self.join_with(domain, &self.authority)
    }

    /// Another certificate for a domain.
    pub fn issue(&self, domain: &str) -> Certificate {
        issue(&self.authority, domain)
    }

    fn join_with(&self, domain: &str, authority: &Authority) -> Member {
        let servers = free_port();
        self.dns.enter(domain, servers);
        Member {
            authority: self.authority.path(),
            certificate: issue(authority, domain),
            domain: domain.to_owned(),
            servers,
            dns: self.dns.port,
        }
    }
}

fn issue(authority: &Authority, domain: &str) -> Certificate {
    authority.issue(domain, &format!("DNS:{domain}"))
}

impl Layout {
    /// Where components connect to an ejabberd without a network.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("components.socket")
    }
}

pub struct Server {
    pub kind: Kind,
    pub layout: Layout,
    process: Mutex<Option<Process>>,
    next_component: AtomicUsize,
    _dir: TempDir,
}

impl Server {
    /// Its configuration is written and its ports are chosen; it is not running yet. Each component
    /// that it knows makes a Prosody slower.
    pub fn prepare(kind: Kind, names: usize) -> Self {
        Self::prepare_with(kind, names, None, None)
    }

    /// An ejabberd that takes components by TLS, too.
    pub fn prepare_secure(names: usize, authority: &Authority) -> Self {
        let secure = Secure {
            certificate: authority.issue(DOMAIN, &format!("DNS:{DOMAIN}")),
            components: free_port(),
        };
        Self::prepare_with(Kind::Ejabberd, names, Some(secure), None)
    }

    /// One that others find as [`DOMAIN`].
    pub fn prepare_federated(kind: Kind, federation: &Federation) -> Self {
        Self::prepare_with(kind, 1, None, Some(federation.join(DOMAIN)))
    }

    /// The same, but none of the others believes the authority of its certificate.
    pub fn prepare_unbelieved(kind: Kind, federation: &Federation) -> Self {
        let member = federation.join_with(DOMAIN, &federation.stranger);
        Self::prepare_with(kind, 1, None, Some(member))
    }

    fn prepare_with(
        kind: Kind,
        names: usize,
        secure: Option<Secure>,
        federated: Option<Member>,
    ) -> Self {
        // Short: an ejabberd of 2024 makes a Unix socket under a longer name first, which has a limit.
        let dir = TempDir::with_prefix(kind.to_string()).unwrap();
        let components = free_port();
        let layout = Layout {
            program: kind.program().to_owned(),
            dir: dir.path().to_owned(),
            names,
            clients: free_port(),
            components,
            known_components: match kind {
                Kind::Prosody => components,
                Kind::Ejabberd => free_port(),
            },
            http: free_port(),
            secure,
            federated,
        };
        match kind {
            Kind::Prosody => prosody::configure(&layout),
            Kind::Ejabberd => ejabberd::configure(&layout),
        }
        Self {
            kind,
            layout,
            process: Mutex::new(None),
            next_component: AtomicUsize::new(0),
            _dir: dir,
        }
    }

    pub async fn start(&self) {
        let mut command = match self.kind {
            Kind::Prosody => prosody::command(&self.layout),
            Kind::Ejabberd => ejabberd::command(&self.layout),
        };
        self.spawn(&mut command);
        let host = format!("up0.{DOMAIN}");
        self.answers(self.layout.clients, "jabber:client", DOMAIN)
            .await;
        self.answers(self.layout.components, "jabber:component:accept", &host)
            .await;
    }

    /// In order: the connections end with a FIN, as when an administrator restarts it.
    pub async fn stop(&self) {
        self.end(Signal::TERM).await;
    }

    /// Without a word to anybody.
    pub async fn kill(&self) {
        self.end(Signal::KILL).await;
    }

    async fn end(&self, signal: Signal) {
        let process = self.process.lock().unwrap().take();
        let mut process = process.expect("the server runs");
        process.signal(signal);
        process.exit(PATIENCE).await;
    }

    /// The id of its process, which must run.
    pub fn pid(&self) -> u32 {
        self.process.lock().unwrap().as_ref().unwrap().id()
    }

    /// A component that no other test uses.
    pub fn component(&self) -> Account {
        let number = self.next_component.fetch_add(1, Ordering::Relaxed);
        assert!(number < self.layout.names, "tell `prepare` of more");
        Account::numbered(number)
    }

    pub fn log_path(&self) -> PathBuf {
        self.layout.dir.join("server.log")
    }

    fn spawn(&self, command: &mut Command) {
        let started = Process::start(command, &self.layout.dir.join("output.log"));
        let started = started.expect("the server's program starts");
        *self.process.lock().unwrap() = Some(started);
    }

    /// Listening is not enough: ejabberd listens long before it accepts.
    async fn answers(&self, port: u16, namespace: &str, to: &str) {
        let header = format!(
            "<?xml version='1.0'?><stream:stream xmlns='{namespace}' to='{to}' version='1.0' \
             xmlns:stream='http://etherx.jabber.org/streams'>"
        );
        eventually("the XMPP server answers", 4 * PATIENCE, async || {
            let ended = self.process.lock().unwrap().as_mut().unwrap().ended();
            assert!(ended.is_none(), "the XMPP server ended: {ended:?}");
            let mut socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
            socket.write_all(header.as_bytes()).await.ok()?;
            let answer = timeout(PATIENCE / 3, socket.read_u8()).await;
            answer.ok()?.ok()
        })
        .await;
    }
}
