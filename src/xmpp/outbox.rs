//! Stanzas on their way out, and which of them have left.

use std::collections::VecDeque;

use jid::BareJid;

use super::writer;
use crate::link::{PushStanza, Sent};

/// How much is handed to the operating system at once, in bytes.
const BATCH: usize = 64 * 1024;
/// How much of it may be answers to strangers.
const ANSWERS: usize = 16 * 1024;

/// The bytes for one connection.
#[derive(Default)]
pub struct Outbox {
    /// Answers to strangers, for the end of the next batch.
    answers: Vec<u8>,
    batch: Vec<u8>,
    written: usize,
    /// Where in the batch each push ends.
    pushes: VecDeque<(usize, Sent)>,
}

impl Outbox {
    /// Takes an answer of the session. False when so many wait that it is dropped: whoever asks
    /// faster than the server takes answers makes nobody wait.
    #[must_use]
    pub fn answer(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let room = self.answers.len() < ANSWERS;
        if room {
            write(&mut self.answers);
        }
        room
    }

    /// Ends a batch with the answers that wait: behind the pushes, which strangers must not delay,
    /// but in every batch.
    pub fn add_answers(&mut self) {
        self.batch.append(&mut self.answers);
    }

    pub fn has_room(&self) -> bool {
        self.batch.len() < BATCH
    }

    pub fn batch(&mut self) -> &mut Vec<u8> {
        &mut self.batch
    }

    pub fn push(&mut self, from: &BareJid, push: &PushStanza) {
        writer::push(&mut self.batch, from, push);
        self.pushes.push_back((self.batch.len(), push.sent.clone()));
    }

    /// What is to be written; empty when all is.
    pub fn pending(&self) -> &[u8] {
        &self.batch[self.written..]
    }

    /// The operating system took that many bytes of what is pending.
    pub fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        while let Some((end, sent)) = self.pushes.front()
            && *end <= self.written
        {
            sent.set();
            self.pushes.pop_front();
        }
        if self.written == self.batch.len() {
            self.batch.clear();
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jid::Jid;
    use tokio::time::Instant;

    use super::*;
    use crate::{payload::Payload, registration::Digest};

    fn domain() -> BareJid {
        BareJid::new("up.example.org").unwrap()
    }

    fn stanza() -> PushStanza {
        PushStanza {
            id: "1".into(),
            to: Jid::new("a@b/c").unwrap(),
            application: Digest::from_bytes([1; 32]),
            instance: Digest::from_bytes([2; 32]),
            payload: Payload::new(Bytes::from_static(b"x")).unwrap(),
            deadline: Instant::now(),
            sent: Sent::default(),
        }
    }

    #[test]
    fn a_push_counts_as_sent_when_its_last_byte_has_left() {
        let mut outbox = Outbox::default();
        let (first, second) = (stanza(), stanza());
        outbox.push(&domain(), &first);
        let end_of_first = outbox.pending().len();
        outbox.push(&domain(), &second);
        let end = outbox.pending().len();
        outbox.advance(end_of_first - 1);
        assert!(!first.sent.get());
        outbox.advance(1);
        assert!(first.sent.get() && !second.sent.get());
        outbox.advance(end - end_of_first);
        assert!(second.sent.get() && outbox.pending().is_empty());
    }

    #[test]
    fn answers_to_strangers_go_last_and_are_dropped_when_too_many_wait() {
        let mut outbox = Outbox::default();
        let answer =
            |outbox: &mut Outbox| outbox.answer(|out| out.extend_from_slice(&[b'a'; 1000]));
        let mut taken = 0;
        while answer(&mut outbox) {
            taken += 1;
        }
        assert_eq!(taken, ANSWERS.div_ceil(1000));
        outbox.batch().extend_from_slice(b"batch");
        outbox.add_answers();
        assert!(outbox.pending().starts_with(b"batcha"));
        assert_eq!(outbox.pending().len(), 5 + taken * 1000);
        assert!(answer(&mut outbox), "there is room again");
    }
}
