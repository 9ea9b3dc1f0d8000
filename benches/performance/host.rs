//! An XMPP server that costs next to nothing: it admits one component and acknowledges what that
//! sends, or says that its phones are away. It knows how this component writes, and nothing else.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::time::Instant;
use unified_push::model::registration;

pub const DOMAIN: &str = "up.example.org";

/// How many registrations wait for their endpoints at a time; below the daemon's queues.
const AT_ONCE: usize = 32;

pub struct Host {
    pub port: u16,
    shared: Arc<Shared>,
    endpoints: Receiver<String>,
    registered: usize,
}

#[derive(Default)]
struct Shared {
    /// Milliseconds that acknowledgements are held back.
    delay: AtomicU64,
    /// All phones.
    away: AtomicBool,
    acknowledged: AtomicU64,
    stream: OnceLock<Mutex<TcpStream>>,
}

/// For one endpoint.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers, and when they are due.
type Late = (Instant, Vec<u8>);

impl Host {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let (sender, endpoints) = sync_channel(AT_ONCE);
        let of_thread = shared.clone();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            // It ends with the daemon.
            let _ = serve(stream, &of_thread, &sender);
        });
        Self {
            port,
            shared,
            endpoints,
            registered: 0,
        }
    }

    /// How late to acknowledge from now on.
    pub fn hold_back(&self, delay: Duration) {
        let millis = delay.as_millis().try_into().unwrap();
        self.shared.delay.store(millis, Ordering::Relaxed);
    }

    /// From now on no phone is there.
    pub fn send_away(&self) {
        self.shared.away.store(true, Ordering::Relaxed);
    }

    /// The phones that registered first are there again, and say so.
    pub fn bring_back(&self, count: usize) {
        self.shared.away.store(false, Ordering::Relaxed);
        let presences = (1..=count).map(|n| {
            let phone = phone(n);
            format!("<presence from='{phone}' to='{DOMAIN}'/>")
        });
        let presences: String = presences.collect();
        self.shared.write(presences.as_bytes()).unwrap();
    }

    /// How many pushes were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Registers that many apps, of a phone each, and returns their endpoints.
    pub fn register(&mut self, count: usize) -> Vec<String> {
        self.register_with(count, "")
    }

    /// The same with one more attribute of the element, or none.
    pub fn register_with(&mut self, count: usize, attribute: &str) -> Vec<String> {
        self.register_of(None, count, attribute)
    }

    /// Registers that many apps of one phone more.
    pub fn register_apps(&mut self, count: usize) -> Vec<String> {
        self.register_of(Some(self.registered + 1), count, "")
    }

    fn register_of(&mut self, of: Option<usize>, count: usize, attribute: &str) -> Vec<String> {
        let mut endpoints = Vec::with_capacity(count);
        let mut asked = 0;
        while endpoints.len() < count {
            let batch = AT_ONCE
                .min(count - asked)
                .min(AT_ONCE - (asked - endpoints.len()));
            let stanzas: String = (0..batch)
                .map(|_| self.next_registration(of, attribute))
                .collect();
            self.shared.write(stanzas.as_bytes()).unwrap();
            asked += batch;
            endpoints.push(self.endpoints.recv_timeout(PATIENCE).unwrap());
            endpoints.extend(self.endpoints.try_iter());
        }
        endpoints
    }

    fn next_registration(&mut self, of: Option<usize>, attribute: &str) -> String {
        self.registered += 1;
        let n = self.registered;
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_le_bytes());
        let digest = STANDARD.encode(digest);
        let (phone, namespace) = (phone(of.unwrap_or(n)), registration::NS);
        format!(
            "<iq type='set' id='r{n}' from='{phone}' \
             to='{DOMAIN}'><register xmlns='{namespace}' application='{digest}' \
             instance='{digest}'{attribute}/></iq>"
        )
    }
}

