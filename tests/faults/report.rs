//! The figures of a run, and what of it is a failure.

use std::{collections::BTreeMap, fmt, time::Duration};

use testbed::{Taken, http::try_get};
use tokio::time::Instant;

use crate::{
    faults::Kind,
    ledger::{Inner, Message},
    measures::{DESCRIPTORS, Longest, MEMORY},
    world::{Setup, World},
};

/// How long a message may wait when nothing hinders it any more.
const PROMPT: Duration = Duration::from_secs(20);

/// How many of a kind are told in full.
const TOLD: usize = 10;

pub struct Report {
    setup: Setup,
    lasted: Duration,
    faults: BTreeMap<Kind, usize>,
    /// Distinct ones.
    endpoints: usize,
    registered: usize,
    unregistered: usize,
    forgotten: usize,
    tried: usize,
    accepted: usize,
    refused: usize,
    unanswered: usize,
    acknowledged_late: usize,
    longest: Duration,
    /// Without any fault meanwhile.
    idle: Duration,
    expired: usize,
    replaced: usize,
    offered_again: usize,
    fallbacks: usize,
    after_expiry: usize,
    /// By the fault that explains them.
    duplicates: BTreeMap<Kind, usize>,
    /// Each of them, if that is wanted.
    twice: Vec<String>,
    /// Whose two deliveries have no fault between them: it came before.
    between: Vec<String>,
    unexplained: Vec<String>,
    lost: Vec<String>,
    /// They waited too long for nothing.
    late: Vec<String>,
    /// They came after what had taken their place.
    turned: Vec<String>,
    violations: Vec<String>,
    /// Of each daemon the one that lived longest.
    processes: Vec<Option<Longest>>,
}

impl Report {
    pub async fn new(world: &World, lost: Vec<usize>, lasted: Duration) -> Self {
        let mut told = Vec::new();
        for number in lost {
            told.push(tell_lost(world, number).await);
        }
        let inner = world.ledger.inner();
        let mut report = Self {
            setup: world.setup,
            lasted,
            faults: BTreeMap::new(),
            endpoints: (inner.subscriptions.iter())
                .map(|subscription| subscription.endpoints.len())
                .sum(),
            registered: inner.registered,
            unregistered: inner.unregistered,
            forgotten: inner.forgotten,
            tried: inner.messages.len(),
            accepted: 0,
            refused: 0,
            unanswered: 0,
            acknowledged_late: 0,
            longest: Duration::ZERO,
            idle: Duration::ZERO,
            expired: 0,
            replaced: 0,
            offered_again: 0,
            fallbacks: inner.fallbacks,
            after_expiry: 0,
            duplicates: BTreeMap::new(),
            twice: Vec::new(),
            between: Vec::new(),
            unexplained: Vec::new(),
            lost: told,
            late: Vec::new(),
            turned: Vec::new(),
            violations: inner.violations.clone(),
            processes: (world.replicas.iter())
                .map(|replica| replica.measures.longest())
                .collect(),
        };
        for fault in &inner.faults {
            *report.faults.entry(fault.kind).or_default() += 1;
        }
        for (number, message) in inner.messages.iter().enumerate() {
            report.count(number, message, &inner);
        }
        report
    }

