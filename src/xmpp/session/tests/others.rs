//! Stanzas that are no requests: answers, presence, messages, and the stream's errors.

use super::*;

fn answer(xml: &str) -> Option<Answer> {
    match act(xml) {
        Some(Action::Answer { from, id, answer }) => {
            assert_eq!((&*from, &*id), ("a@b/c", "1"));
            Some(answer)
        }
        None => None,
        other => panic!("an answer got {other:?}"),
    }
}

#[test]
fn only_two_conditions_speak_about_the_registration() {
    let error = |condition: &str| {
        iq(
            "error",
            &format!(
                "<push xmlns='http://gultsch.de/xmpp/drafts/unified-push'>eA==</push><error type='cancel'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
            ),
        )
    };
    assert_eq!(
        answer(&error("item-not-found")),
        Some(Answer::NotRegistered)
    );
    assert_eq!(
        answer(&error("feature-not-implemented")),
        Some(Answer::NotRegistered)
    );
    for condition in ["service-unavailable", "gone", "recipient-unavailable"] {
        assert_eq!(answer(&error(condition)), Some(Answer::Unreachable));
    }
    for condition in ["internal-server-error", "remote-server-timeout", "nonsense"] {
        assert_eq!(answer(&error(condition)), Some(Answer::Failed));
    }
}

#[test]
fn an_answer_however_odd_is_never_answered() {
    assert_eq!(answer(&iq("result", "")), Some(Answer::Acknowledged));
    let odd = [
        "".into(),
        "<a/><b/>".into(),
        "<error/>".into(),
        "<error><item-not-found/></error>".into(),
        "<p:error/>".into(),
        too_large(),
        too_deep(),
    ];
    for content in odd {
        assert_eq!(answer(&iq("result", &content)), Some(Answer::Acknowledged));
        assert_eq!(answer(&iq("error", &content)), Some(Answer::Failed));
    }
    for from in ["", "from=''"] {
        for kind in ["result", "error"] {
            let session = session();
            let answer = iq(kind, "").replace("from='a@b/c'", from);
            assert!(handle(&session, &answer).is_none());
            assert_eq!(session.metrics.odd_stanzas.get(OddStanza::Malformed), 1);
        }
    }
}

#[test]
fn the_answer_to_its_own_ping_is_nobody_elses() {
    for kind in ["result", "error"] {
        assert!(act(&iq(kind, "").replace("id='1'", "id='ping'")).is_none());
        let to_another_connections = iq(kind, "").replace("a@b/c", "up.example.org");
        assert!(act(&to_another_connections).is_none());
    }
}

fn presence(kind: &str) -> String {
    format!("<presence{kind} from='a@b/c' to='up.example.org'/>")
}

#[test]
fn presence_is_passed_on() {
    for (kind, expected) in [("", true), (" type='unavailable'", false)] {
        let Some(Action::Presence { from, available }) = act(&presence(kind)) else {
            panic!("no presence");
        };
        assert_eq!((from.as_str(), available), ("a@b/c", expected));
    }
    let elsewhere = presence("").replace("to='up", "to='node@up");
    assert!(act(&elsewhere).is_none());
}

#[test]
fn subscriptions_are_declined_politely() {
    let of = |kind: &str| format!("<presence type='{kind}' from='up.example.org' to='a@b/c'/>");
    assert_eq!(reply(&presence(" type='subscribe'")), of("unsubscribed"));
    assert_eq!(reply(&presence(" type='probe'")), of("unavailable"));
    for kind in ["subscribed", "unsubscribe", "unsubscribed", "error", "foo"] {
        assert!(
            act(&presence(&format!(" type='{kind}'"))).is_none(),
            "{kind}"
        );
    }
}

#[test]
fn messages_are_ignored() {
    for kind in ["", " type='bogus'", " type='error'"] {
        assert!(
            act(&format!(
                "<message{kind} from='a@b/c'><body>x</body></message>"
            ))
            .is_none()
        );
    }
}

#[test]
fn a_stream_error_ends_the_link() {
    let Some(Action::End(loss)) =
        act("<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
    else {
        panic!("no end");
    };
    assert_eq!(loss.state(), crate::metrics::LinkState::Conflict);
}
