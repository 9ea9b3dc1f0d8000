//! The faults there are, and the schedule that a seed gives.

use std::{fmt, ops::Range, time::Duration};

use testbed::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    DaemonKilled,
    DaemonStopped,
    ServerRestarted,
    ServerKilled,
    LinkClosed,
    LinkReset,
    LinkStalled,
    /// Until the daemon gives it up.
    LinkDead,
    PhoneLeft,
    PhoneResumed,
    /// It hibernated and bound anew.
    PhoneReplaced,
    /// It hibernated for longer than its server keeps the session.
    PhoneTimedOut,
    PhoneSilent,
    PhoneLate,
    PhoneRefused,
    /// For longer than its endpoints live, but for the grace.
    PhoneAway,
    DiskFull,
    DiskReadOnly,
    SyncFailed,
    DatabaseKilled,
    /// Its standby takes over, and it comes back as the standby of that.
    Promoted,
    PoolerRestarted,
    DatabaseFull,
    ConnectionsExhausted,
    CommitHung,
    /// A snapshot stays open, with what `pg_dump` locks.
    DumpHeld,
    ClockJumped,
    /// What stands in front of the daemon passes pushes on by another path.
    ProxyWrong,
    /// With another configuration, or with a wrong one.
    Reloaded,
    /// The daemon comes back with another back end and another secret, or as another program.
    Upgraded,
}

use Kind::*;

/// How often each comes, relative to the others.
const WEIGHTS: &[(Kind, usize)] = &[
    (DaemonKilled, 10),
    (DaemonStopped, 6),
    (ServerRestarted, 3),
    (ServerKilled, 3),
    (LinkClosed, 3),
    (LinkReset, 3),
    (LinkStalled, 4),
    (PhoneLeft, 14),
    (PhoneResumed, 12),
    (PhoneReplaced, 8),
    (PhoneTimedOut, 5),
    (PhoneSilent, 8),
    (PhoneLate, 5),
    (PhoneRefused, 6),
    (PhoneAway, 5),
    (DiskFull, 3),
    (DiskReadOnly, 3),
    (SyncFailed, 2),
    (DatabaseKilled, 5),
    (Promoted, 4),
    (PoolerRestarted, 4),
    (DatabaseFull, 3),
    (ConnectionsExhausted, 3),
    (CommitHung, 4),
    (DumpHeld, 2),
    (ClockJumped, 4),
    (ProxyWrong, 5),
    (Reloaded, 6),
    (Upgraded, 5),
];

impl Kind {
    pub fn of_a_phone(self) -> bool {
        (PhoneLeft..=PhoneAway).contains(&self)
    }

    pub fn of_the_link(self) -> bool {
        matches!(self, LinkClosed | LinkReset | LinkStalled | LinkDead)
    }

    /// A new process takes over.
    fn ends_the_process(self) -> bool {
        matches!(self, DaemonKilled | DaemonStopped | Upgraded)
    }

    fn of_the_disk(self) -> bool {
        matches!(self, DiskFull | DiskReadOnly | SyncFailed)
    }

    pub fn of_the_database(self) -> bool {
        (DatabaseKilled..=DumpHeld).contains(&self)
    }

    /// What operators know of PostgreSQL takes its time.
    fn takes_long(self) -> bool {
        (Promoted..=DumpHeld).contains(&self)
    }

    /// Whether a message may arrive twice because of it.
    pub fn repeats(self) -> bool {
        !matches!(self, ProxyWrong | Reloaded)
    }

    /// Whether a message may have to wait because of it.
    pub fn delays(self) -> bool {
        !matches!(self, ProxyWrong | ClockJumped | DumpHeld)
    }

    /// Whether what was sent may arrive after what was sent later.
    pub fn holds_stanzas(self) -> bool {
        let of_server = matches!(self, ServerRestarted | ServerKilled);
        self.of_the_link() || of_server || self.of_a_phone()
    }

