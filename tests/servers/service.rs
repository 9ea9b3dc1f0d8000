//! The component as any XMPP entity: what it says of itself and what it refuses.

use std::rc::Rc;

use testbed::{Refusal, app::NS, tests};

use crate::{Test, bed::Bed, line::Line};

const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
const PING: &str = "urn:xmpp:ping";
const VERSION: &str = "jabber:iq:version";

pub fn on_both() -> Vec<Test> {
    tests![
        it_describes_itself,
        it_refuses_what_it_does_not_know,
        a_subscription_is_answered,
    ]
}

async fn it_describes_itself(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let service = line.daemon.service().to_owned();
    let mut ask = async |name: &str, namespace: &str| {
        let request = format!("<{name} xmlns='{namespace}'/>");
        let answer = line.phone.iq("get", Some(&service), &request).await;
        assert!(answer.is("iq", "result"), "{answer:?}");
        assert_eq!(answer.attr("from"), Some(&*service));
        answer.child(name, namespace).cloned()
    };
    let info = ask("query", DISCO_INFO).await.expect("disco#info");
    let vars = |name: &'static str, attribute: &'static str| {
        let children = info.children.iter().filter(move |child| child.name == name);
        children.filter_map(move |child| child.attr(attribute))
    };
    assert_eq!(vars("identity", "category").count(), 1);
    let features: Vec<&str> = vars("feature", "var").collect();
    for feature in [NS, DISCO_INFO, PING, VERSION] {
        assert!(features.contains(&feature), "{feature}: {features:?}");
    }
    let items = ask("query", DISCO_ITEMS).await.expect("disco#items");
    assert!(items.children.is_empty());
    assert_eq!(ask("ping", PING).await, None);
    let version = ask("query", VERSION).await.expect("a version");
    let name = version.child("name", VERSION).expect("a name");
    assert!(!name.text.is_empty());
    assert!(version.child("version", VERSION).is_some());
}

async fn it_refuses_what_it_does_not_know(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let service = line.daemon.service().to_owned();
    let unknown = "<query xmlns='urn:example:unknown'/>".to_owned();
    let unheard = format!("<forget xmlns='{NS}'/>");
    for (kind, payload) in [
        ("get", unknown.clone()),
        ("set", unknown),
        ("set", unheard),
        ("get", format!("<register xmlns='{NS}'/>")),
    ] {
        let answer = line.phone.iq(kind, Some(&service), &payload).await;
        assert!(answer.is("iq", "error"), "{payload}: {answer:?}");
        let refusal = Refusal::of(&answer);
        assert!(refusal.is("cancel", "service-unavailable"), "{refusal:?}");
    }
}

async fn a_subscription_is_answered(bed: Rc<Bed>) {
    let mut line = Line::new(&bed).await;
    let service = line.daemon.service().to_owned();
    let subscribe = format!("<presence type='subscribe' to='{service}'/>");
    line.phone.send(&subscribe).await;
    let answer = line.phone.stanza(|stanza| {
        let kinds = ["subscribed", "unsubscribed"];
        let from = stanza.attr("from") == Some(&service);
        from && kinds.iter().any(|kind| stanza.is("presence", kind))
    });
    answer.await;
    line.phone.announce(&service).await;
    line.works().await;
}