    fn count(&mut self, number: usize, message: &Message, inner: &Inner) {
        let status = message.answer.as_ref().and_then(|answer| answer.status);
        match status {
            Some(201) => self.accepted += 1,
            Some(_) => self.refused += 1,
            None => self.unanswered += 1,
        }
        let mut deliveries = message.deliveries.iter();
        let first = deliveries.find(|delivery| delivery.taken == Taken::Acknowledged);
        if let (Some(answer), Some(first)) = (message.accepted(), first) {
            self.acknowledged_late += usize::from(first.at > answer.at);
            self.longest = self.longest.max(first.at - message.posted);
            let idle = inner.unhindered(message.device, answer.at, first.at);
            self.idle = self.idle.max(idle);
            if idle > PROMPT {
                let text = tell(number, message, inner);
                self.late
                    .push(format!("by {:.1} s: {text}", idle.as_secs_f64()));
            }
            let end = answer.at + Duration::from_secs(answer.ttl);
            self.after_expiry += usize::from(answer.ttl > 0 && first.at > end);
        }
        if message.accepted().is_some_and(|answer| answer.ttl > 0) && first.is_none() {
            let expired = message.expires().is_some_and(|end| end <= Instant::now());
            self.expired += usize::from(expired);
            self.replaced += usize::from(!expired);
        }
        if inner.turned_around(message) {
            self.turned.push(tell(number, message, inner));
        }
        for pair in message.deliveries.windows(2) {
            let [before, again] = pair else { continue };
            if before.taken == Taken::Refused {
                self.offered_again += 1;
                continue;
            }
            let text = tell(number, message, inner);
            if (inner.overlapping(message.device, before.at, again.at)).is_empty() {
                self.between.push(text.clone());
            }
            let causes = inner.overlapping(message.device, message.posted, again.at);
            if self.setup.tell && self.twice.last() != Some(&text) {
                self.twice.push(text.clone());
            }
            // The latest that can be it.
            match causes.iter().max_by_key(|fault| fault.from) {
                Some(fault) => *self.duplicates.entry(fault.kind).or_default() += 1,
                None => self.unexplained.push(text),
            }
        }
    }

    pub fn failure(&self) -> Option<String> {
        let mut wrong = Vec::new();
        for (what, list) in [
            ("lost", &self.lost),
            ("too late", &self.late),
            ("topics turned around", &self.turned),
            ("unexplained duplicates", &self.unexplained),
            ("violations", &self.violations),
        ] {
            if !list.is_empty() {
                wrong.push(format!("{}: {}", what, list.len()));
            }
        }
        // Other runs end most processes before they are warm.
        let judged = self.processes.iter().flatten();
        for process in judged.filter(|_| self.setup.lasting) {
            if process.memory.is_a_leak(&MEMORY) {
                wrong.push("memory grows".to_owned());
            }
            if process.descriptors.is_a_leak(&DESCRIPTORS) {
                wrong.push("descriptors grow".to_owned());
            }
        }
        let seed = self.setup.seed;
        (!wrong.is_empty()).then(|| format!("seed {seed}: {}", wrong.join(", ")))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup {
            on,
            store,
            replicas,
            seed,
            ..
        } = self.setup;
        let faults: usize = self.faults.values().sum();
        let seconds = self.lasted.as_secs();
        writeln!(
            f,
            "\n{on}, {store:?}, {replicas} daemon(s), seed {seed}: {faults} faults in {seconds} s"
        )?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {kind:<32} {count:>6}")?;
        }
        writeln!(f, "subscriptions")?;
        for (what, count) in [
            ("registered and renewed", self.registered),
            ("registrations that failed", self.unregistered),
            ("endpoints that phones were given", self.endpoints),
            ("pushes refused for good", self.forgotten),
        ] {
            writeln!(f, "  {what:<32} {count:>6}")?;
        }
        writeln!(f, "pushes")?;
        let duplicates: usize = self.duplicates.values().sum::<usize>() + self.unexplained.len();
        for (what, count) in [
            ("tried", self.tried),
            ("answered 201", self.accepted),
            ("answered 503", self.refused),
            ("without an answer", self.unanswered),
            ("201 and delivered later", self.acknowledged_late),
            ("201 and expired", self.expired),
            ("201 and replaced by their topic", self.replaced),
            ("offered again after an error", self.offered_again),
            ("offered to another resource", self.fallbacks),
            ("delivered after their TTL", self.after_expiry),
            ("lost", self.lost.len()),
            ("turned around", self.turned.len()),
            ("delivered twice", duplicates),
        ] {
            writeln!(f, "  {what:<32} {count:>6}")?;
        }
        for (kind, count) in &self.duplicates {
            writeln!(f, "    {kind:<30} {count:>6}")?;
        }
        writeln!(f, "    {:<30} {:>6}", "unexplained", self.unexplained.len())?;
        writeln!(
            f,
            "    {:<30} {:>6}",
            "by a fault before both",
            self.between.len()
        )?;
        writeln!(f, "  longest delay {:>22.1} s", self.longest.as_secs_f64())?;
        writeln!(
            f,
            "  without a fault meanwhile {:>10.1} s",
            self.idle.as_secs_f64()
        )?;
        for (number, process) in self.processes.iter().enumerate() {
            let Some(process) = process else { continue };
            let seconds = process.memory.lasted.as_secs();
            writeln!(f, "daemon {number}, its longest process: {seconds} s")?;
            for (what, growth) in [
                ("KiB of its own", process.memory),
                ("descriptors", process.descriptors),
            ] {
                let (first, last, per_hour) = (growth.first, growth.last, growth.per_hour);
                write!(f, "  {what:<16} {first:>6} to {last:>6}")?;
                if growth.tells() {
                    write!(f, ", {per_hour:>+8.1} an hour")?;
                }
                writeln!(f)?;
            }
        }
        for (what, list, told) in [
            ("LOST", &self.lost, TOLD),
            ("LATE", &self.late, TOLD),
            ("TURNED", &self.turned, TOLD),
            ("UNEXPLAINED", &self.unexplained, TOLD),
            ("BETWEEN", &self.between, TOLD),
            ("TWICE", &self.twice, usize::MAX),
            ("VIOLATION", &self.violations, TOLD),
        ] {
            for text in list.iter().take(told) {
                writeln!(f, "{what} {text}")?;
            }
        }
        Ok(())
    }
}

