//! What any component can do at most behind a server: it sends IQs to phones as fast as they are
//! answered, and does nothing else.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jid::{BareJid, Jid};
use testbed::{Account, Component};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep_until},
};
use unified_push::{
    link::{PushStanza, Sent, StanzaId},
    model::{
        payload::Payload,
        registration::{Digest, Registration},
        time::Timestamp,
    },
    xmpp::writer,
};

use crate::{
    load::{Load, Measured, Usage},
    measured::resident,
    phones::{attribute, tags},
};

/// A component's stream.
pub struct RoundTrip {
    domain: BareJid,
    stream: TcpStream,
}

/// An IQ on its way, by its number.
struct Waiting {
    since: Instant,
    stanza: PushStanza,
}

impl RoundTrip {
    pub async fn connect(port: u16, account: &Account) -> Self {
        let component = Component::connect_to(port, account).await.unwrap();
        let stream = component.into_socket();
        stream.set_nodelay(true).unwrap();
        Self {
            domain: account.domain.parse().unwrap(),
            stream,
        }
    }

    /// Keeps as many IQs on their way as the load has connections, each with a body of that size for
    /// one of the phones.
    pub async fn run(&mut self, load: Load, server: u32, jids: &[String], body: usize) -> Measured {
        let jids: Vec<Jid> = jids.iter().map(|jid| jid.parse().unwrap()).collect();
        let payload = Payload::new(Bytes::from(vec![b'x'; body])).unwrap();
        let from = Instant::now() + load.warm_up;
        let until = from + load.window;
        let (mut out, mut buffer) = (Vec::new(), Vec::with_capacity(64 << 10));
        let mut next = jids.iter().cycle();
        let mut waiting: Vec<Waiting> = (0..load.connections)
            .map(|number| Waiting {
                since: Instant::now(),
                stanza: stanza(id(number), next.next().unwrap(), &payload),
            })
            .collect();
        for sent in &waiting {
            writer::push(&mut out, &self.domain, &sent.stanza);
        }
        let (mut latencies, mut left) = (Vec::new(), waiting.len());
        let at_start = async {
            sleep_until(from).await;
            Usage::now(server, None)
        };
        let mut at_start = std::pin::pin!(at_start);
        let mut start = None;
        let mut used = None;
        while left > 0 {
            self.stream.write_all(&out).await.unwrap();
            out.clear();
            tokio::select! {
                usage = &mut at_start, if start.is_none() => {
                    start = Some(usage);
                    continue;
                }
                read = self.stream.read_buf(&mut buffer) => assert_ne!(read.unwrap(), 0),
            }
            let now = Instant::now();
            if now >= until && used.is_none() {
                used = start
                    .as_ref()
                    .map(|start| Usage::now(server, None).since(start));
            }
            let taken = tags(&buffer, |tag| {
                if !tag.starts_with("<iq ") {
                    return;
                }
                assert_eq!(attribute(tag, "type"), Some("result"), "{tag}");
                let id = StanzaId::decode(attribute(tag, "id").unwrap()).unwrap();
                let number = u64::from_le_bytes(*id.first_chunk().unwrap());
                let sent = &mut waiting[number as usize];
                if (from..until).contains(&now) {
                    latencies.push((now - sent.since).as_micros() as u32);
                }
                if now >= until {
                    left -= 1;
                    return;
                }
                sent.since = now;
                sent.stanza.stand_in = Some(next.next().unwrap().clone());
                writer::push(&mut out, &self.domain, &sent.stanza);
            });
            buffer.drain(..taken);
        }
        load.measured(latencies, used.unwrap(), resident(server))
    }
}

fn id(number: usize) -> StanzaId {
    let mut bytes = [0; StanzaId::BYTES];
    bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
    StanzaId::encode(&bytes)
}

fn stanza(id: StanzaId, to: &Jid, payload: &Payload) -> PushStanza {
    PushStanza {
        id,
        registration: Arc::new(Registration {
            owner: to.clone(),
            application: Digest::from_bytes([7; 32]),
            instance: Digest::from_bytes([7; 32]),
            issued: Timestamp::from_secs(0),
            expires: Timestamp::from_secs(1),
        }),
        stand_in: None,
        payload: payload.clone(),
        deadline: Instant::now() + Duration::from_secs(3600),
        sent: Sent::default(),
    }
}
