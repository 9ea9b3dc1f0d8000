//! What is known of one phone that messages wait for.

use tokio::time::Instant;

use super::{First, Held, LEAST_PAUSE};
use crate::store::Overtaken;

/// What is known of each. A million may wait, so that what few have is apart.
#[derive(Default)]
pub struct Phone {
    pub turn: Turn,
    pub rest: Rest,
    /// It was sent something since the link is up, or was about to be.
    pub asked: bool,
    /// The store has messages for it, as far as is known.
    pub kept: bool,
    /// Messages that are being stored.
    pub writing: u32,
    few: Option<Box<Few>>,
}

/// What is known of few phones.
#[derive(Default)]
struct Few {
    /// Temporary errors in a row. They outlast the rest: a new link ends it, but the next error
    /// makes the pause longer still.
    failures: u32,
    /// The next attempt is no earlier, whatever the phone says: one that answers with an error and
    /// announces itself, again and again, would keep the daemon busy.
    not_before: Option<Instant>,
    first: First,
}

#[derive(Default)]
pub enum Turn {
    /// The link is down, or the first message is not stored yet.
    #[default]
    Unscheduled,
    At(Instant),
    /// It is being tried, by whoever took it with [`Table::pop`](super::table::Table::pop).
    Trying(Meanwhile),
}

/// Whether a phone is left alone. What is stored for it then waits with the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    #[default]
    No,
    /// It left a message unanswered, and has said nothing since.
    Quiet,
    /// It answered with a temporary error.
    Failing,
}

/// What has happened to a phone since the store was last asked for its next message, and may have
/// changed the store's reply or how the attempt ended.
#[derive(Clone, Copy, Default)]
pub struct Meanwhile {
    /// A message was stored.
    pub stored: bool,
    /// An attempt failed, and was counted.
    pub failed: bool,
    /// The phone spoke, or the link was lost: nothing that was learnt before counts any more.
    pub woken: bool,
}

impl Phone {
    /// Messages wait for it, or it is left alone.
    pub fn must_wait(&self) -> bool {
        self.kept || self.writing > 0 || self.rest != Rest::No
    }

    /// The store may have a new message; it is `kept` if it surely has.
    pub fn store_changed(&mut self, kept: bool) {
        self.kept |= kept;
        self.note(|meanwhile| meanwhile.stored = true);
    }

    /// There was an error now.
    pub fn pause(&mut self, now: Instant) {
        self.few().not_before = Some(now + LEAST_PAUSE);
    }

    /// A temporary error.
    pub fn fail(&mut self, now: Instant) {
        self.pause(now);
        self.count_failure();
        self.leave_alone(Rest::Failing);
    }

    pub fn count_failure(&mut self) {
        let few = self.few();
        few.failures = few.failures.saturating_add(1);
        self.note(|meanwhile| meanwhile.failed = true);
    }

    /// Whether the pause after an error lasts, or one has just been noted.
    pub fn pauses(&self, now: Instant) -> bool {
        self.rest == Rest::Failing
            && match self.turn {
                Turn::At(at) => at > now,
                Turn::Trying(meanwhile) => meanwhile.failed,
                Turn::Unscheduled => false,
            }
    }

    pub fn failures(&self) -> u32 {
        self.few.as_ref().map_or(0, |few| few.failures)
    }

    /// It was sent something.
    pub fn leave_alone(&mut self, rest: Rest) {
        self.asked = true;
        self.rest = rest;
    }

    pub fn wake(&mut self) {
        if let Some(few) = &mut self.few {
            few.failures = 0;
        }
        self.rest = Rest::No;
        self.note(|meanwhile| meanwhile.woken = true);
    }

    pub fn release(&mut self, held: Option<Held>) {
        if let Some(held) = held {
            let before = &mut self.few().first.held;
            *before = Some(before.map_or(held, |before| before.and(held)));
        }
    }

    /// Nobody can reach it: it has no turn, and is not left alone any more, since its server may be a new one
    /// next time. What it was sent lately is to be released.
    pub fn link_down(&mut self, doubtful: Held) {
        if let Turn::At(_) = self.turn {
            self.turn = Turn::Unscheduled;
        }
        if std::mem::take(&mut self.asked) {
            self.release(Some(doubtful));
        }
        if let Some(few) = &mut self.few {
            few.not_before = None;
        }
        self.rest = Rest::No;
        self.note(|meanwhile| meanwhile.woken = true);
    }

    /// What the store is to be told, once.
    pub fn take_first(&mut self) -> First {
        let few = self.few.as_mut();
        few.map_or_else(First::default, |few| std::mem::take(&mut few.first))
    }

    /// The latest push counts of each topic; of a phone with very many topics the earlier ones are
    /// given up.
    pub fn overtake(&mut self, overtaken: Overtaken) {
        const MOST: usize = 32;
        let known = &mut self.few().first.overtaken;
        let same =
            |of: &Overtaken| of.endpoint == overtaken.endpoint && of.topic == overtaken.topic;
        match known.iter_mut().find(|known| same(known)) {
            Some(known) => known.before = known.before.max(overtaken.before),
            None => {
                if known.len() == MOST {
                    known.remove(0);
                }
                known.push(overtaken);
            }
        }
    }

    pub fn overtaken(&self) -> &[Overtaken] {
        self.few.as_ref().map_or(&[], |few| &few.first.overtaken)
    }

    /// Notes what happens to a phone while it is being tried.
    pub fn note(&mut self, note: impl FnOnce(&mut Meanwhile)) {
        if let Turn::Trying(meanwhile) = &mut self.turn {
            note(meanwhile);
        }
    }

    /// Nobody tries it any more.
    pub fn end_turn(&mut self) -> Meanwhile {
        let Turn::Trying(meanwhile) = self.turn else {
            return Meanwhile::default();
        };
        self.turn = Turn::Unscheduled;
        meanwhile
    }

    /// When it is tried; None when it has no time.
    pub fn next(&self) -> Option<Instant> {
        match self.turn {
            Turn::At(at) => Some(at),
            Turn::Unscheduled | Turn::Trying(_) => None,
        }
    }

    pub fn is_being_tried(&self) -> bool {
        matches!(self.turn, Turn::Trying(_))
    }

    /// Whether it gets a turn on a tour: who stores a message sets a time afterwards.
    pub fn is_to_be_toured(&self) -> bool {
        !self.asked && !self.is_being_tried() && self.writing == 0
    }

    pub fn not_before(&self) -> Option<Instant> {
        self.few.as_ref().and_then(|few| few.not_before)
    }

    fn few(&mut self) -> &mut Few {
        self.few.get_or_insert_default()
    }
}
