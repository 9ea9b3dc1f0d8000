//! Stanzas on their way out.

use jid::BareJid;

use super::writer;
use crate::link::PushStanza;

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
    }

    /// What is to be written; empty when all is.
    pub fn pending(&self) -> &[u8] {
        &self.batch[self.written..]
    }

    /// The operating system took that many bytes of what is pending.
    pub fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written == self.batch.len() {
            self.batch.clear();
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
