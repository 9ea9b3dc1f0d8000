//! Phones that are logged in at a real XMPP server and acknowledge at once whatever they get. They
//! cost little, so that what is measured is the server.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use testbed::{Server, phone::Stream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    task::JoinSet,
};
use unified_push::model::registration;

pub struct Phones {
    pub jids: Vec<String>,
    pushed: Arc<AtomicU64>,
    endpoints: mpsc::Receiver<String>,
    requests: Vec<mpsc::Sender<String>>,
    _tasks: JoinSet<()>,
}

impl Phones {
    pub async fn log_in(server: &Server, count: usize) -> Self {
        let (found, endpoints) = mpsc::channel(1);
        let mut phones = Self {
            jids: Vec::new(),
            pushed: Arc::default(),
            endpoints,
            requests: Vec::new(),
            _tasks: JoinSet::new(),
        };
        for number in 0..count {
            let mut stream = Stream::log_in(server, &format!("user-{number}")).await;
            phones.jids.push(stream.bind("Conversations.AbCd").await);
            let (request, requests) = mpsc::channel(1);
            phones.requests.push(request);
            let (pushed, found) = (phones.pushed.clone(), found.clone());
            phones._tasks.spawn(answer(stream, pushed, found, requests));
        }
        phones
    }

    /// How many pushes have arrived.
    pub fn pushed(&self) -> u64 {
        self.pushed.load(Ordering::Relaxed)
    }

    /// Registers an app of each phone and returns the endpoints.
    pub async fn register(&mut self, service: &str) -> Vec<String> {
        let digest = STANDARD.encode([7; 32]);
        let namespace = registration::NS;
        let mut endpoints = Vec::new();
        for request in &self.requests {
            let register = format!(
                "<iq type='set' id='register' to='{service}'><register xmlns='{namespace}' \
                 application='{digest}' instance='{digest}'/></iq>"
            );
            request.send(register).await.unwrap();
            endpoints.push(self.endpoints.recv().await.unwrap());
        }
        endpoints
    }
}

async fn answer(
    stream: Stream,
    pushed: Arc<AtomicU64>,
    endpoints: mpsc::Sender<String>,
    mut requests: mpsc::Receiver<String>,
) {
    let Stream {
        mut read,
        mut write,
        ..
    } = stream;
    let (mut buffer, mut answers) = (Vec::with_capacity(64 << 10), String::new());
    loop {
        tokio::select! {
            Some(request) = requests.recv() => write.write_all(request.as_bytes()).await.unwrap(),
            // It ends with the server.
            Ok(1..) = read.read_buf(&mut buffer) => {}
            else => return,
        }
        let used = tags(&buffer, |tag| {
            if tag.starts_with("<iq ") && attribute(tag, "type") == Some("set") {
                let (id, from) = (attribute(tag, "id"), attribute(tag, "from"));
                let (id, from) = (id.unwrap(), from.unwrap());
                answers += &format!("<iq type='result' id='{id}' to='{from}'/>");
                pushed.fetch_add(1, Ordering::Relaxed);
            } else if tag.starts_with("<registered ") {
                let endpoint = attribute(tag, "endpoint").unwrap();
                endpoints.try_send(endpoint.to_owned()).unwrap();
            }
        });
        buffer.drain(..used);
        if !answers.is_empty() {
            // A server that is stopped takes none.
            let _ = write.write_all(answers.as_bytes()).await;
            answers.clear();
        }
    }
}

/// Hands out the tags that are complete, and returns how many bytes they and the texts between them
/// were.
pub fn tags(bytes: &[u8], mut take: impl FnMut(&str)) -> usize {
    let mut used = 0;
    for end in memchr(b'>', bytes) {
        let text = std::str::from_utf8(&bytes[used..=end]).unwrap();
        take(&text[text.rfind('<').unwrap_or(0)..]);
        used = end + 1;
    }
    used
}

fn memchr(wanted: u8, bytes: &[u8]) -> impl Iterator<Item = usize> {
    let found = bytes.iter().enumerate();
    found.filter_map(move |(index, byte)| (*byte == wanted).then_some(index))
}

/// With quotes of either kind.
pub fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = tag;
    loop {
        let (before, after) = rest.split_once('=')?;
        let quote = after.chars().next()?;
        let (value, next) = after[1..].split_once(quote)?;
        if before.rsplit(' ').next() == Some(name) {
            return Some(value);
        }
        rest = next;
    }
}
