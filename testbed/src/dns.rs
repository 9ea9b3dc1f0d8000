//! A DNS server of a test's own (RFC 1035, RFC 2782): it knows the XMPP servers that were entered,
//! and denies every other name.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{net::UdpSocket, task::JoinHandle};

/// The name of the one machine there is. ejabberd asks the C library for its address, which asks no
/// DNS of a test's.
const MACHINE: &str = "localhost";

const A: u16 = 1;
const SRV: u16 = 33;

pub struct Dns {
    pub port: u16,
    zone: Arc<Mutex<HashMap<String, u16>>>,
    serving: JoinHandle<()>,
}

impl Dns {
    /// On loopback.
    pub async fn start() -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let zone = Arc::new(Mutex::new(HashMap::new()));
        let serving = tokio::spawn(serve(socket, zone.clone()));
        Self {
            port,
            zone,
            serving,
        }
    }

    /// Servers find the domain at this port.
    pub fn enter(&self, domain: &str, port: u16) {
        let name = format!("_xmpp-server._tcp.{domain}");
        self.zone.lock().unwrap().insert(name, port);
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<HashMap<String, u16>>>) {
    let mut query = [0; 512];
    while let Ok((len, from)) = socket.recv_from(&mut query).await {
        let answer = answer(&query[..len], &zone.lock().unwrap());
        let _ = socket.send_to(&answer, from).await;
    }
}

fn answer(query: &[u8], zone: &HashMap<String, u16>) -> Vec<u8> {
    const HEADER: usize = 12;
    let (name, after) = read_name(query, HEADER);
    let kind = u16::from_be_bytes([query[after], query[after + 1]]);
    let port = zone.get(&name);
    let data = match (kind, port) {
        (SRV, Some(port)) => {
            let [high, low] = port.to_be_bytes();
            // Priority and weight before it.
            Some([&[0, 0, 0, 0, high, low], &*written(MACHINE)].concat())
        }
        (A, _) if name == MACHINE => Some(vec![127, 0, 0, 1]),
        _ => None,
    };
    const NAME_ERROR: u8 = 3;
    let code = match port.is_some() || name == MACHINE {
        true => 0,
        false => NAME_ERROR,
    };
    let answers = u8::from(data.is_some());
    // An authoritative answer to one question.
    let mut text = query[..2].to_vec();
    text.extend([0x85, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]);
    text.extend(&query[HEADER..after + 4]);
    if let Some(data) = data {
        // The name is the question's; the class is IN; it may be kept for a minute.
        text.extend([0xc0, 12]);
        text.extend(kind.to_be_bytes());
        text.extend([0, 1, 0, 0, 0, 60]);
        text.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        text.extend(data);
    }
    text
}

/// The name at a place in a query, and where it ends.
fn read_name(query: &[u8], mut at: usize) -> (String, usize) {
    let mut labels = Vec::new();
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    (labels.join("."), at + 1)
}

fn written(name: &str) -> Vec<u8> {
    let label = |label: &str| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat();
    let labels: Vec<_> = name.split('.').map(label).collect();
    [labels.concat(), vec![0]].concat()
}
