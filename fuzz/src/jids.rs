//! Whoever asks for an endpoint gets it for the very address that the server wrote, or not at all.

use std::sync::Arc;

use bytes::BufMut;
use jid::BareJid;
use unified_push::{
    link::Extensions,
    metrics::Metrics,
    model::{acl::Acl, registration, sync::Current},
    xmpp::{
        reader::{Event, Reader},
        session::{Action, Session},
    },
};

pub fn run(data: &[u8]) {
    let Ok(from) = str::from_utf8(data) else {
        return;
    };
    if from
        .chars()
        .any(|c| c < ' ' || "<&'\u{fffe}\u{ffff}".contains(c))
    {
        return;
    }
    let xml = format!(
        "<iq type='set' id='1' from='{from}' to='up.example.org'><register xmlns='{}' \
         application='AAAA' instance='AAAA'/></iq>",
        registration::NS
    );
    let mut reader = Reader::default();
    for chunk in xml.as_bytes().chunks(4096) {
        reader.buffer().put_slice(chunk);
    }
    let Ok(Some(Event::Stanza(stanza))) = reader.next_event() else {
        return;
    };
    let session = Session::new(
        BareJid::new("up.example.org").expect("a JID"),
        Arc::new(Metrics::new()),
        Arc::new(Current::new(Extensions::default())),
        "ping".to_owned(),
    );
    if let Some(Action::Register(request)) = session.handle(stanza) {
        assert_eq!(request.from.as_str(), from);
        // What is kept of it is read as the same later.
        let bare = request.from.to_bare();
        assert_eq!(BareJid::new(bare.as_str()), Ok(bare));
        let acl = Acl::new(vec!["example.org".parse().expect("a domain")]);
        let own = request.from.domain().as_str() == "example.org";
        assert_eq!(acl.permits(&request.from), own);
    }
}
