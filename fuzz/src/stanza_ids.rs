//! An id counts only for the JID that it was made for, and as it was made.

use std::sync::LazyLock;

use jid::Jid;
use unified_push::{
    delivery::{AttemptId, Replica, StanzaIds},
    model::{message::MessageKey, secret::Secret},
};

use crate::halves;

static IDS: LazyLock<StanzaIds> = LazyLock::new(|| StanzaIds::new(&Secret::new([7; 32]), &[]));

pub fn run(data: &[u8]) {
    let romeo = Jid::new("romeo@example.org/orchard").expect("a JID");
    let attempt = AttemptId {
        replica: Replica::from_bytes([1; 4]),
        message: MessageKey::from_bytes([2; 16]),
        number: 3,
    };
    let minted = IDS.mint(&romeo, &attempt);
    let minted = minted.as_str();
    assert_eq!(IDS.verify(romeo.as_str(), minted), Some(attempt));

    // Something else in its place, or at one place of it.
    let (made_up, rest) = halves(data);
    if let Ok(id) = str::from_utf8(made_up)
        && id != minted
    {
        assert_eq!(IDS.verify(romeo.as_str(), id), None);
    }
    if let [at, with, rest @ ..] = rest {
        let mut id = minted.as_bytes().to_vec();
        let at = usize::from(*at) % id.len();
        id[at] = *with;
        let altered = str::from_utf8(&id).ok().filter(|id| *id != minted);
        assert_eq!(altered.and_then(|id| IDS.verify(romeo.as_str(), id)), None);
        if let Ok(other) = Jid::new(&String::from_utf8_lossy(rest))
            && other != romeo
        {
            assert_eq!(IDS.verify(other.as_str(), minted), None);
        }
    }
}
