//! Every metric of the daemon, in a registry of its own. Labels are small closed sets: never a
//! JID, a token or anything else that comes from outside.

mod labels;

use std::marker::PhantomData;

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, process_collector::ProcessCollector,
};

pub use self::labels::{
    ConnectionEnd, Label, LinkState, OddStanza, PushResult, QueueEvent, RegistrationResult,
    SignatureResult,
};

/// Counters by one label, resolved once.
pub struct Counters<L> {
    children: Vec<IntCounter>,
    label: PhantomData<L>,
}

impl<L: Label> Counters<L> {
    pub fn inc(&self, value: L) {
        self.children[value.index()].inc();
    }

    pub fn add(&self, value: L, count: u64) {
        self.children[value.index()].inc_by(count);
    }

    #[cfg(test)]
    pub fn get(&self, value: L) -> u64 {
        self.children[value.index()].get()
    }
}

/// One gauge per state: 1 for the present one, 0 for the others.
pub struct StateGauge<L> {
    children: Vec<IntGauge>,
    label: PhantomData<L>,
}

impl<L: Label> StateGauge<L> {
    fn new(registry: &Registry, name: &str, help: &str) -> Self {
        let family = registered(
            registry,
            IntGaugeVec::new(Opts::new(name, help), &["state"]),
        );
        let children = L::ALL
            .iter()
            .map(|value| family.with_label_values(&[value.name()]));
        Self {
            children: children.collect(),
            label: PhantomData,
        }
    }

    pub fn set(&self, state: L) {
        for (index, child) in self.children.iter().enumerate() {
            child.set((index == state.index()).into());
        }
    }
}

/// The daemon's metrics. Counters only grow, from zero at the start.
pub struct Metrics {
    registry: Registry,
    /// Pushes from application servers.
    pub pushes: Counters<PushResult>,
    /// Signatures of pushes for endpoints that live.
    pub signatures: Counters<SignatureResult>,
    /// From accepting a push to its acknowledgement, in seconds.
    pub acknowledgement_seconds: Histogram,
    /// Pushes that wait for an acknowledgement.
    pub in_flight: IntGauge,
    /// What they take of `in_flight_memory`, in bytes.
    pub in_flight_bytes: IntGauge,
    /// Messages that wait for their phones.
    pub queued: IntGauge,
    /// What they take of `max_queued_bytes`, in bytes.
    pub queued_bytes: IntGauge,
    /// The age of the oldest, in seconds; 0 when there is none.
    pub queue_oldest: IntGauge,
    /// Phones that messages wait for, as this replica knows.
    pub phones_waiting: IntGauge,
    /// What happened to messages of the queue.
    pub queue_events: Counters<QueueEvent>,
    /// Registrations that phones asked for.
    pub registrations: Counters<RegistrationResult>,
    /// Endpoints that phones gave up, by how that ended.
    pub unregistrations: Counters<RegistrationResult>,
    /// Endpoints handed out that are too long for some senders.
    pub long_endpoints: IntCounter,
    /// Registrations that gave way to another one of their account.
    pub displaced_registrations: IntCounter,
    /// Rows of the store.
    pub stored_registrations: IntGauge,
    /// Revocations by phones.
    pub revocations: IntCounter,
    /// Rows of the store.
    pub stored_revocations: IntGauge,
    /// The size of the store's files, in bytes.
    pub store_bytes: IntGauge,
    pub store_failing: IntGauge,
    /// Notifications from other daemons do not arrive.
    pub store_deaf: IntGauge,
    /// The present state of the link.
    pub link_state: StateGauge<LinkState>,
    /// Connections lost and attempts failed.
    pub link_losses: Counters<LinkState>,
    /// Stanzas refused or ignored.
    pub odd_stanzas: Counters<OddStanza>,
    /// Phones that announced themselves.
    pub phones_available: IntGauge,
    /// Open connections of both listeners.
    pub http_connections: IntGauge,
    /// Connections that had to give way.
    pub http_ends: Counters<ConnectionEnd>,
    /// Requests that a defect ended.
    pub http_panics: IntCounter,
}