    fn name(self) -> &'static str {
        match self {
            DaemonKilled => "daemon killed",
            DaemonStopped => "daemon stopped",
            ServerRestarted => "server restarted",
            ServerKilled => "server killed",
            LinkClosed => "link closed",
            LinkReset => "link reset",
            LinkStalled => "link stalled",
            LinkDead => "link dead until given up",
            PhoneLeft => "phone left",
            PhoneResumed => "phone hibernated and resumed",
            PhoneReplaced => "phone hibernated and bound anew",
            PhoneTimedOut => "phone hibernated too long",
            PhoneSilent => "phone silent",
            PhoneLate => "phone late",
            PhoneRefused => "phone refused",
            PhoneAway => "phone away past its expiry",
            DiskFull => "disk full",
            DiskReadOnly => "disk read-only",
            SyncFailed => "fdatasync failed",
            DatabaseKilled => "PostgreSQL killed",
            Promoted => "standby promoted",
            PoolerRestarted => "PgBouncer restarted",
            DatabaseFull => "disk full under PostgreSQL",
            ConnectionsExhausted => "connections exhausted",
            CommitHung => "commits hung",
            DumpHeld => "dump held open",
            ClockJumped => "clock jumped",
            ProxyWrong => "proxy changed the path",
            Reloaded => "reloaded",
            Upgraded => "upgraded",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A fault of the schedule.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    pub kind: Kind,
    /// After the fault before it.
    pub pause: Duration,
    pub length: Duration,
    /// Which phone or daemon; more than there are.
    pub which: usize,
    /// Which of its forms.
    pub form: usize,
}

/// What a schedule depends on.
pub struct Conditions {
    pub faults: usize,
    pub seed: u64,
    /// On real servers everything takes longer.
    pub fast: bool,
    pub hibernation: Duration,
    pub registration_ttl: Duration,
    pub postgres: bool,
    pub pooled: bool,
    /// It is not the short form.
    pub long: bool,
    /// The daemons' processes are left alone.
    pub lasting: bool,
}

/// Every kind at least once, if there is room.
pub fn schedule(of: &Conditions) -> Vec<Planned> {
    let mut random = Random::new(of.seed, 1);
    let possible = |kind: Kind| match kind {
        kind if kind.ends_the_process() => !of.lasting,
        kind if kind.takes_long() => {
            of.postgres && of.long && (kind != PoolerRestarted || of.pooled)
        }
        kind if kind.of_the_database() => of.postgres,
        kind => !(of.postgres && kind.of_the_disk()),
    };
    let weights = WEIGHTS.iter().filter(|(kind, _)| possible(*kind));
    let weighted: Vec<Kind> = weights
        .clone()
        .flat_map(|(kind, weight)| std::iter::repeat_n(*kind, *weight))
        .collect();
    let mut kinds: Vec<Kind> = weights.map(|(kind, _)| *kind).collect();
    random.shuffle(&mut kinds);
    // It takes most of a minute.
    kinds.extend(std::iter::repeat_n(LinkDead, of.faults / 200));
    kinds.truncate(of.faults);
    while kinds.len() < of.faults {
        kinds.push(random.pick(&weighted));
    }
    random.shuffle(&mut kinds);
    let planned = |kind| Planned {
        kind,
        pause: random.millis(if of.fast { 20..500 } else { 50..900 }),
        length: random.millis(length(kind, of)),
        which: random.below(1 << 16),
        form: random.below(1 << 16),
    };
    kinds.into_iter().map(planned).collect()
}

/// In milliseconds.
fn length(kind: Kind, of: &Conditions) -> Range<u64> {
    let hibernation = of.hibernation.as_millis() as u64;
    let ttl = of.registration_ttl.as_millis() as u64;
    match (kind, of.fast) {
        (DaemonKilled | DaemonStopped | Upgraded, _) => 0..500,
        (ServerRestarted | ServerKilled, true) => 50..1000,
        (ServerRestarted | ServerKilled, false) => 0..500,
        (LinkClosed | LinkReset | LinkDead, _) => 0..1,
        // It stays where it is until it jumps again.
        (ClockJumped, _) => 1000..4000,
        (LinkStalled, _) => 200..3000,
        (PhoneTimedOut, _) => hibernation + 200..hibernation + 1200,
        (PhoneAway, _) => ttl..ttl + 1500,
        (PhoneResumed | PhoneReplaced, _) => 50..hibernation * 6 / 10,
        (DatabaseKilled | Promoted | PoolerRestarted, _) => 0..1500,
        (DatabaseFull | ConnectionsExhausted | CommitHung, _) => 500..6000,
        (DumpHeld, _) => 10_000..40_000,
        (_, true) => 50..1200,
        (_, false) => 100..4000,
    }
}
