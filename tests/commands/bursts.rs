//! Many at once: after a restart of the XMPP server all its phones register within moments.

use testbed::{Bed, bed::BACKENDS};
use tokio::task::JoinSet;

/// How many of so many phones, each of another account, get an endpoint.
async fn registered(bed: &Bed, phones: usize) -> usize {
    let mut tasks = JoinSet::new();
    for number in 0..phones {
        let phone = bed.server.phone(&format!("user{number}@example.org/phone"));
        tasks.spawn(async move { phone.register("app").await });
    }
    let outcomes = tasks.join_all().await;
    outcomes.iter().filter(|outcome| outcome.is_ok()).count()
}

#[tokio::test]
async fn a_thousand_phones_at_once_all_get_an_endpoint() {
    for backend in BACKENDS {
        let mut bed = Bed::new().await;
        bed.text("backend", backend);
        let _daemon = bed.start().await;
        assert_eq!(registered(&bed, 1000).await, 1000, "{backend}");
    }
}

#[tokio::test]
async fn strangers_who_register_take_no_phones_place() {
    let bed = Bed::new().await;
    let _daemon = bed.start().await;
    let flood = async {
        for number in 0u64.. {
            let stanza = format!(
                "<iq type='set' id='1' from='eve{number}@evil.example/x' to='up.example.org'>\
                 <register xmlns='http://gultsch.de/xmpp/drafts/unified-push'/></iq>"
            );
            bed.server.inject(stanza).await;
        }
    };
    tokio::select! {
        () = flood => unreachable!("strangers never tire"),
        phones = registered(&bed, 20) => assert_eq!(phones, 20),
    }
}