/// With what its daemon says of it.
async fn tell_lost(world: &World, number: usize) -> String {
    let location = {
        let inner = world.ledger.inner();
        let answer = inner.messages[number].accepted();
        answer.and_then(|answer| answer.location.clone())
    };
    let status = match location {
        Some(location) => {
            let answer = try_get(&world.replicas[0].daemon.at(&location)).await;
            answer.map(|answer| answer.status)
        }
        None => None,
    };
    let inner = world.ledger.inner();
    let text = tell(number, &inner.messages[number], &inner);
    format!("{text}  its Location is answered {status:?}\n")
}

/// What happened to a message, with the faults around it.
fn tell(number: usize, message: &Message, inner: &Inner) -> String {
    let at = |time: Instant| (time - message.posted).as_secs_f64();
    let mut text = format!(
        "message {number} for phone {}, subscription {}, TTL {} s, topic {:?}\n",
        message.device, message.subscription, message.ttl, message.topic
    );
    if let Some(answer) = &message.answer {
        text += &format!(
            "  {:8.3} s: answered {:?}, TTL {}\n",
            at(answer.at),
            answer.status,
            answer.ttl
        );
    }
    for delivery in &message.deliveries {
        let (jid, id, taken) = (&delivery.jid, &delivery.id, delivery.taken);
        text += &format!(
            "  {:8.3} s: reached {jid} as {id}: {taken:?}\n",
            at(delivery.at)
        );
    }
    let last = message.deliveries.last().map(|delivery| delivery.at);
    let until = last.unwrap_or(message.posted + Duration::from_secs(60));
    for fault in inner.overlapping(message.device, message.posted, until) {
        let from = fault.from.saturating_duration_since(message.posted);
        let until = fault.until.map(at_zero(message.posted));
        let (kind, from) = (fault.kind, from.as_secs_f64());
        text += &format!(
            "  {from:8.3} s to {:.3} s: {kind}\n",
            until.unwrap_or(f64::INFINITY)
        );
    }
    text
}

fn at_zero(start: Instant) -> impl Fn(Instant) -> f64 {
    move |time| time.saturating_duration_since(start).as_secs_f64()
}