/// The JID of the phone that registered as the nth.
pub fn phone(n: usize) -> String {
    format!("user-{n}@example.org/Conversations.AbCd")
}

impl Shared {
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get().unwrap().lock().unwrap().write_all(bytes)
    }
}

fn serve(
    stream: TcpStream,
    shared: &Arc<Shared>,
    endpoints: &SyncSender<String>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(64 << 10, stream.try_clone()?);
    admit(&mut reader, stream, shared)?;
    let late = start_late_writer(shared.clone());
    let (mut answers, mut tag) = (Vec::new(), Vec::new());
    loop {
        if reader.buffer().is_empty() && !answers.is_empty() {
            match shared.delay.load(Ordering::Relaxed) {
                0 => shared.write(&answers)?,
                delay => {
                    let due = Instant::now() + Duration::from_millis(delay);
                    late.send((due, answers.clone())).unwrap();
                }
            }
            answers.clear();
        }
        next_tag(&mut reader, &mut tag)?;
        answer(&tag, shared, &mut answers)?;
        while !tag.ends_with(b"</iq>") {
            next_tag(&mut reader, &mut tag)?;
            if tag.starts_with(b"<registered ") {
                endpoints.send(endpoint(&tag)).unwrap();
            }
        }
    }
}

/// Believes whatever the component proves.
fn admit(
    reader: &mut BufReader<TcpStream>,
    mut stream: TcpStream,
    shared: &Shared,
) -> io::Result<()> {
    let mut tag = Vec::new();
    while !tag.trim_ascii_start().starts_with(b"<stream:stream ") {
        next_tag(reader, &mut tag)?;
    }
    stream.write_all(
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
          xmlns:stream='http://etherx.jabber.org/streams' id='1' from='up.example.org'>",
    )?;
    while !tag.ends_with(b"</handshake>") {
        next_tag(reader, &mut tag)?;
    }
    stream.write_all(b"<handshake/>")?;
    shared.stream.set(Mutex::new(stream)).unwrap();
    Ok(())
}

fn start_late_writer(shared: Arc<Shared>) -> SyncSender<Late> {
    let (sender, queue) = sync_channel::<Late>(4096);
    thread::spawn(move || {
        for (due, answers) in queue {
            #[expect(clippy::disallowed_methods, reason = "the delay is what is asked for")]
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if shared.write(&answers).is_err() {
                return;
            }
        }
    });
    sender
}

/// Reads up to the next `>`.
fn next_tag(reader: &mut impl BufRead, tag: &mut Vec<u8>) -> io::Result<()> {
    tag.clear();
    match reader.read_until(b'>', tag)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// `<iq type='set' id='ID' from='FROM' to='TO'>`: what asks for an answer gets it.
fn answer(iq: &[u8], shared: &Shared, answers: &mut Vec<u8>) -> io::Result<()> {
    let mut values = iq.split(|byte| *byte == b'\'').skip(1).step_by(2);
    let mut next = || values.next().ok_or(io::ErrorKind::InvalidData);
    let (kind, id, from, to) = (next()?, next()?, next()?, next()?);
    if kind != b"set" && kind != b"get" {
        return Ok(());
    }
    let (kind, end): (&[u8], &[u8]) = match shared.away.load(Ordering::Relaxed) {
        false => (b"result", b"'/>"),
        true => (
            b"error",
            b"'><error type='cancel'>\
              <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
        ),
    };
    if kind == b"result" {
        shared.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    for part in [
        b"<iq type='",
        kind,
        b"' id='",
        id,
        b"' from='",
        to,
        b"' to='",
        from,
        end,
    ] {
        answers.extend_from_slice(part);
    }
    Ok(())
}

fn endpoint(registered: &[u8]) -> String {
    let registered = String::from_utf8_lossy(registered);
    let (_, rest) = registered.split_once("endpoint='").unwrap();
    rest.split('\'').next().unwrap().to_owned()
}
