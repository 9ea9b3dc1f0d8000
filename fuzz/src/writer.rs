//! What the link writes is read back as it was, whatever stands in it, and is one stanza.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes};
use jid::{BareJid, Jid};
use tokio::time::Instant;
use unified_push::{
    link::{PushStanza, Sent, StanzaId},
    model::{
        payload::Payload,
        registration::{Digest, Registration},
        time::Timestamp,
    },
    xmpp::{
        reader::{Event, Reader},
        writer::{self, Body, Reply, StanzaError},
    },
};

use crate::halves;

const DOMAIN: &str = "up.example.org";

pub fn run(data: &[u8]) {
    let (id, rest) = halves(data);
    let (to, payload) = halves(rest);
    let (Ok(id), Ok(to)) = (str::from_utf8(id), str::from_utf8(to)) else {
        return;
    };
    // Ids and addresses come from XML themselves.
    if !id.chars().chain(to.chars()).all(is_xml) {
        return;
    }
    let reply = Reply {
        from: Jid::new(DOMAIN).expect("a JID"),
        to: to.to_owned(),
        body: Body::Error {
            id: id.to_owned(),
            error: StanzaError::BadRequest,
        },
    };
    let mut out = Vec::new();
    writer::reply(&mut out, &reply);
    assert_stanza(&out, "error", to, id);

    let (Ok(jid), Ok(payload)) = (Jid::new(to), Payload::new(Bytes::copy_from_slice(payload)))
    else {
        return;
    };
    let mut bytes = [0; StanzaId::BYTES];
    bytes
        .iter_mut()
        .zip(id.bytes())
        .for_each(|(to, from)| *to = from);
    let stanza_id = StanzaId::encode(&bytes);
    let push = PushStanza {
        id: stanza_id,
        registration: Arc::new(Registration {
            owner: jid,
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([2; 32]),
            issued: Timestamp::from_secs(0),
            expires: Timestamp::from_secs(1),
        }),
        stand_in: None,
        payload,
        deadline: Instant::now(),
        sent: Sent::default(),
    };
    out.clear();
    writer::push(&mut out, &BareJid::new(DOMAIN).expect("a JID"), &push);
    assert_stanza(&out, "set", push.to().as_str(), stanza_id.as_str());
    let text = String::from_utf8(out).expect("UTF-8");
    let payload = format!(">{}</push></iq>", STANDARD.encode(push.payload.as_bytes()));
    assert!(text.trim_end().ends_with(&payload));
}

fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

fn assert_stanza(written: &[u8], kind: &str, to: &str, id: &str) {
    let mut reader = Reader::default();
    let mut found = Vec::new();
    for chunk in written.chunks(4096) {
        reader.buffer().put_slice(chunk);
        while let Some(event) = reader.next_event().expect("it is well-formed") {
            found.push(event.into_owned());
        }
    }
    let [Event::Stanza(stanza)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(stanza.head.r#type, kind);
    assert_eq!(stanza.head.to.as_deref(), Some(to));
    assert_eq!(stanza.head.id, id);
    assert!(stanza.content.is_ok());
}