impl Metrics {
    pub fn new() -> Self {
        let registry = Registry::new();
        let r = &registry;
        process(r);
        Self {
            pushes: counters(
                r,
                "unified_push_pushes_total",
                "Pushes from application servers, by how they ended.",
                "result",
            ),
            signatures: counters(
                r,
                "unified_push_signatures_total",
                "VAPID signatures of pushes for endpoints that live, by what they are worth.",
                "result",
            ),
            acknowledgement_seconds: acknowledgement_seconds(r),
            in_flight: gauge(
                r,
                "unified_push_in_flight",
                "Pushes waiting for an acknowledgement.",
            ),
            in_flight_bytes: gauge(
                r,
                "unified_push_in_flight_bytes",
                "Bytes in use of the limit in_flight_memory.",
            ),
            queued: gauge(
                r,
                "unified_push_queue_messages",
                "Messages that are waiting for their phones.",
            ),
            queued_bytes: gauge(
                r,
                "unified_push_queue_bytes",
                "Bytes in use of the limit max_queued_bytes.",
            ),
            queue_oldest: gauge(
                r,
                "unified_push_queue_oldest_seconds",
                "Age of the oldest waiting message; 0 when none is waiting.",
            ),
            phones_waiting: gauge(
                r,
                "unified_push_phones_waiting",
                "Phones for which messages are waiting, as far as this daemon knows.",
            ),
            queue_events: counters(
                r,
                "unified_push_queue_events_total",
                "What happened to queued messages.",
                "event",
            ),
            registrations: counters(
                r,
                "unified_push_registrations_total",
                "Registration requests from phones, by result.",
                "result",
            ),
            unregistrations: counters(
                r,
                "unified_push_unregistrations_total",
                "Requests of phones to give an endpoint up, by how they ended.",
                "result",
            ),
            long_endpoints: counter(
                r,
                "unified_push_long_endpoints_total",
                "Endpoints of more than 500 bytes, which some application servers refuse.",
            ),
            displaced_registrations: counter(
                r,
                "unified_push_displaced_registrations_total",
                "Registrations that gave way to a new one because their account was at its limit.",
            ),
            stored_registrations: gauge(
                r,
                "unified_push_stored_registrations",
                "Registrations in the store (back end storage).",
            ),
            revocations: counter(
                r,
                "unified_push_revocations_total",
                "Registrations revoked by their phones.",
            ),
            stored_revocations: gauge(
                r,
                "unified_push_stored_revocations",
                "Revocations in the store, by phones and by the administrator.",
            ),
            store_bytes: gauge(r, "unified_push_store_bytes", "Size of the store's files."),
            store_failing: gauge(
                r,
                "unified_push_store_failing",
                "1 while the store cannot be read or written, 0 otherwise.",
            ),
            store_deaf: gauge(
                r,
                "unified_push_store_deaf",
                "1 while notifications from other daemons do not arrive, 0 otherwise.",
            ),
            link_state: StateGauge::new(
                r,
                "unified_push_link_state",
                "State of the link to the XMPP server: 1 for the current state, 0 for the others.",
            ),
            link_losses: counters(
                r,
                "unified_push_link_losses_total",
                "Connections lost and attempts failed, by cause; the daemon tries again after each.",
                "cause",
            ),
            odd_stanzas: counters(
                r,
                "unified_push_odd_stanzas_total",
                "Stanzas refused or ignored, by reason.",
                "reason",
            ),
            phones_available: gauge(
                r,
                "unified_push_phones_available",
                "Phones that announced themselves by directed presence.",
            ),
            http_connections: gauge(
                r,
                "unified_push_http_connections",
                "Open HTTP connections, of both listeners.",
            ),
            http_ends: counters(
                r,
                "unified_push_http_connections_refused_total",
                "HTTP connections that were refused, or closed to make room, by the reason.",
                "reason",
            ),
            http_panics: counter(
                r,
                "unified_push_http_panics_total",
                "HTTP requests answered 500 because of a defect in the daemon.",
            ),
            registry,
        }
    }

    /// The exposition text of Prometheus.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// What is known of the program and its process.
fn process(registry: &Registry) {
    let build = Opts::new(
        "unified_push_build_info",
        "Always 1; the label tells the version.",
    )
    .const_label("version", env!("CARGO_PKG_VERSION"));
    registered(registry, IntGauge::with_opts(build)).set(1);
    registry
        .register(Box::new(ProcessCollector::for_self()))
        .expect("the process metrics are registered once");
}

fn acknowledgement_seconds(registry: &Registry) -> Histogram {
    let options = HistogramOpts::new(
        "unified_push_acknowledgement_seconds",
        "From accepting a push to its acknowledgement by the phone.",
    )
    .buckets(vec![
        0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    ]);
    registered(registry, Histogram::with_opts(options))
}

fn counters<L: Label>(registry: &Registry, name: &str, help: &str, label: &str) -> Counters<L> {
    let family = IntCounterVec::new(Opts::new(name, help), &[label]);
    let family = registered(registry, family);
    let children = L::ALL
        .iter()
        .map(|value| family.with_label_values(&[value.name()]));
    Counters {
        children: children.collect(),
        label: PhantomData,
    }
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    registered(registry, IntCounter::new(name, help))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    registered(registry, IntGauge::new(name, help))
}

fn registered<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> C {
    let collector = collector.expect("metric names and labels are literals of this file");
    registry
        .register(Box::new(collector.clone()))
        .expect("each metric is registered once, in a registry of its own");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_child_is_there_from_the_start() {
        let metrics = Metrics::new();
        metrics.link_state.set(LinkState::Conflict);
        let text = metrics.render().unwrap();
        assert!(text.contains("unified_push_pushes_total{result=\"acknowledged\"} 0"));
        assert!(text.contains("unified_push_link_state{state=\"conflict\"} 1"));
        assert!(text.contains("unified_push_link_state{state=\"up\"} 0"));
        assert!(text.contains("unified_push_build_info{version="));
    }

    #[test]
    fn every_metric_is_documented() {
        let docs = include_str!("../docs/operating.md");
        let text = Metrics::new().render().unwrap();
        let ours = text
            .lines()
            .filter_map(|line| line.strip_prefix("# HELP unified_push_"));
        for name in ours.filter_map(|line| line.split(' ').next()) {
            assert!(docs.contains(&format!("`unified_push_{name}")), "{name}");
        }
    }
}
