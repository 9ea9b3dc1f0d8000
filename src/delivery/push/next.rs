//! What follows a push's first attempt.

use crate::{
    delivery::{Outcome, attempts::Verdict},
    model::message::{MessageId, Ttl},
};

/// What a message has been through before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It was not sent.
    Unsent,
    /// The phone, or its server, answered with a temporary error.
    Failed,
    /// The server answered that this resource is not there.
    Unreachable,
    /// It was sent, and is likely to be lost; an answer may come all the same.
    Lost,
    /// It was sent, and the answer may come yet.
    Unanswered,
}

/// How a first attempt ended.
pub struct Ended {
    /// None: no answer came in time.
    pub verdict: Option<Verdict>,
    /// The stanza was taken back before it went out.
    pub withdrawn: bool,
    /// The phone has announced itself since the push arrived. A session that another one has
    /// replaced answers no more.
    pub rebound: bool,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Tell(Outcome),
    /// The token was revoked, unless the phone has registered again meanwhile and the URL lives on.
    OpenAgain,
    Keep(Tried),
}

/// Decides what follows a push's first attempt.
pub fn next(ttl: Ttl, message: MessageId, ended: Ended) -> Next {
    use Verdict::{
        Acknowledged, Failed, LinkLost, RevocationFailed, Revoked, Stopping, Unreachable,
    };
    let transient = ttl == Ttl::ZERO;
    match ended.verdict {
        Some(Acknowledged) => Next::Tell(Outcome::Acknowledged { ttl, message }),
        Some(Revoked) => Next::OpenAgain,
        Some(RevocationFailed) => Next::Tell(Outcome::StoreFailed),
        Some(Failed | Unreachable) if transient => Next::Tell(Outcome::PhoneError),
        Some(Failed) => Next::Keep(Tried::Failed),
        Some(Unreachable) => Next::Keep(Tried::Unreachable),
        // No answer, and none will come in time.
        Some(LinkLost) if transient => Next::Tell(Outcome::LinkDown),
        Some(Stopping) | None if transient => Next::Tell(match ended.withdrawn {
            true => Outcome::Unanswered,
            false => Outcome::SentUnanswered { message },
        }),
        Some(LinkLost | Stopping) | None if ended.withdrawn => Next::Keep(Tried::Unsent),
        Some(Stopping) | None if !ended.rebound => Next::Keep(Tried::Unanswered),
        Some(LinkLost | Stopping) | None => Next::Keep(Tried::Lost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By verdict and TTL: when the stanza went out, when the phone has come back since, and when it
    /// was withdrawn.
    const TABLE: &str = "
        Acknowledged 0: Acknowledged Acknowledged Acknowledged
        Acknowledged 60: Acknowledged Acknowledged Acknowledged
        Failed 0: PhoneError PhoneError PhoneError
        Failed 60: keep-Failed keep-Failed keep-Failed
        Unreachable 0: PhoneError PhoneError PhoneError
        Unreachable 60: keep-Unreachable keep-Unreachable keep-Unreachable
        Revoked 0: OpenAgain OpenAgain OpenAgain
        Revoked 60: OpenAgain OpenAgain OpenAgain
        RevocationFailed 0: StoreFailed StoreFailed StoreFailed
        RevocationFailed 60: StoreFailed StoreFailed StoreFailed
        LinkLost 0: LinkDown LinkDown LinkDown
        LinkLost 60: keep-Lost keep-Lost keep-Unsent
        Stopping 0: SentUnanswered SentUnanswered Unanswered
        Stopping 60: keep-Unanswered keep-Lost keep-Unsent
        None 0: SentUnanswered SentUnanswered Unanswered
        None 60: keep-Unanswered keep-Lost keep-Unsent";

    #[test]
    fn every_end_of_a_first_attempt_has_its_sequel() {
        use Verdict::*;
        let verdicts = [
            Acknowledged,
            Failed,
            Unreachable,
            Revoked,
            RevocationFailed,
            LinkLost,
            Stopping,
        ];
        let mut table = String::new();
        for verdict in verdicts.map(Some).into_iter().chain([None]) {
            let name = verdict.map_or("None".to_owned(), |verdict| format!("{verdict:?}"));
            for secs in [0, 60] {
                let word = |withdrawn, rebound| {
                    let ended = Ended {
                        verdict,
                        withdrawn,
                        rebound,
                    };
                    let next = next(Ttl::from_secs(secs), MessageId::from_bytes([1; 16]), ended);
                    let next = match next {
                        Next::Tell(outcome) => format!("{outcome:?}"),
                        Next::Keep(tried) => format!("keep-{tried:?}"),
                        Next::OpenAgain => "OpenAgain".to_owned(),
                    };
                    next.split(' ').next().unwrap().to_owned()
                };
                let words = [word(false, false), word(false, true), word(true, false)];
                assert_eq!(word(true, true), words[2]);
                table += &format!("\n        {name} {secs}: {}", words.join(" "));
            }
        }
        assert_eq!(table, TABLE);
    }
}
